/* tada size: the memory that a model and its cache will take. */
#include "arguments.h"
#include "cli.h"
#include "plans.h"
#include "report.h"
#include "size_report.h"

#include <stdio.h>
#include <string.h>

const char size_help[] =
    "usage: tada size [-m MODEL] [-c N] [--parallel P] [--cache SPEC,...] [--memory 8G]\n"
    "\n"
    "Tells how much memory llama-server will take with each cache, part by part, without loading the "
    "weights;\n"
    "and with --memory the largest context that fits. f16 is always shown; other caches are compared with "
    "it.\n"
    "\n"
    "options:\n"
    "  -m, --model MODEL     GGUF file (default: the model that the TaDA build fetched)\n"
    "  -c, --ctx-size N      cells of all sequences together (default: the context that the model was "
    "trained\n"
    "                        on; with --memory, also the largest context that is of interest)\n"
    "  -np, --parallel P     sequences (slots) at once (default: as llama-server, 4 that share their cells)\n"
    "  -kvu, --kv-unified    all sequences share the cells;\n"
    "  -no-kvu, --no-kv-unified  each has its own (default with --parallel)\n"
    "  -ub, --ubatch N       tokens that are computed at once (default: 512; llama-server needs -b as well "
    "for\n"
    "                        more than 2048)\n"
    "  -t, --threads N       threads (default: as many as this process has CPUs)\n"
    "  --cache SPEC,...      caches, as in 'tada help run'; may be repeated (default: q8_0,q4_0,tada)\n"
    "  --memory BYTES        a budget, such as 8G, 1.5G or 800M (of 1024 bytes and their powers)\n"
    "  --json FILE           write the results to a file; '-': to standard output, in place of the table\n"
    "  -h, --help            print this help and exit\n"
    "\n"
    "weights           as loaded, in the layouts that llama.cpp's CPU kernels want\n"
    "the file, mapped  weights that are there a second time in such a layout; with llama.cpp's --load-mode "
    "none,\n"
    "                  the file is not mapped\n"
    "KV cache          codes and scales, exact recent tokens (hot window) and first ones (sinks), tables; "
    "rows:\n"
    "                  what llama.cpp keeps in types of its own\n"
    "recurrent states  of layers that have such instead of a KV cache\n"
    "compute buffers   intermediate results; output buffer: logits of one token a sequence\n"
    "scratch           what the plug-in takes when it works: the rows of a batch and its attention, for a "
    "full\n"
    "                  context; grows with threads and --ubatch. Restoring a saved slot can take as much "
    "again.\n"
    "\n"
    "Not in the total: the program, the vocabulary and llama.cpp's table of cells (some 50 bytes a cell, up "
    "to\n"
    "150 when it is full), saved prompts (--cache-ram), a draft model or a projector for images.\n"
    "\n"
    "JSON: {\"version\", \"model\", \"n_ctx_train\", \"n_ctx\", \"parallel\", \"kv_unified\", \"ubatch\", "
    "\"threads\",\n"
    "\"memory_bytes\", \"results\": [{\"cache\", \"weights_bytes\", \"mapped_bytes\", \"kv_bytes\", "
    "\"memory_ratio\", \"kv\": "
    "{\"codes_bytes\",\n"
    "\"window_bytes\", \"sinks_bytes\", \"tables_bytes\", \"rows_bytes\"}, \"recurrent_bytes\", "
    "\"compute_bytes\",\n"
    "\"output_bytes\", \"scratch_bytes\", \"total_bytes\", \"largest\": {\"n_ctx\", \"total_bytes\"}}]}; "
    "largest is null where\n"
    "nothing fits.\n"
    "\n"
    "exit status: 0 success, 1 a problem, 2 wrong usage or input, or nothing fits in the memory.\n";

enum {
    MAX_CONTEXT = 1 << 24,
    MOST_SOUGHT = 1 << 22, /* no model knows what to do with more */
    MAX_SEQUENCES = 256,   /* LLAMA_MAX_SEQ */
    MAX_UBATCH = 1 << 16,
    SERVER_SEQUENCES = 4
};

/* ---- options ---- */

struct request {
    struct size_options options; /* n_ctx, parallel 0: not given */
    const char *json_path;
    const char *caches[SIZE_MAX_CACHES];
    int n_caches;
    bool names_caches;
    uint64_t budget;
    bool help;
};

enum option_code { OPTION_CACHE = 256, OPTION_MEMORY, OPTION_JSON, OPTION_UNIFIED, OPTION_SPLIT };

static int take_option(int code, char *value, struct request *request, bool *split)
{
    struct size_options *options = &request->options;
    switch (code) {
    case 'm':
        options->model_path = value;
        return 0;
    case 'c':
        return take_int("size", "--ctx-size", value, 1, MAX_CONTEXT, &options->n_ctx);
    case 'p':
        return take_int("size", "--parallel", value, 1, MAX_SEQUENCES, &options->parallel);
    case 'u':
        return take_int("size", "--ubatch", value, 1, MAX_UBATCH, &options->n_ubatch);
    case 't':
        return take_int("size", "--threads", value, 1, MAX_THREADS, &options->n_threads);
    case OPTION_CACHE:
        request->names_caches = true;
        return take_caches("size", value, request->caches, &request->n_caches, SIZE_MAX_CACHES);
    case OPTION_MEMORY:
        return take_bytes("size", "--memory", value, &request->budget);
    case OPTION_UNIFIED:
    case OPTION_SPLIT:
        options->unified = code == OPTION_UNIFIED;
        *split = code == OPTION_SPLIT;
        return 0;
    default:
        request->json_path = value;
        return 0;
    }
}

static int parse(int argc, char **argv, struct request *request)
{
    static const struct option known[] = {
        {"model", required_argument, NULL, 'm'},
        {"ctx-size", required_argument, NULL, 'c'},
        {"parallel", required_argument, NULL, 'p'},
        {"kv-unified", no_argument, NULL, OPTION_UNIFIED},
        {"no-kv-unified", no_argument, NULL, OPTION_SPLIT},
        {"ubatch", required_argument, NULL, 'u'},
        {"threads", required_argument, NULL, 't'},
        {"cache", required_argument, NULL, OPTION_CACHE},
        {"memory", required_argument, NULL, OPTION_MEMORY},
        {"json", required_argument, NULL, OPTION_JSON},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    bool split = false;
    int code, status = 0;
    while (status == 0 && (status = next_option("size", argc, argv, ":m:c:t:h", known, &code)) == 0 &&
           code != -1) {
        if (code == 'h') {
            request->help = true;
            return 0;
        }
        status = take_option(code, optarg, request, &split);
    }
    if (status == 0 && optind < argc) {
        status = cli_usage("size", "'%s' is not expected: 'tada size' takes only options.", argv[optind]);
    }
    if (request->options.parallel == 0) { /* as llama-server does */
        request->options.parallel = SERVER_SEQUENCES;
        request->options.unified = !split;
    }
    return status;
}

static int complete(struct request *request, struct place *place)
{
    static const char *const usual[] = {"q8_0", "q4_0", "tada"};
    if (!request->names_caches) {
        request->n_caches = sizeof usual / sizeof *usual;
        memcpy(request->caches, usual, sizeof usual);
    }
    if (request->options.n_threads == 0) {
        request->options.n_threads = count_cpus();
    }
    int status = take_default_model("size", &request->options.model_path, place);
    return status == 0 ? report_check(request->json_path) : status;
}

/* ---- work ---- */

static int size_one(struct size_model *model, const struct request *request, struct size_report *report,
                    const char *spec)
{
    struct size_result *result = &report->results[report->n];
    struct size_cache cache;
    result->spec = spec;
    int status = size_choose(model, spec, &cache);
    if (status != 0) {
        return status;
    }
    status = size_of(&cache, request->options.n_ctx, &result->parts);
    if (status == 0 && request->budget > 0) {
        int most = request->options.n_ctx > 0 ? result->parts.n_ctx : MOST_SOUGHT;
        status = size_largest(&cache, most, request->budget, &result->at_most, &result->largest);
    }
    report->n += status == 0;
    return status;
}

static int nothing_fits(const struct size_report *report)
{
    const struct size_result *least = &report->results[0];
    for (int i = 1; i < report->n; i++) {
        const struct size_result *result = &report->results[i];
        least = size_total(&result->at_most) < size_total(&least->at_most) ? result : least;
    }
    cli_fail(
        "Not even a context of %d tokens fits in %.0f MiB: with the cache %s it takes %.1f MiB, of which the "
        "weights are %.1f. Give more memory or a smaller model.",
        least->at_most.n_ctx, (double)report->budget / 1048576, least->spec,
        (double)size_total(&least->at_most) / 1048576, (double)least->at_most.weights / 1048576);
    return EXIT_USAGE;
}

static int size_all(struct size_model *model, const struct request *request)
{
    struct size_report report = {.options = &model->options,
                                 .budget = request->budget,
                                 .model = model->model.name,
                                 .n_ctx_train = model->engine->llama_model_n_ctx_train(model->model.llama)};
    if (request->options.n_ctx == 0 && report.n_ctx_train > MAX_CONTEXT) {
        cli_fail("%s claims to be trained on contexts of %d tokens: give a smaller one with -c.",
                 report.model, report.n_ctx_train);
        return EXIT_USAGE;
    }
    int status = size_one(model, request, &report, "f16");
    for (int i = 0; i < request->n_caches && status == 0; i++) {
        status = size_one(model, request, &report, request->caches[i]);
    }
    bool fits = request->budget == 0;
    for (int i = 0; i < report.n; i++) {
        fits = fits || report.results[i].largest > 0;
    }
    if (status == 0 && !fits) {
        status = nothing_fits(&report);
    }
    if (status == 0 && request->json_path) {
        cJSON *json = size_report_json(&report);
        status = report_write(json, request->json_path);
        cJSON_Delete(json);
    }
    if (status == 0 && !report_to_stdout(request->json_path)) {
        size_report_print(&report);
    }
    return status;
}

int size_main(const struct command *self, int argc, char **argv)
{
    struct request request = {.options = {.n_ubatch = 512}};
    struct place place;
    struct engine engine;
    int status = parse(argc, argv, &request);
    if (status == 0 && request.help) {
        fputs(self->help, stdout);
        return 0;
    }
    status = status == 0 ? complete(&request, &place) : status;
    status = status == 0 ? engine_open(&engine) : status;
    status = status == 0 ? plans_check(&engine, request.options.model_path, request.caches, request.n_caches)
                         : status;
    if (status == 0) {
        struct size_model model;
        status = size_open(&engine, &request.options, &model);
        status = status == 0 ? size_all(&model, &request) : status;
        size_close(&model);
    }
    return status;
}

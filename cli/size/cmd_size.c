/* tada size: the memory that a model and its cache will take. */
#include "commands.h"
#include "engine/plans.h"
#include "find/paths.h"
#include "options/rows.h"
#include "output/json.h"
#include "output/note.h"
#include "output/output.h"
#include "report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_CONTEXT = 1 << 24,
    MOST_SOUGHT = 1 << 22, /* no model knows what to do with more */
    MAX_SEQUENCES = 256,   /* LLAMA_MAX_SEQ */
    MAX_UBATCH = 1 << 16,
    MAX_GPU_LAYERS = 1 << 16,
    SERVER_SEQUENCES = 4
};

/* ---- options ---- */

struct request {
    struct size_options options; /* n_ctx, parallel 0: not given */
    const char *json_path;
    new_file_rules rules; /* of that file */
    const char *caches[SIZE_MAX_CACHES];
    int n_caches;
    uint64_t budget, prompts;
    const char *draft_path; /* NULL: none */
    int sharing;            /* of cells among the sequences; 0: not given */
};

enum { UNIFIED = 1, SPLIT };

static int size_main(const struct command *self, int argc, char **argv);

static int add_caches(const char *command, const char *name, char *value, void *values)
{
    struct request *request = values;
    (void)name;
    return take_caches(command, value, request->caches, &request->n_caches, SIZE_MAX_CACHES);
}

static int take_memory(const char *command, const char *name, char *value, void *values)
{
    struct request *request = values;
    return take_bytes(command, name, value, &request->budget);
}

/* As llama-server takes it, or with a unit. */
static int take_prompts(const char *command, const char *name, char *value, void *values)
{
    struct request *request = values;
    if (value[0] && value[strspn(value, "0123456789")] == '\0' && strlen(value) < 10) {
        request->prompts = (uint64_t)strtoul(value, NULL, 10) << 20;
        return 0;
    }
    return take_bytes(command, name, value, &request->prompts);
}

#define FIELD(member) .field = offsetof(struct request, member)

static const struct option_row rows[] = {
    ROW_MODEL(options.model_path),
    {.names = "-c, --ctx-size",
     .value = "N",
     .help = "cells of all sequences together",
     .unset = "the context that the model was trained on; with --memory, also the largest context that is of "
              "interest",
     FIELD(options.n_ctx),
     .kind = OPTION_NUMBER,
     .least = 1,
     .most = MAX_CONTEXT,
     .in_usage = true},
    {.names = "-np, --parallel",
     .value = "N",
     .help = "sequences (slots) at once",
     .unset = "as llama-server, 4 that share their cells",
     FIELD(options.parallel),
     .kind = OPTION_NUMBER,
     .least = 1,
     .most = MAX_SEQUENCES,
     .in_usage = true},
    {.names = "-kvu, --kv-unified",
     .help = "all sequences share the cells",
     FIELD(sharing),
     .kind = OPTION_CHOICE,
     .least = UNIFIED},
    {.names = "-no-kvu, --no-kv-unified",
     .help = "each has its own, the default with --parallel",
     FIELD(sharing),
     .kind = OPTION_CHOICE,
     .least = SPLIT},
    {.names = "-ub, --ubatch",
     .aliases = "--ubatch-size",
     .value = "N",
     .help = "tokens that are computed at once; llama-server needs -b as well for more than 2048",
     .usual = "512",
     FIELD(options.n_ubatch),
     .kind = OPTION_NUMBER,
     .least = 1,
     .most = MAX_UBATCH},
    {.names = "-ngl, --n-gpu-layers",
     .aliases = "--gpu-layers",
     .value = "N",
     .help = "layers that llama.cpp puts on GPUs, where there are any",
     .unset = "all",
     FIELD(options.n_gpu_layers),
     .kind = OPTION_NUMBER,
     .most = MAX_GPU_LAYERS},
    {.names = "-nkvo, --no-kv-offload",
     .help = "the KV cache of these layers stays in RAM, too",
     FIELD(options.in_ram),
     .kind = OPTION_SWITCH},
    ROW_THREADS(options.n_threads, "as many as this process has CPUs"),
    ROW_CACHES(add_caches),
    {.names = "--memory",
     .value = "BYTES",
     .help = "a budget, such as 8G, 1.5G or 800M (of 1024 bytes and their powers)",
     .example = "8G",
     .kind = OPTION_TAKEN,
     .take = take_memory,
     .in_usage = true},
    {.names = "-md, --model-draft",
     .aliases = "--spec-draft-model",
     .value = "MODEL",
     .help = "a model that drafts: it has a cache of the same cells",
     FIELD(draft_path),
     .kind = OPTION_FILE},
    {.names = "-cram, --cache-ram",
     .value = "MIB",
     .help = "what llama-server may take for prompts of idle slots",
     .usual = "8192",
     .kind = OPTION_TAKEN,
     .take = take_prompts},
    ROW_JSON(json_path),
    ROW_FORCE(rules.replaces, "FILE if it is"),
    ROW_HELP,
    {.names = "-b, --batch-size",
     .kind = OPTION_REFUSED,
     .help = "what is computed at once is --ubatch, and the memory follows from that"},
    {0},
};

const struct command size_command = {
    .name = "size",
    .summary = "tell how much memory a model and a cache will take",
    .about =
        "Tells how much memory llama-server will take with each cache, part by part, without loading the "
        "weights; and with --memory the largest context that fits. f16 is always shown; other caches are "
        "compared with it.\n",
    .options = rows,
    .notes =
        "weights\tas loaded, in the layouts that llama.cpp's CPU kernels want\n"
        "the file, mapped\tweights that are there a second time in such a layout; with llama.cpp's "
        "--load-mode "
        "none, the file is not mapped\n"
        "KV cache\tcodes and scales, exact recent tokens (hot window) and first ones (sinks), tables; rows: "
        "what "
        "llama.cpp keeps in types of its own\n"
        "recurrent states\tof layers that have such instead of a KV cache\n"
        "compute buffers\tintermediate results; output buffer: logits of one token a sequence\n"
        "scratch\twhat the plug-in takes when it works: the rows of a batch and its attention, for a full "
        "context; grows with threads and --ubatch. Restoring a saved slot can take as much again.\n"
        "draft model\tall that it takes\n"
        "prompts in 8 GiB\tso many prompts of a full slot does llama-server keep of idle slots "
        "(--cache-ram); "
        "not in the total\n"
        "a checkpoint\twhat layers with a window, or recurrent ones, can go back to; llama-server keeps up "
        "to "
        "32 of each slot (--ctx-checkpoints); not in the total\n"
        "\n"
        "A cache that the model cannot have is named below the table, with the reason, and so is what of one "
        "of "
        "ours "
        "stays uncompressed.\n"
        "\n"
        "Not in the total: the program, the vocabulary and llama.cpp's table of cells (some 50 bytes a cell, "
        "up "
        "to 150 when it is full), or a projector for images.\n"
        "\n"
        "JSON: {\"version\", \"model\", \"n_ctx_train\", \"n_ctx\", \"parallel\", \"kv_unified\", "
        "\"ubatch\", "
        "\"threads\", \"cache_ram_bytes\", \"memory_bytes\", \"results\": [{\"cache\", \"weights_bytes\", "
        "\"mapped_bytes\", "
        "\"kv_bytes\", "
        "\"memory_ratio\", \"kv\": {\"codes_bytes\", \"window_bytes\", \"sinks_bytes\", \"tables_bytes\", "
        "\"rows_bytes\"}, \"recurrent_bytes\", \"compute_bytes\", \"output_bytes\", \"scratch_bytes\", "
        "\"draft_bytes\", \"total_bytes\", \"prompt_bytes\", \"prompts_in_ram\", \"checkpoint_bytes\", "
        "\"compressed_ratio\", \"plain\", \"largest\": {\"n_ctx\", \"total_bytes\"}}], "
        "\"impossible\": [{\"cache\", "
        "\"why\"}]}; "
        "largest is null where nothing fits; compressed_ratio, of an f16 cache, and plain, why the rest is "
        "not, "
        "or null, stand where the cache is one of ours.\n"
        "\n"
        "exit status: 0 success, 1 a problem, 2 wrong usage or input, or nothing fits in the memory.\n",
    .measures = true,
    .run = size_main,
};

static int complete(struct request *request, struct place *place)
{
    request->options.unified = request->sharing == UNIFIED;
    if (request->options.parallel == 0) { /* as llama-server does */
        request->options.parallel = SERVER_SEQUENCES;
        request->options.unified = request->sharing != SPLIT;
    }
    if (request->options.n_threads == 0) {
        request->options.n_threads = count_cpus();
    }
    int status = take_default_model("size", &request->options.model_path, place);
    output_keep(&request->rules, request->options.model_path);
    output_keep(&request->rules, request->draft_path);
    output_keep_plans(&request->rules, request->caches, request->n_caches);
    return status == 0 ? output_check(request->json_path, &request->rules) : status;
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
    status = status == 0 ? size_checkpoint(&cache, &result->parts) : status;
    if (status == 0 && request->budget > 0) {
        int most = request->options.n_ctx > 0 ? result->parts.n_ctx : MOST_SOUGHT;
        status = size_largest(&cache, most, request->budget, &result->at_most, &result->largest);
    }
    result->is_ours = !cache.parsed.stock;
    if (status == 0 && result->is_ours) {
        outlook_of(&model->model, &report->results[0].parts, &result->parts, &result->outlook);
        outlook_tell(&result->outlook, result->plain);
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

static int size_all(struct size_model *model, struct request *request)
{
    struct impossible impossible = {.n = 0};
    impossible_sift(&model->model, request->caches, &request->n_caches, &impossible);
    struct size_report report = {.impossible = &impossible,
                                 .options = &model->options,
                                 .budget = request->budget,
                                 .prompts = request->prompts,
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
        status = report_write(json, request->json_path, &request->rules);
        cJSON_Delete(json);
    }
    if (status == 0 && !output_is_stdout(request->json_path)) {
        size_report_print(&report);
    }
    return status;
}

/* A model, and one that drafts for it. */
static int size_both(struct engine *engine, struct request *request)
{
    struct size_model model, draft;
    struct size_options of_draft = request->options;
    of_draft.model_path = request->draft_path;
    int status = size_open(engine, &request->options, &model);
    if (status == 0 && request->draft_path) {
        status = size_open(engine, &of_draft, &draft);
        model.draft = &draft;
    }
    status = status == 0 ? size_all(&model, request) : status;
    if (model.draft) {
        size_close(&draft);
    }
    size_close(&model);
    return status;
}

static int size_main(const struct command *self, int argc, char **argv)
{
    struct request request = {.options = {.n_gpu_layers = -1}};
    struct place place;
    struct engine engine;
    int status;
    if (!options_parse(self, argc, argv, &request, &status)) {
        return status;
    }
    status = complete(&request, &place);
    status = status == 0 ? engine_open(&engine) : status;
    status = status == 0
                 ? plans_check(engine.tool, request.options.model_path, request.caches, request.n_caches)
                 : status;
    if (status == 0) {
        status = size_both(&engine, &request);
    }
    return status;
}

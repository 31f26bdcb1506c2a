#include "options.h"

#include "ggml_folder.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static const char help[] =
    "bench_attention: decode attention of TaDA and of ggml (f16, flash) in one process, taking turns\n"
    "\n"
    "  --cells N      cells in the cache (8192)\n"
    "  --heads-kv N   KV heads (8)\n"
    "  --dim LIST     head sizes (64,128)\n"
    "  --group LIST   query heads per KV head (1,4)\n"
    "  --view N       V is the first N values of K, of one KV head (multi-head latent attention: --dim 576 "
    "--view 512)\n"
    "  --queries N    queries at once (1: decode; 512: prefill)\n"
    "  --spec SPEC    cache spec (tada:window=0:sinks=0: only the last tile stays hot)\n"
    "  --all-cold     window 0 and no sinks, whatever the spec says\n"
    "  --huge-pages   ask for huge pages for the caches of both sides; llama.cpp does not\n"
    "  --outlier X    factor of one K channel of each head (1)\n"
    "  --layers N     layers that the measurements rotate over (4)\n"
    "  --flush MIB    read between two measurements (256, or 4 times the last-level cache; 0: warm caches)\n"
    "  --repeat N     measurements of each side (15)\n"
    "  --threads N    threads of both sides and of the bandwidth (1)\n"
    "  --ggml DIR     folder with the modules of ggml (" TADA_GGML_FOLDER ")\n"
    "  --json         one JSON object instead of the table\n"
    "  --help\n";

void bench_fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("bench_attention: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

void *bench_alloc(size_t n, size_t size)
{
    size_t bytes = (n * size + 63) / 64 * 64;
    void *memory = aligned_alloc(64, bytes ? bytes : 64);
    if (!memory) {
        bench_fail("out of memory: use fewer --cells, --layers or --queries");
    }
    return memset(memory, 0, bytes);
}

void *bench_pages(size_t bytes, bool huge)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        bench_fail("no memory for %zu MiB: use fewer --cells or --layers, or a smaller --flush", bytes >> 20);
    }
    if (huge) {
        madvise(memory, bytes, MADV_HUGEPAGE);
    }
    return memory;
}

static _Noreturn void wrong(const char *option, const char *text, long low, long high)
{
    fprintf(stderr, "bench_attention: --%s %s: expected a whole number from %ld to %ld (see --help)\n",
            option, text, low, high);
    exit(2);
}

/* Ends at the end of the text, or at a comma where `rest` is given. */
static long number(const char *option, const char *text, long low, long high, char **rest)
{
    char *end;
    long value = strtol(text, &end, 10);
    if (end == text || (*end && !(rest && *end == ',')) || value < low || value > high) {
        wrong(option, text, low, high);
    }
    if (rest) {
        *rest = end;
    }
    return value;
}

static bench_list list(const char *option, char *text, long low, long high)
{
    bench_list l = {.n = 0};
    for (char *at = text;; at++) {
        if (l.n == BENCH_LIST_MAX) {
            fprintf(stderr, "bench_attention: --%s takes at most %d values\n", option, BENCH_LIST_MAX);
            exit(2);
        }
        l.values[l.n++] = (int)number(option, at, low, high, &at);
        if (!*at) {
            return l;
        }
    }
}

static float factor(const char *text)
{
    char *end;
    float value = strtof(text, &end);
    if (end == text || *end || !(value > 0 && value <= 1000)) {
        fprintf(stderr, "bench_attention: --outlier %s: expected a number above 0, at most 1000\n", text);
        exit(2);
    }
    return value;
}

static void check_spec(bench_options *o)
{
    tada_error error = {""};
    if (tada_spec_parse(o->spec_text, &o->spec, &error) != TADA_OK) {
        fprintf(stderr, "bench_attention: --spec %s: %s\n", o->spec_text, error.text);
        exit(2);
    }
    if (o->spec.stock) {
        fprintf(stderr, "bench_attention: --spec %s is a stock type, without a plane to measure\n",
                o->spec_text);
        exit(2);
    }
    if (o->all_cold) {
        o->spec.window = 0;
        o->spec.sinks = 0;
    }
}

static void check_view(const bench_options *o)
{
    for (int i = 0; i < o->dims.n && o->view; i++) {
        if (o->view > o->dims.values[i] || o->n_heads_kv != 1) {
            fprintf(stderr,
                    "bench_attention: --view %d: expected one KV head, with at least so many values\n",
                    o->view);
            exit(2);
        }
    }
}

enum {
    CELLS,
    HEADS,
    DIMS,
    GROUPS,
    VIEW,
    QUERIES,
    SPEC,
    COLD,
    HUGE_PAGES,
    OUTLIER,
    LAYERS,
    FLUSH,
    REPEAT,
    THREADS,
    GGML,
    JSON,
    HELP
};

static const struct option names[] = {
    {"cells", required_argument, NULL, CELLS},
    {"heads-kv", required_argument, NULL, HEADS},
    {"dim", required_argument, NULL, DIMS},
    {"group", required_argument, NULL, GROUPS},
    {"view", required_argument, NULL, VIEW},
    {"queries", required_argument, NULL, QUERIES},
    {"spec", required_argument, NULL, SPEC},
    {"all-cold", no_argument, NULL, COLD},
    {"huge-pages", no_argument, NULL, HUGE_PAGES},
    {"outlier", required_argument, NULL, OUTLIER},
    {"layers", required_argument, NULL, LAYERS},
    {"flush", required_argument, NULL, FLUSH},
    {"repeat", required_argument, NULL, REPEAT},
    {"threads", required_argument, NULL, THREADS},
    {"ggml", required_argument, NULL, GGML},
    {"json", no_argument, NULL, JSON},
    {"help", no_argument, NULL, HELP},
    {NULL, 0, NULL, 0},
};

static void set(bench_options *o, int which)
{
    const char *name = names[which].name;
    switch (which) {
    case CELLS:
        o->n_cells = number(name, optarg, 1, 1 << 24, NULL);
        break;
    case HEADS:
        o->n_heads_kv = (int)number(name, optarg, 1, 256, NULL);
        break;
    case DIMS:
        o->dims = list(name, optarg, 1, 1024);
        break;
    case GROUPS:
        o->groups = list(name, optarg, 1, 128);
        break;
    case VIEW:
        o->view = (int)number(name, optarg, 1, 1024, NULL);
        o->n_heads_kv = 1;
        break;
    case QUERIES:
        o->n_queries = number(name, optarg, 1, 8192, NULL);
        break;
    case SPEC:
        o->spec_text = optarg;
        break;
    case COLD:
        o->all_cold = true;
        break;
    case HUGE_PAGES:
        o->huge_pages = true;
        break;
    case OUTLIER:
        o->outlier = factor(optarg);
        break;
    case LAYERS:
        o->n_layers = (int)number(name, optarg, 1, 128, NULL);
        break;
    case FLUSH:
        o->flush_mib = (int)number(name, optarg, 0, 16384, NULL);
        break;
    case REPEAT:
        o->repeat = (int)number(name, optarg, 1, 100000, NULL);
        break;
    case THREADS:
        o->n_threads = (int)number(name, optarg, 1, 512, NULL);
        break;
    case GGML:
        o->folder = optarg;
        break;
    case JSON:
        o->json = true;
        break;
    case HELP:
        fputs(help, stdout);
        exit(0);
    default: /* getopt has said what is wrong */
        exit(2);
    }
}

void bench_options_parse(bench_options *o, int argc, char **argv)
{
    *o = (bench_options){
        .n_cells = 8192,
        .n_queries = 1,
        .n_heads_kv = 8,
        .n_layers = 4,
        .n_threads = 1,
        .repeat = 15,
        .dims = {{64, 128}, 2},
        .groups = {{1, 4}, 2},
        .spec_text = "tada:window=0:sinks=0",
        .outlier = 1,
        .flush_mib = -1,
        .folder = TADA_GGML_FOLDER,
    };
    for (int which; (which = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        set(o, which);
    }
    if (optind < argc) {
        fprintf(stderr, "bench_attention: %s: not an option (see --help)\n", argv[optind]);
        exit(2);
    }
    check_view(o);
    check_spec(o);
}

/* Facts of llama.cpp here: common/arg.cpp (names, variables, words), tools/server/server.cpp (slots),
 * common/fit.cpp and src/llama-context.cpp (cells), common/speculative.cpp (the draft's cache). */
#include "server_options.h"

#include "output/note.h"

#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MOST_NAMES = 4,
    CELLS_STEP = 256,
    AUTO_SLOTS = 4,
    USUAL_UBATCH = 512,
    USUAL_CHECKPOINTS = 32,
    USUAL_RAM = 8192
};

/* What an option sets its field to: the next argument, or a word. */
struct known_option {
    const char *names[MOST_NAMES];
    const char *variable; /* without LLAMA_ARG_; NULL: none */
    size_t field;
    const char *word; /* NULL: the next argument */
};

#define FIELD(name) offsetof(struct server_options, name)

static const struct known_option known[] = {
    {{"-m", "--model"}, "MODEL", FIELD(model), NULL},
    {{"-mu", "--model-url"}, "MODEL_URL", FIELD(remote), NULL},
    {{"-dr", "--docker-repo"}, "DOCKER_REPO", FIELD(remote), NULL},
    {{"-hf", "-hfr", "--hf-repo"}, "HF_REPO", FIELD(remote), NULL},
    {{"--models-dir"}, "MODELS_DIR", FIELD(models), NULL},
    {{"--models-preset"}, "MODELS_PRESET", FIELD(models), NULL},
    {{"-c", "--ctx-size"}, "CTX_SIZE", FIELD(context), NULL},
    {{"-np", "--parallel"}, "N_PARALLEL", FIELD(parallel), NULL},
    {{"--kv-unified-per-slot"}, "KV_UNIFIED_PER_SLOT", FIELD(per_slot), NULL},
    {{"-kvu", "--kv-unified"}, "KV_UNIFIED", FIELD(unified), "on"},
    {{"-no-kvu", "--no-kv-unified"}, "NO_KV_UNIFIED", FIELD(unified), "off"},
    {{"-fit", "--fit"}, "FIT", FIELD(fit), NULL},
    {{"-fa", "--flash-attn"}, "FLASH_ATTN", FIELD(flash), NULL},
    {{"-kvo", "--kv-offload"}, "KV_OFFLOAD", FIELD(offload), "on"},
    {{"-nkvo", "--no-kv-offload"}, "NO_KV_OFFLOAD", FIELD(offload), "off"},
    {{"-ngl", "--gpu-layers", "--n-gpu-layers"}, "N_GPU_LAYERS", FIELD(gpu_layers), NULL},
    {{"-dev", "--device"}, "DEVICE", FIELD(devices), NULL},
    {{"-ub", "--ubatch-size"}, "UBATCH", FIELD(ubatch), NULL},
    {{"--swa-full"}, "SWA_FULL", FIELD(swa_full), "on"},
    {{"-ctxcp", "--ctx-checkpoints", "--swa-checkpoints"}, "CTX_CHECKPOINTS", FIELD(checkpoints), NULL},
    {{"-cram", "--cache-ram"}, "CACHE_RAM", FIELD(cache_ram), NULL},
    {{"-ctk", "--cache-type-k"}, "CACHE_TYPE_K", FIELD(type_k), NULL},
    {{"-ctv", "--cache-type-v"}, "CACHE_TYPE_V", FIELD(type_v), NULL},
    {{"-md", "--model-draft", "--spec-draft-model"}, "SPEC_DRAFT_MODEL", FIELD(draft), NULL},
    {{"-ctkd", "--cache-type-k-draft", "--spec-draft-type-k"},
     "SPEC_DRAFT_CACHE_TYPE_K",
     FIELD(draft_k),
     NULL},
    {{"-ctvd", "--cache-type-v-draft", "--spec-draft-type-v"},
     "SPEC_DRAFT_CACHE_TYPE_V",
     FIELD(draft_v),
     NULL},
    {{"--slot-save-path"}, NULL, FIELD(sessions), NULL},
};
enum { N_KNOWN = sizeof known / sizeof *known };

static void set(struct server_options *options, const struct known_option *option, const char *value)
{
    memcpy((char *)options + option->field, &value, sizeof value);
}

/* llama.cpp takes "--ctx_size" for "--ctx-size". */
static bool is_name(const char *argument, const char *name)
{
    bool is_long = strncmp(argument, "--", 2) == 0;
    size_t i = 0;
    while (argument[i] && (argument[i] == name[i] || (is_long && argument[i] == '_' && name[i] == '-'))) {
        i++;
    }
    return !argument[i] && !name[i];
}

static const struct known_option *find(const char *argument)
{
    for (int i = 0; i < N_KNOWN; i++) {
        for (int j = 0; j < MOST_NAMES && known[i].names[j]; j++) {
            if (is_name(argument, known[i].names[j])) {
                return &known[i];
            }
        }
    }
    return NULL;
}

/* The variable of a switch holds a word; that of its opposite turns it off, whatever it holds. */
static void read_variables(struct server_options *options)
{
    for (int i = 0; i < N_KNOWN; i++) {
        char name[64];
        snprintf(name, sizeof name, "LLAMA_ARG_%s", known[i].variable ? known[i].variable : "");
        const char *value = known[i].variable ? getenv(name) : NULL;
        if (value) {
            bool opposite = strncmp(known[i].variable, "NO_", 3) == 0;
            set(options, &known[i], opposite ? "off" : value);
        }
    }
}

void server_options_read(struct server_options *options, char *const *arguments, int n)
{
    *options = (struct server_options){0};
    read_variables(options);
    for (int i = 0; i < n; i++) {
        const struct known_option *option = find(arguments[i]);
        if (option && option->word) {
            set(options, option, option->word);
        } else if (option && i + 1 < n) {
            set(options, option, arguments[++i]);
        }
    }
}

bool server_option_is_f16(const char *type)
{
    return !type || strcmp(type, "f16") == 0;
}

bool server_option_is_off(const char *value)
{
    static const char *const words[] = {"off", "disabled", "false", "0"};
    for (size_t i = 0; value && i < sizeof words / sizeof *words; i++) {
        if (strcmp(value, words[i]) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_f16(const struct server_options *options)
{
    return server_option_is_f16(options->type_k) && server_option_is_f16(options->type_v);
}

bool server_options_compress(const struct server_options *options)
{
    return !server_option_is_off(options->flash) && is_f16(options);
}

bool server_options_tell(const struct server_options *options)
{
    if (server_option_is_off(options->flash)) {
        cli_note("0 %% of the KV cache is compressed: only caches that flash attention reads are; leave out "
                 "-fa off.");
    } else if (!is_f16(options)) {
        cli_note("0 %% of the KV cache is compressed: only caches whose keys and values are both of type f16 "
                 "are; leave out -ctk and -ctv.");
    }
    return server_options_compress(options);
}

static long long number(const char *text, long long otherwise)
{
    char *end;
    long long value = text ? strtoll(text, &end, 10) : 0;
    return text && end != text && value > INT_MIN && value < INT_MAX ? value : otherwise;
}

static long long padded(long long cells)
{
    return (cells + CELLS_STEP - 1) / CELLS_STEP * CELLS_STEP;
}

void server_options_cache(const struct server_options *options, int n_ctx_train, struct server_cache *cache)
{
    long long slots = number(options->parallel, -1), context = number(options->context, 0);
    long long per_slot = number(options->per_slot, 0);
    bool automatic = slots < 0;
    *cache = (struct server_cache){.slots = automatic ? AUTO_SLOTS : slots < 1 ? 1 : (int)slots};
    cache->unified = automatic || (options->unified && !server_option_is_off(options->unified));
    if (context <= 0 && per_slot > 0 && !options->context) {
        context = cache->slots * per_slot;
    }
    if (context <= 0) {
        bool fits = !server_option_is_off(options->fit);
        context = (long long)n_ctx_train * (cache->unified || !fits ? 1 : cache->slots);
        cache->at_most = fits && !options->context;
    }
    context = padded(context);
    cache->cells = cache->unified ? context : padded(context / cache->slots);
}

int server_options_gpu_layers(const struct server_options *options)
{
    bool none = options->devices && strcmp(options->devices, "none") == 0;
    return none ? 0 : (int)number(options->gpu_layers, -1);
}

int server_options_ubatch(const struct server_options *options)
{
    long long n = number(options->ubatch, USUAL_UBATCH);
    return n > 0 ? (int)n : USUAL_UBATCH;
}

int server_options_cache_ram(const struct server_options *options)
{
    return (int)number(options->cache_ram, USUAL_RAM);
}

int server_options_checkpoints(const struct server_options *options)
{
    return (int)number(options->checkpoints, USUAL_CHECKPOINTS);
}

#include "size.h"

#include "breakdown.h"
#include "output/note.h"

#include <string.h>

enum { CELLS_STEP = 256, SERVER_BATCH = 2048, ROUNDED_MIB = 200 /* its log has hundredths */ };

size_t size_kv(const struct size_parts *parts)
{
    return parts->codes + parts->window + parts->sinks + parts->tables + parts->rows;
}

size_t size_total(const struct size_parts *parts)
{
    return parts->weights + parts->mapped + size_kv(parts) + parts->recurrent + parts->compute +
           parts->output + parts->scratch + parts->draft;
}

/* Its share of the cells, and the state that is its own. */
size_t size_prompt(const struct size_options *options, const struct size_parts *parts)
{
    size_t slots = (size_t)options->parallel;
    return (size_kv(parts) + parts->draft_kv) / (options->unified ? 1 : slots) + parts->recurrent / slots;
}

int size_step(const struct size_options *options)
{
    return options->unified ? CELLS_STEP : CELLS_STEP * options->parallel;
}

int size_open(struct engine *engine, const struct size_options *options, struct size_model *model)
{
    *model = (struct size_model){.engine = engine, .options = *options};
    return model_open_sizes(engine, options->model_path, options->n_gpu_layers, &model->model);
}

void size_close(struct size_model *model)
{
    model_close(&model->model);
}

int size_choose(struct size_model *model, const char *spec, struct size_cache *cache)
{
    *cache = (struct size_cache){.model = model, .spec = spec};
    return cache_choose(model->engine, spec, NULL, &cache->parsed);
}

static struct llama_context_params context_params(const struct size_cache *cache, int n_ctx)
{
    const struct size_options *options = &cache->model->options;
    struct llama_context_params params = cache->model->engine->llama_context_default_params();
    params.n_ctx = (uint32_t)n_ctx;
    params.n_ubatch = (uint32_t)options->n_ubatch;
    params.n_batch = (uint32_t)(options->n_ubatch > SERVER_BATCH ? options->n_ubatch : SERVER_BATCH);
    params.n_seq_max = (uint32_t)options->parallel;
    params.n_outputs_max = params.n_seq_max; /* a server wants logits of one token a sequence */
    params.n_outputs_max_per_seq = 1;
    params.kv_unified = options->unified;
    params.n_threads = params.n_threads_batch = options->n_threads;
    params.swa_full = options->swa_full;
    params.offload_kqv = !options->in_ram;
    params.no_perf = true;
    if (cache->parsed.stock) {
        params.type_k = cache_stock_type(cache->parsed.stock_k);
        params.type_v = cache_stock_type(cache->parsed.stock_v);
    }
    return params;
}

static size_t bytes_of(double mib)
{
    return (size_t)(mib * 1048576 + 0.5);
}

/* What is left of the cache's buffers when planes and states are taken out. The plug-in tells llama.cpp the
 * size of a plane for each tensor that may become one, but those that attention does not read stay. */
static void divide_cache(const struct breakdown *breakdown, const tada_measured *measured, double rs_mib,
                         bool has_states, struct size_parts *parts)
{
    const tada_plane_parts *planes = &measured->parts;
    size_t sum = planes->codes + planes->window + planes->sinks + planes->table;
    size_t cache = breakdown->cache - measured->unread_as_planes + measured->unread_as_f16;
    size_t left = cache > sum ? cache - sum : 0;
    parts->codes = planes->codes;
    parts->window = planes->window;
    parts->sinks = planes->sinks;
    parts->tables = planes->table;
    parts->recurrent = bytes_of(rs_mib) < left ? bytes_of(rs_mib) : left;
    if (has_states && left - parts->recurrent < 1048576 / ROUNDED_MIB) {
        parts->recurrent = left; /* the difference is rounding: nothing else is there */
    }
    parts->rows = left - parts->recurrent;
    parts->compressed = measured->compressed_f16;
    parts->elsewhere = breakdown->elsewhere;
    memcpy(parts->gpus, breakdown->gpus, sizeof parts->gpus);
}

/* llama.cpp maps the file from the first to the last tensor that it uses as it is. */
static size_t mapped_beside(const struct model *model, const struct breakdown *breakdown)
{
    size_t in_file = (size_t)model->engine->llama_model_size(model->llama);
    size_t as_they_are = breakdown->weights - breakdown->repacked;
    return breakdown->repacked > 0 && in_file > as_they_are ? in_file - as_they_are : 0;
}

/* Without the draft model. */
static int size_alone(const struct size_cache *cache, int n_ctx, struct size_parts *parts)
{
    struct engine *engine = cache->model->engine;
    const struct model *model = &cache->model->model;
    struct breakdown breakdown;
    tada_measured measured;
    engine->rs_mib = engine->output_mib = 0;
    engine->complaint[0] = '\0';
    engine->measure_begin(cache->model->options.n_threads);
    struct llama_context *context = engine->llama_init_from_model(model->llama, context_params(cache, n_ctx));
    engine->measure_planes();
    bool got = context && breakdown_get(engine->library, context, &breakdown);
    engine->measure_end(&measured);
    *parts = (struct size_parts){0};
    if (context) {
        parts->n_ctx = (int)engine->llama_n_ctx(context);
        engine->llama_free(context);
    }
    if (!context) {
        cli_fail("%s cannot have the cache %s (%s): choose another cache or a smaller context.", model->name,
                 cache->spec, *engine->complaint ? engine->complaint : "llama.cpp does not say why");
        return EXIT_USAGE;
    }
    if (!got) {
        return cli_fail("libllama does not tell sizes: use the llama.cpp that TaDA was built for.");
    }
    parts->weights = breakdown.weights;
    parts->mapped = mapped_beside(model, &breakdown);
    parts->compute = breakdown.compute;
    parts->output = bytes_of(engine->output_mib);
    parts->scratch = measured.scratch;
    bool has_states =
        engine->llama_model_is_recurrent(model->llama) || engine->llama_model_is_hybrid(model->llama);
    divide_cache(&breakdown, &measured, engine->rs_mib, has_states, parts);
    return 0;
}

int size_of(const struct size_cache *cache, int n_ctx, struct size_parts *parts)
{
    struct size_cache draft = {cache->model->draft, cache->spec, cache->parsed};
    struct size_parts parts_of_draft = {0};
    int status = size_alone(cache, n_ctx, parts);
    if (status == 0 && draft.model) {
        status = size_alone(&draft, n_ctx, &parts_of_draft);
        parts->draft = size_total(&parts_of_draft);
        parts->draft_kv = size_kv(&parts_of_draft);
    }
    return status;
}

/* Layers that keep all tokens have twice as many bytes in twice the context, those with a window as many. */
int size_checkpoint(const struct size_cache *cache, struct size_parts *parts)
{
    const struct size_model *model = cache->model;
    size_t slots = (size_t)model->options.parallel;
    struct size_parts twice;
    parts->checkpoint = parts->recurrent / slots;
    if (model->engine->llama_model_n_swa(model->model.llama) == 0 || model->options.swa_full) {
        return 0;
    }
    int status = size_alone(cache, 2 * parts->n_ctx, &twice);
    if (status == 0 && 2 * size_kv(parts) > size_kv(&twice)) {
        parts->checkpoint += (2 * size_kv(parts) - size_kv(&twice)) / slots;
    }
    return status;
}

/* Where the line through two known totals meets the budget, in steps strictly between them. */
static int guess(int low, int high, const struct size_parts *at_low, const struct size_parts *at_high,
                 uint64_t budget)
{
    double rise = (double)size_total(at_high) - (double)size_total(at_low);
    double share = rise > 0 ? ((double)budget - (double)size_total(at_low)) / rise : 0.5;
    int middle = low + (int)(share * (high - low));
    return middle <= low ? low + 1 : middle >= high ? high - 1 : middle;
}

int size_largest(const struct size_cache *cache, int most, uint64_t budget, struct size_parts *parts,
                 int *n_ctx)
{
    int step = size_step(&cache->model->options), low = 1, high = most / step;
    struct size_parts at_high;
    *n_ctx = 0;
    int status = size_of(cache, step * low, parts);
    if (status != 0 || size_total(parts) > budget) {
        return status;
    }
    if (high > low) {
        status = size_of(cache, step * high, &at_high);
        if (status == 0 && size_total(&at_high) <= budget) {
            low = high;
            *parts = at_high;
        }
    }
    /* Nearly a line: its guess is good at once, the halvings are for when it is not. */
    for (int turn = 0; status == 0 && high - low > 1; turn++) {
        struct size_parts between;
        int middle = turn % 3 == 2 ? low + (high - low) / 2 : guess(low, high, parts, &at_high, budget);
        status = size_of(cache, step * middle, &between);
        bool fits = size_total(&between) <= budget;
        *(fits ? &low : &high) = middle;
        *(fits ? parts : &at_high) = between;
    }
    *n_ctx = step * low;
    return status;
}

/* The steps of calibration that measure: statistics and sensitivities. */
#include "calibration.h"
#include "engine/outlook.h"
#include "engine/plans.h"
#include "output/note.h"
#include "output/output.h"
#include "output/plan_page.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int plan_set(tada_plan *plan, int i, const tada_plan_plane *plane)
{
    tada_error error;
    enum tada_status status = tada_plan_set_plane(plan, i / 2, (enum tada_kind)(i % 2), plane, &error);
    return status == TADA_OK ? 0 : cli_fail("%s", error.text);
}

int plan_set_recipe(tada_plan *plan, int i, const tada_recipe *recipe, int window)
{
    tada_plan_plane plane = *plan_plane(plan, i);
    plane.recipe = *recipe;
    plane.window = window;
    return plan_set(plan, i, &plane);
}

/* Nothing here can fail: the spec is sound, and without weights no memory is needed. */
void plan_follow(tada_plan *plan, const tada_spec *spec)
{
    tada_plan_info info = *tada_plan_get_info(plan);
    for (int i = 0; i < plan_planes(plan); i++) {
        tada_plan_plane plane = *plan_plane(plan, i);
        plane.recipe = i % 2 ? spec->v : spec->k;
        plane.window = spec->window;
        plane.window_bits = spec->window_bits;
        plan_set(plan, i, &plane);
    }
    info.sinks = spec->sinks;
    tada_plan_set_info(plan, &info, NULL);
}

double plan_bytes(const tada_plan *plan, int n_ctx, double *f16_bytes)
{
    double bytes = 0;
    *f16_bytes = 0;
    for (int i = 0; i < plan_planes(plan); i++) {
        enum tada_kind kind = i % 2 ? TADA_V : TADA_K;
        const tada_plan_plane *plane = plan_plane(plan, i);
        if (plane->width > 0) {
            tada_spec spec = tada_plan_spec(plan, i / 2, kind);
            tada_shape shape = {.kind = kind,
                                .width = plane->width,
                                .n_cells = n_ctx,
                                .n_streams = 1,
                                .head_dim = plane->head_dim};
            bytes += (double)tada_plane_bytes(&spec, &shape);
            *f16_bytes += 2.0 * plane->width * n_ctx;
        }
    }
    return bytes;
}

/* ---- statistics ---- */

/* How many layers there are up to the last one that the plug-in saw. */
static int count_layers(const struct engine *engine)
{
    tada_layer_statistics statistics;
    int n = 0;
    for (int layer = 0; layer < TADA_PLAN_LAYERS; layer++) {
        n = engine->statistics_get(layer, &statistics) ? layer + 1 : n;
    }
    return n;
}

/* Widths, head sizes and weights of a layer. */
static int fill_layer(struct calibration *c, int layer, const tada_layer_statistics *statistics)
{
    tada_plan_plane k = *plan_plane(c->plan, 2 * layer), v = *plan_plane(c->plan, 2 * layer + 1);
    int dim = statistics->head_dim, heads = statistics->k_width / dim;
    k.width = statistics->k_width;
    v.width = statistics->v_width;
    c->n_heads_kv = c->n_heads_kv && c->n_heads_kv < heads ? c->n_heads_kv : heads;
    /* Heads of other sizes count as not known. */
    k.head_dim = dim % 16 == 0 && k.width % dim == 0 ? dim : 0;
    v.head_dim = v.width == k.width ? k.head_dim : 0;
    k.recipe = recipe_of_quarters(0, 64);
    v.recipe = recipe_of_quarters(1, 64);
    float *weights = calibration_weights(statistics);
    if (!weights) {
        return cli_fail("Memory is too short for the plan: close other programs.");
    }
    k.recipe.weights = weights;
    int status = plan_set(c->plan, 2 * layer, &k);
    status = status == 0 ? plan_set(c->plan, 2 * layer + 1, &v) : status;
    free(weights);
    return status;
}

/* Attention read nothing that is compressed. */
static int tell_uncompressed(const struct calibration *c)
{
    struct outlook outlook;
    char why[OUTLOOK_TEXT] = "";
    const struct size_options sizes = {.model_path = c->options->model_path,
                                       .n_ctx = c->options->n_ctx,
                                       .parallel = 1,
                                       .n_ubatch = 64,
                                       .n_threads = 1,
                                       .in_ram = true};
    if (outlook_look(&sizes, "tada", &outlook)) {
        outlook_tell(&outlook, why);
    }
    cli_fail("%s: %s Choose another model.", c->model->name,
             *why ? why : "nothing of its KV cache can be compressed.");
    return EXIT_USAGE;
}

/* Makes the plan of what the plug-in has seen. */
static int take_statistics(struct calibration *c)
{
    const struct engine *engine = c->model->engine;
    tada_layer_statistics statistics;
    int n_layers = count_layers(engine), status = 0;
    if (n_layers == 0) {
        return tell_uncompressed(c);
    }
    tada_spec usual;
    tada_spec_parse("tada", &usual, NULL);
    usual.window = 0; /* sensitivities are measured without */
    c->plan = tada_plan_create(n_layers);
    if (!c->plan) {
        return cli_fail("Memory is too short for the plan: close other programs.");
    }
    plan_follow(c->plan, &usual);
    for (int layer = 0; layer < n_layers && status == 0; layer++) {
        if (engine->statistics_get(layer, &statistics)) {
            status = fill_layer(c, layer, &statistics);
        }
    }
    tada_plan_info info = *tada_plan_get_info(c->plan);
    snprintf(info.model, sizeof info.model, "%.*s", (int)sizeof info.model - 1, c->model->name);
    snprintf(info.method, sizeof info.method, "%s", c->options->paper ? "paper" : "tada");
    info.fingerprint = engine->model_fingerprint();
    info.n_ctx = c->options->n_ctx;
    tada_plan_set_info(c->plan, &info, NULL);
    return status;
}

/* Choices are measured at the ends of the last PLACES eighths of the text. */
static bool is_place(int from, int to, int n)
{
    enum { PARTS = 8, PLACES = 5 };
    return from * PARTS / n != to * PARTS / n && to * PARTS / n > PARTS - PLACES;
}

int calibration_observe(struct calibration *c)
{
    enum { BATCH = 256 };
    const struct engine *engine = c->model->engine;
    struct cache cache;
    int n = c->n_tokens / 2 < c->options->n_ctx ? c->n_tokens / 2 : c->options->n_ctx;
    int status = cache_open(c->model,
                            &(struct cache_options){.spec = "tada:16",
                                                    .n_ctx = n,
                                                    .n_batch = BATCH,
                                                    .n_ubatch = BATCH,
                                                    .n_threads = c->options->n_threads},
                            &cache);
    if (status != 0) {
        return status;
    }
    engine->statistics_watch(true);
    c->work.detail = "statistics of the queries";
    for (int at = 0; at < n && status == 0; at += BATCH) {
        int part = n - at < BATCH ? n - at : BATCH;
        status = interrupted() ? EXIT_INTERRUPTED : cache_decode(&cache, c->tokens + at, part, at, 1);
        c->work.done += part;
        progress_show(&c->work.progress, c->work.done, c->work.total, c->work.detail);
        if (status == 0 && c->choices && is_place(at, at + part, n)) {
            progress_show(&c->work.progress, c->work.done, c->work.total, "what recipes do to attention");
            status = choices_measure(engine, at + part, c->options->n_threads, c->choices);
        }
    }
    if (status == 0) {
        status = take_statistics(c);
    }
    if (status == 0 && c->choices) {
        choices_take(c->plan, c->choices);
    }
    engine->statistics_watch(false);
    cache_close(&cache);
    return status;
}

/* ---- sensitivities ---- */

/* The file of what is measured so far, beside the plan until that is there. False: a stream has none. */
static bool partial_path(const struct calibration *c, char path[PATH_MAX])
{
    const char *plan = c->options->plan_path;
    struct stat status;
    bool streams = output_is_stdout(plan) || (stat(plan, &status) == 0 && !S_ISREG(status.st_mode));
    return !streams && snprintf(path, PATH_MAX, "%s.partial", plan) < PATH_MAX;
}

/* A file of the same name that is something else is left alone. */
static bool is_partial(const char *path)
{
    tada_plan *plan;
    bool is = tada_plan_load(path, &plan, NULL) == TADA_OK &&
              strncmp(tada_plan_get_info(plan)->method, "partial ", strlen("partial ")) == 0;
    tada_plan_free(plan);
    return is;
}

bool calibration_has_partial(const struct calibration *c)
{
    char path[PATH_MAX];
    return partial_path(c, path) && is_partial(path);
}

void calibration_forget_partial(const struct calibration *c)
{
    char path[PATH_MAX];
    if (partial_path(c, path) && is_partial(path)) {
        unlink(path);
    }
}

/* What decides whether sensitivities that were saved are those that would be measured. */
static void write_signature(const struct calibration *c, char *text, size_t size)
{
    uint32_t hash = 2166136261u;
    for (int i = 0; i < c->n_tokens; i++) {
        hash = (hash ^ (uint32_t)c->tokens[i]) * 16777619u;
    }
    snprintf(text, size, "partial %08x %d", hash, c->sample);
}

static int take_sensitivities(const tada_plan *from, tada_plan *plan)
{
    int n = 0, status = 0;
    for (int i = 0; i < plan_planes(plan) && status == 0; i++) {
        tada_plan_plane plane = *plan_plane(plan, i);
        plane.sensitivity = plan_plane(from, i)->sensitivity;
        n += plane.sensitivity > 0;
        status = plan_set(plan, i, &plane);
    }
    if (status == 0) {
        cli_note("going on with %d planes that were measured before.", n);
    }
    return status;
}

static bool is_same_model(const tada_plan *a, const tada_plan *b)
{
    return tada_plan_get_info(a)->fingerprint == tada_plan_get_info(b)->fingerprint &&
           tada_plan_layers(a) == tada_plan_layers(b);
}

/* The plan that --from names. */
static int take_from(struct calibration *c)
{
    tada_plan *from;
    int status = plan_read(c->options->from_path, &from);
    if (status != 0) {
        return status;
    }
    if (!is_same_model(from, c->plan)) {
        cli_fail("%s is a plan of another model: leave --from away.", c->options->from_path);
        status = EXIT_USAGE;
    } else {
        status = take_sensitivities(from, c->plan);
    }
    tada_plan_free(from);
    return status;
}

static int resume_partial(struct calibration *c)
{
    tada_plan_info wanted;
    char path[PATH_MAX];
    tada_plan *saved;
    int status = 0;
    write_signature(c, wanted.method, sizeof wanted.method);
    if (!partial_path(c, path) || tada_plan_load(path, &saved, NULL) != TADA_OK) {
        return 0;
    }
    if (is_same_model(saved, c->plan) && strcmp(tada_plan_get_info(saved)->method, wanted.method) == 0) {
        status = take_sensitivities(saved, c->plan);
    }
    tada_plan_free(saved);
    return status;
}

static void save_partial(const struct calibration *c)
{
    char path[PATH_MAX];
    new_file_rules rules = c->options->rules;
    const tada_plan_info info = *tada_plan_get_info(c->plan);
    tada_plan_info partial = info;
    if (!partial_path(c, path)) {
        return;
    }
    rules.replaces = rules.replaces || is_partial(path);
    write_signature(c, partial.method, sizeof partial.method);
    tada_plan_set_info(c->plan, &partial, NULL);
    plan_save(c->plan, path, &rules); /* it says why it could not */
    tada_plan_set_info(c->plan, &info, NULL);
}

int calibration_try(struct calibration *c, struct trial *trials, int n)
{
    struct trial_text text = {.tokens = c->tokens,
                              .n_windows = 1,
                              .n_ctx = c->sample,
                              .n_ubatch = 64,
                              .n_threads = c->options->n_threads,
                              .reference = "tada:16"};
    return trials_run(c->model, &text, trials, n, &c->work, NULL);
}

/* A few planes at once, so that they share the reference. */
static int measure_planes(struct calibration *c, const int *planes, int n)
{
    struct trial trials[AT_ONCE] = {{0}};
    tada_plan *plans[AT_ONCE];
    int status = 0;
    for (int i = 0; i < n; i++) {
        plans[i] = tada_plan_copy(c->plan);
        if (!plans[i]) {
            status = cli_fail("Memory is too short for the plan: close other programs.");
        } else {
            const tada_plan_plane *plane = plan_plane(plans[i], planes[i]);
            tada_recipe recipe = recipe_of_quarters(planes[i], planes[i] % 2 ? V_PROBE : K_PROBE);
            recipe.weights = plane->recipe.weights;
            status = plan_set_recipe(plans[i], planes[i], &recipe, plane->window);
        }
        trials[i] = (struct trial){.spec = "plan", .plan = plans[i]};
    }
    if (status == 0) {
        status = calibration_try(c, trials, n);
    }
    for (int i = 0; i < n; i++) {
        if (status == 0) {
            tada_plan_plane plane = *plan_plane(c->plan, planes[i]);
            plane.sensitivity = (float)fmax(trials[i].kld.value, 1e-9);
            status = plan_set(c->plan, planes[i], &plane);
        }
        tada_plan_free(plans[i]);
    }
    return status;
}

double calibration_tokens(const struct calibration *c, int n_planes)
{
    return (double)c->sample * (n_planes + (n_planes + AT_ONCE - 1) / AT_ONCE);
}

int calibration_planes(const struct calibration *c)
{
    return 2 * c->model->engine->llama_model_n_layer(c->model->llama);
}

static bool is_unmeasured(const tada_plan_plane *plane)
{
    return plane->width > 0 && plane->sensitivity == 0;
}

int calibration_measure(struct calibration *c)
{
    int list[AT_ONCE], n = 0, n_left = 0, status = 0;
    if (c->options->from_path) {
        status = take_from(c);
    } else {
        status = resume_partial(c);
    }
    for (int i = 0; i < plan_planes(c->plan); i++) {
        n_left += is_unmeasured(plan_plane(c->plan, i));
    }
    c->work.total -= calibration_tokens(c, calibration_planes(c)) - calibration_tokens(c, n_left);
    c->work.detail = "sensitivity of the layers";
    for (int i = 0; i <= plan_planes(c->plan) && status == 0; i++) {
        bool last = i == plan_planes(c->plan);
        if (!last && is_unmeasured(plan_plane(c->plan, i))) {
            list[n++] = i;
        }
        if (n > 0 && (n == AT_ONCE || last)) {
            status = measure_planes(c, list, n);
            n = 0;
            if (status == 0) {
                save_partial(c);
            }
        }
    }
    return status;
}

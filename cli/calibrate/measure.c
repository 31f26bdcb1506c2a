/* The steps of calibration that measure: statistics and sensitivities. */
#include "calibration.h"
#include "engine/outlook.h"
#include "engine/plans.h"
#include "output/note.h"
#include "output/output.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

tada_plan *plan_copy(const tada_plan *plan)
{
    tada_plan *copy = tada_plan_create(plan->n_layers);
    if (!copy) {
        return NULL;
    }
    tada_plan_plane *planes = copy->planes;
    *copy = *plan;
    copy->planes = planes;
    for (int i = 0; i < 2 * plan->n_layers; i++) {
        planes[i] = plan->planes[i];
        planes[i].weights = NULL;
        if (plan->planes[i].weights) {
            size_t bytes = (size_t)planes[i].width / 8 * sizeof(float);
            planes[i].weights = malloc(bytes);
            if (!planes[i].weights) {
                tada_plan_free(copy);
                return NULL;
            }
            memcpy(planes[i].weights, plan->planes[i].weights, bytes);
        }
    }
    return copy;
}

void plan_follow(tada_plan *plan, const tada_spec *spec)
{
    for (int i = 0; i < 2 * plan->n_layers; i++) {
        plan->planes[i].recipe = i % 2 ? spec->v : spec->k;
        plan->planes[i].window = spec->window;
        plan->planes[i].window_bits = spec->window_bits;
        free(plan->planes[i].weights);
        plan->planes[i].weights = NULL;
    }
    plan->sinks = spec->sinks;
}

double plan_bytes(const tada_plan *plan, int n_ctx, double *f16_bytes)
{
    double bytes = 0;
    *f16_bytes = 0;
    for (int i = 0; i < 2 * plan->n_layers; i++) {
        enum tada_kind kind = i % 2 ? TADA_V : TADA_K;
        const tada_plan_plane *plane = &plan->planes[i];
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

/* Widths, head sizes and weights of a layer. False: memory is short. */
static bool fill_layer(struct calibration *c, int layer, const tada_layer_statistics *statistics)
{
    tada_plan_plane *k = &c->plan->planes[2 * layer], *v = k + 1;
    int dim = statistics->head_dim, heads = statistics->k_width / dim;
    k->width = statistics->k_width;
    v->width = statistics->v_width;
    c->n_heads_kv = c->n_heads_kv && c->n_heads_kv < heads ? c->n_heads_kv : heads;
    /* Heads of other sizes count as not known. */
    k->head_dim = dim % 16 == 0 && k->width % dim == 0 ? dim : 0;
    v->head_dim = v->width == k->width ? k->head_dim : 0;
    k->recipe = recipe_of_quarters(0, 64);
    v->recipe = recipe_of_quarters(1, 64);
    k->weights = calibration_weights(statistics);
    return k->weights != NULL;
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
    int n_layers = count_layers(engine);
    if (n_layers == 0) {
        return tell_uncompressed(c);
    }
    tada_spec usual;
    tada_spec_parse("tada", &usual, NULL);
    usual.window = 0; /* sensitivities are measured without */
    c->plan = tada_plan_create(n_layers);
    if (c->plan) {
        plan_follow(c->plan, &usual);
    }
    for (int layer = 0; layer < n_layers && c->plan; layer++) {
        if (engine->statistics_get(layer, &statistics) && !fill_layer(c, layer, &statistics)) {
            tada_plan_free(c->plan);
            c->plan = NULL;
        }
    }
    if (!c->plan) {
        return cli_fail("Memory is too short for the plan: close other programs.");
    }
    snprintf(c->plan->model, sizeof c->plan->model, "%.*s", (int)sizeof c->plan->model - 1, c->model->name);
    snprintf(c->plan->method, sizeof c->plan->method, "%s", c->options->paper ? "paper" : "tada");
    c->plan->fingerprint = engine->model_fingerprint();
    c->plan->n_ctx = c->options->n_ctx;
    return 0;
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
static bool is_partial(const struct calibration *c, const char *path)
{
    tada_plan *plan;
    bool is = c->model->engine->plan_read(path, &plan, NULL) == TADA_OK &&
              strncmp(plan->method, "partial ", strlen("partial ")) == 0;
    tada_plan_free(plan);
    return is;
}

bool calibration_has_partial(const struct calibration *c)
{
    char path[PATH_MAX];
    return partial_path(c, path) && is_partial(c, path);
}

void calibration_forget_partial(const struct calibration *c)
{
    char path[PATH_MAX];
    if (partial_path(c, path) && is_partial(c, path)) {
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

static void take_sensitivities(const tada_plan *from, tada_plan *plan)
{
    int n = 0;
    for (int i = 0; i < 2 * plan->n_layers; i++) {
        plan->planes[i].sensitivity = from->planes[i].sensitivity;
        n += from->planes[i].sensitivity > 0;
    }
    cli_note("going on with %d planes that were measured before.", n);
}

/* The plan that --from names. */
static int take_from(struct calibration *c)
{
    tada_plan *from;
    tada_error error;
    int status = 0;
    if (c->model->engine->plan_read(c->options->from_path, &from, &error) != TADA_OK) {
        cli_fail("%s", error.text);
        return EXIT_USAGE;
    }
    if (from->fingerprint != c->plan->fingerprint || from->n_layers != c->plan->n_layers) {
        cli_fail("%s is a plan of another model: leave --from away.", c->options->from_path);
        status = EXIT_USAGE;
    } else {
        take_sensitivities(from, c->plan);
    }
    tada_plan_free(from);
    return status;
}

static void resume_partial(struct calibration *c)
{
    char path[PATH_MAX], wanted[sizeof c->plan->method];
    tada_plan *saved;
    write_signature(c, wanted, sizeof wanted);
    if (!partial_path(c, path) || c->model->engine->plan_read(path, &saved, NULL) != TADA_OK) {
        return;
    }
    if (saved->fingerprint == c->plan->fingerprint && saved->n_layers == c->plan->n_layers &&
        strcmp(saved->method, wanted) == 0) {
        take_sensitivities(saved, c->plan);
    }
    tada_plan_free(saved);
}

static void save_partial(const struct calibration *c)
{
    char path[PATH_MAX], method[sizeof c->plan->method];
    new_file_rules rules = c->options->rules;
    if (!partial_path(c, path)) {
        return;
    }
    rules.replaces = rules.replaces || is_partial(c, path);
    memcpy(method, c->plan->method, sizeof method);
    write_signature(c, c->plan->method, sizeof c->plan->method);
    plan_save(c->model->engine, c->plan, path, &rules); /* it says why it could not */
    memcpy(c->plan->method, method, sizeof method);
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
        plans[i] = plan_copy(c->plan);
        if (!plans[i]) {
            status = cli_fail("Memory is too short for the plan: close other programs.");
        } else {
            plans[i]->planes[planes[i]].recipe =
                recipe_of_quarters(planes[i], planes[i] % 2 ? V_PROBE : K_PROBE);
        }
        trials[i] = (struct trial){.spec = "plan", .plan = plans[i]};
    }
    if (status == 0) {
        status = calibration_try(c, trials, n);
    }
    for (int i = 0; i < n; i++) {
        if (status == 0) {
            c->plan->planes[planes[i]].sensitivity = (float)fmax(trials[i].kld.value, 1e-9);
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
        resume_partial(c);
    }
    for (int i = 0; i < 2 * c->plan->n_layers; i++) {
        n_left += is_unmeasured(&c->plan->planes[i]);
    }
    c->work.total -= calibration_tokens(c, calibration_planes(c)) - calibration_tokens(c, n_left);
    c->work.detail = "sensitivity of the layers";
    for (int i = 0; i <= 2 * c->plan->n_layers && status == 0; i++) {
        bool last = i == 2 * c->plan->n_layers;
        if (!last && is_unmeasured(&c->plan->planes[i])) {
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

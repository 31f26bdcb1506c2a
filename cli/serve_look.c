/* The plan that belongs to a model, and what the cache of a server will take. */
#include "engine.h"
#include "model_file.h"
#include "plans.h"
#include "serve.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct memory {
    double bytes, f16; /* 0: unknown */
    bool at_most;
    int layers, n_layers; /* the last ones are compressed */
};

/* ---- the plan ---- */

static void take_plan(struct serve *serve, const char *folder, const struct model_file *model,
                      struct found_plan *found)
{
    struct engine engine;
    if (access(folder, R_OK) != 0 ||
        engine_open_plugin(&engine, serve->launch.tool.path, serve->launch.plugin.path) != 0) {
        return; /* it said why; the server will, too */
    }
    plans_find(&engine, folder, model->fingerprint, serve->budget, found);
    if (found->n_fitting > 0 && !found->plan) {
        fprintf(stderr,
                "tada: none of the plans of this model (%d) keeps within the budget: the cache is %s.\n",
                found->n_fitting, serve->launch.cache);
    } else if (found->plan && serve->server.draft) {
        fprintf(
            stderr,
            "tada: %s is left aside: its layers are not those of the draft model, which would be refused.\n",
            found->path);
        tada_plan_free(found->plan);
        found->plan = NULL;
    } else if (found->plan) {
        snprintf(serve->cache, sizeof serve->cache, "tada:@%s", found->path);
        serve->launch.cache = serve->cache;
        tada_spec_parse(serve->cache, &serve->launch.spec, NULL);
    }
}

/* A plan that was asked for: what is wrong with it, the server would only say much later. Returns an exit
 * status. */
static int read_plan(struct serve *serve, const struct model_file *model, struct found_plan *found)
{
    struct engine engine;
    tada_error error = {""};
    const char *path = tada_spec_plan_path(serve->launch.cache);
    if (engine_open_plugin(&engine, serve->launch.tool.path, serve->launch.plugin.path) != 0) {
        return 0; /* it said why; the server will, too */
    }
    if (engine.plan_read(path, &found->plan, &error) != TADA_OK) {
        return cli_usage("serve", "%s", error.text);
    }
    if (model->fingerprint && found->plan->fingerprint && model->fingerprint != found->plan->fingerprint) {
        return cli_usage(
            "serve", "The plan %s is for another model, %s: make one for this model with 'tada calibrate'.",
            path, found->plan->model);
    }
    plan_measured(found->plan, &found->memory, &found->kld);
    snprintf(found->path, sizeof found->path, "%s", path);
    return 0;
}

/* ---- memory ---- */

static void add_plane(const struct serve *serve, const struct server_cache *cache, const tada_plan *plan,
                      int plane, int width, bool ours, struct memory *memory)
{
    tada_shape shape = {.kind = plane % 2 ? TADA_V : TADA_K,
                        .width = width,
                        .n_cells = cache->cells,
                        .n_streams = cache->unified ? 1 : cache->slots};
    double f16 = 2.0 * width * (double)shape.n_cells * (double)shape.n_streams;
    tada_spec spec = serve->launch.spec;
    if (plan && plane < 2 * plan->n_layers) {
        shape.head_dim = plan->planes[plane].head_dim;
        spec = tada_plan_spec(plan, plane / 2, shape.kind);
    }
    size_t bytes = ours ? tada_plane_bytes(&spec, &shape) : 0;
    memory->f16 += f16;
    memory->bytes += bytes ? (double)bytes : f16;
}

static bool is_f16(const char *type)
{
    return !type || strcmp(type, "f16") == 0;
}

static void measure(const struct serve *serve, const struct model_file *model,
                    const struct server_cache *cache, const tada_plan *plan, struct memory *memory)
{
    int n = server_options_layers(&serve->server, model->n_layers), first = model->n_layers - n;
    *memory = (struct memory){
        .at_most = cache->at_most || model->windowed, .layers = n, .n_layers = model->n_layers};
    /* What a type of llama.cpp takes is in its name. */
    if (serve->launch.spec.stock || !is_f16(serve->server.type_k) || !is_f16(serve->server.type_v)) {
        return;
    }
    for (int i = 0; i < 2 * model->n_layers && cache->cells > 0; i++) {
        if (model->widths[i] > 0) {
            add_plane(serve, cache, plan, i, model->widths[i], i / 2 >= first, memory);
        }
    }
}

/* ---- the summary ---- */

static int add(struct serve *serve, int used, const char *format, ...) __attribute__((format(printf, 3, 4)));

static int add(struct serve *serve, int used, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    size_t room = sizeof serve->summary - (size_t)used;
    int n = vsnprintf(serve->summary + used, room, format, arguments);
    va_end(arguments);
    return n < 0 || (size_t)n >= room ? (int)sizeof serve->summary - 1 : used + n;
}

static void summarise(struct serve *serve, const struct server_cache *cache, const struct memory *memory,
                      const struct found_plan *found)
{
    int used = 0;
    const char *at_most = cache->at_most ? "at most " : "";
    if (serve->server.models) {
        used = add(serve, used, "a router, which starts a server for each model");
    } else if (cache->cells == 0) {
        used = add(serve, used, "context as the model says, %d slot%s", cache->slots,
                   cache->slots > 1 ? "s" : "");
    } else if (cache->slots == 1) {
        used = add(serve, used, "context %s%lld, 1 slot", at_most, cache->cells);
    } else {
        used = add(serve, used,
                   cache->unified ? "context %s%lld, shared by %d slots (unified cache)"
                                  : "context %s%lld each for %d slots (split cache)",
                   at_most, cache->cells, cache->slots);
    }
    if (memory->f16 > 0) {
        used = add(serve, used, "; cache %s%.1f MiB instead of %.1f MiB in f16, %.0f %% saved",
                   memory->at_most ? "at most " : "", memory->bytes / 1048576, memory->f16 / 1048576,
                   100 * (1 - memory->bytes / memory->f16));
        if (memory->layers < memory->n_layers) {
            used = add(serve, used, " in %d of %d layers", memory->layers, memory->n_layers);
        }
    }
    if (found->plan) {
        used = add(serve, used, "; plan %s", found->path);
        if (isfinite(found->kld)) {
            add(serve, used, " (KL divergence %.5f at %.1f %%)", found->kld, 100 * found->memory);
        }
    } else {
        add(serve, used, "; no plan, %s", serve->launch.cache);
    }
}

int serve_look(struct serve *serve, bool asked)
{
    struct model_file model = {0};
    struct found_plan found = {.kld = INFINITY};
    struct server_cache cache;
    struct memory memory;
    char folder[PATH_MAX];
    int status = 0;
    const struct launch *launch = &serve->launch;
    const struct server_options *server = &serve->server;
    const char *path = *launch->model.path ? launch->model.path : server->model;
    bool is_known =
        path && !server->models && !server->remote && model_file_read(launch->tool.path, path, &model);
    if (is_known && launch->spec.plan) {
        status = read_plan(serve, &model, &found);
    } else if (is_known && !asked && !launch->spec.stock && (serve->plans || plans_folder(folder))) {
        take_plan(serve, serve->plans ? serve->plans : folder, &model, &found);
    }
    server_options_cache(server, model.n_ctx_train, &cache);
    measure(serve, &model, &cache, found.plan, &memory);
    summarise(serve, &cache, &memory, &found);
    tada_plan_free(found.plan);
    model_file_free(&model);
    return status;
}

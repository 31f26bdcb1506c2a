/* The plan that belongs to a model, and what the cache of a server will take. */
#include "engine.h"
#include "model_file.h"
#include "plans.h"
#include "serve.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
                      int plane, int width, bool ours, struct serve_memory *memory)
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

static void measure(const struct serve *serve, const struct model_file *model,
                    const struct server_cache *cache, const tada_plan *plan, struct serve_memory *memory)
{
    int n = server_options_layers(&serve->server, model->n_layers), first = model->n_layers - n;
    *memory = (struct serve_memory){
        .at_most = cache->at_most || model->windowed, .layers = n, .n_layers = model->n_layers};
    /* What a type of llama.cpp takes is in its name. */
    if (serve->launch.spec.stock || !server_option_is_f16(serve->server.type_k) ||
        !server_option_is_f16(serve->server.type_v)) {
        return;
    }
    for (int i = 0; i < 2 * model->n_layers && cache->cells > 0; i++) {
        if (model->widths[i] > 0) {
            add_plane(serve, cache, plan, i, model->widths[i], i / 2 >= first, memory);
        }
    }
}

int serve_look(struct serve *serve, bool asked)
{
    struct model_file model = {0};
    struct found_plan found = {.kld = INFINITY};
    struct server_cache cache;
    struct serve_memory memory;
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
    serve_summarise(serve, &cache, &memory, &found);
    tada_plan_free(found.plan);
    model_file_free(&model);
    return status;
}

/* The plan that belongs to a model, and what the cache of a server will take. */
#include "engine/engine.h"
#include "engine/model_file.h"
#include "engine/plans.h"
#include "engine/probe.h"
#include "output/note.h"
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
        cli_note("none of the plans of this model (%d) keeps within the budget: the cache is %s.",
                 found->n_fitting, serve->launch.cache);
    } else if (found->plan) {
        snprintf(serve->cache, sizeof serve->cache, "tada:@%s", found->path);
        serve->launch.cache = serve->cache;
        tada_spec_parse(serve->cache, &serve->launch.spec, NULL);
    }
}

/* A plan that was asked for: with another model's, the server would only warn. Returns an exit status. */
static int read_plan(struct serve *serve, const struct model_file *model, struct found_plan *found)
{
    const char *path = tada_spec_plan_path(serve->launch.cache);
    int status = plan_read_for(serve->launch.tool.path, serve->launch.plugin.path, path, model, &found->plan);
    if (status == 0 && found->plan) {
        plan_measured(found->plan, &found->memory, &found->kld);
        snprintf(found->path, sizeof found->path, "%s", path);
    }
    return status;
}

/* ---- memory ---- */

static void add_plane(const struct serve *serve, const struct server_cache *cache, const tada_plan *plan,
                      int plane, int width, struct serve_memory *memory)
{
    tada_shape shape = {.kind = plane % 2 ? TADA_V : TADA_K,
                        .width = width,
                        .n_cells = cache->cells,
                        .n_streams = cache->unified ? 1 : cache->slots};
    double f16 = 2.0 * width * (double)shape.n_cells * (double)shape.n_streams;
    tada_spec spec = serve->launch.spec;
    if (plan && plane < 2 * plan->n_layers && plan->planes[plane].width == width) {
        shape.head_dim = plan->planes[plane].head_dim;
        spec = tada_plan_spec(plan, plane / 2, shape.kind);
    }
    size_t bytes = tada_plane_bytes(&spec, &shape);
    memory->f16 += f16;
    memory->bytes += bytes ? (double)bytes : f16;
}

static void add_model(const struct serve *serve, const struct server_cache *cache, const tada_plan *plan,
                      const struct model_file *model, struct serve_memory *memory)
{
    /* A draft model. */
    bool is_other =
        plan && plan->fingerprint && model->fingerprint && plan->fingerprint != model->fingerprint;
    memory->at_most = memory->at_most || model->windowed;
    for (int i = 0; i < 2 * model->n_layers; i++) {
        if (model->widths[i] > 0) {
            add_plane(serve, cache, is_other ? NULL : plan, i, model->widths[i], memory);
        }
    }
}

/* What a type of llama.cpp takes is in its name, and what lies on a GPU only llama.cpp knows. */
static bool is_compressed(const struct serve *serve)
{
    const struct server_options *server = &serve->server;
    return !serve->launch.spec.stock && !*serve->gpus && !server_option_is_off(server->flash) &&
           server_option_is_f16(server->type_k) && server_option_is_f16(server->type_v) &&
           server_option_is_f16(server->draft_k) && server_option_is_f16(server->draft_v);
}

static void measure(const struct serve *serve, const struct model_file *model,
                    const struct server_cache *cache, const tada_plan *plan, struct serve_memory *memory)
{
    struct model_file draft = {0};
    *memory = (struct serve_memory){.at_most = cache->at_most};
    if (model->n_layers == 0 || cache->cells == 0 || !is_compressed(serve)) {
        return;
    }
    add_model(serve, cache, plan, model, memory);
    const char *path = serve->server.draft;
    if (path && model_file_read(serve->launch.tool.path, path, &draft) && draft.n_layers == 0) {
        *memory = (struct serve_memory){.bytes = 0}; /* half of it would mislead */
    } else {
        add_model(serve, cache, plan, &draft, memory);
    }
    model_file_free(&draft);
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
    if (!launch->spec.stock && !server_option_is_off(server->offload)) {
        probe_gpus(launch->tool.path, serve->gpus, sizeof serve->gpus);
    }
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

/* The plan that belongs to a model, and what the cache of a server will take. */
#include "engine/model_file.h"
#include "engine/plans.h"
#include "launch/look.h"
#include "output/note.h"
#include "output/plan_page.h"
#include "serve.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the plan ---- */

static void take_plan(struct serve *serve, const char *folder, const struct model_file *model,
                      struct found_plan *found)
{
    plans_find(folder, model->fingerprint, serve->budget, found);
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
    int status = plan_read_for(path, model, &found->plan);
    if (status == 0) {
        plan_measured(found->plan, &found->memory, &found->kld);
        snprintf(found->path, sizeof found->path, "%s", path);
    }
    return status;
}

/* ---- memory ---- */

/* Bytes of the model's cache and of a draft model's. False: of one of them it cannot be told, and half would
 * mislead. */
static bool add_up(const struct launch *launch, const struct server_options *server,
                   const struct server_cache *cache, const struct outlook *model, double *bytes, double *f16)
{
    struct outlook draft = {.f16 = 0};
    if (server->draft && !launch_look(launch, server, cache, server->draft, &draft)) {
        return false;
    }
    *bytes = model->bytes + draft.bytes;
    *f16 = model->f16 + draft.f16;
    return true;
}

/* What a type of llama.cpp takes is in its name. */
static void measure(const struct serve *serve, const struct server_cache *cache, const struct outlook *model,
                    struct serve_memory *memory)
{
    const struct server_options *server = &serve->server;
    bool is_known = !server_option_is_off(server->flash) && server_option_is_f16(server->type_k) &&
                    server_option_is_f16(server->type_v) && server_option_is_f16(server->draft_k) &&
                    server_option_is_f16(server->draft_v);
    *memory = (struct serve_memory){.at_most = cache->at_most};
    if (is_known) {
        (void)add_up(&serve->launch, server, cache, model, &memory->bytes, &memory->f16);
    }
}

/* Nobody asked for the plan that was found, so it is told where it takes more than what there would be
 * without it. */
static void compare(const struct serve *serve, const struct server_cache *cache, const char *path,
                    struct serve_memory *memory)
{
    static const double more = 1.02;
    struct launch usual = serve->launch;
    struct outlook model;
    double bytes, f16;
    usual.cache = "tada";
    bool is_known = memory->f16 > 0 && launch_look(&usual, &serve->server, cache, path, &model) &&
                    add_up(&usual, &serve->server, cache, &model, &bytes, &f16);
    memory->usual = is_known && memory->bytes > more * bytes ? bytes : 0;
}

/* ---- going back ---- */

/* llama-server goes on from a slot where all layers still have what comes before (server-context.cpp:
 * pos_min and pos_min_thold): with a window that needs a token more than a restored session has, and a
 * recurrent state is that of its last token. States in between are kept in memory, not in sessions. */
static void tell_restores(const struct server_options *server, const struct outlook *model)
{
    bool has_window = model->n_swa > 0 && (!server->swa_full || server_option_is_off(server->swa_full));
    if (server->sessions && has_window) {
        cli_note("a restored session is computed again from its start: layers of this model keep only a "
                 "window of %d tokens; --swa-full keeps all, in more memory.",
                 model->n_swa);
    } else if (server->sessions && model->is_recurrent) {
        cli_note("a restored session serves only requests that go on from its very end: recurrent layers of "
                 "this model cannot go back; others are computed from their start.");
    } else if (server_options_checkpoints(server) <= 0 && (has_window || model->is_recurrent)) {
        cli_note("a request that goes back in its slot is computed from its start: %s; leave out "
                 "--ctx-checkpoints.",
                 has_window ? "layers of this model keep only a window"
                            : "recurrent layers of this model cannot go back");
    }
}

/* Only such layers need them. */
static bool has_checkpoints(const struct server_options *server, const struct outlook *model)
{
    bool has_window = model->n_swa > 0 && (!server->swa_full || server_option_is_off(server->swa_full));
    return (has_window || model->is_recurrent) && server_options_checkpoints(server) > 0;
}

/* ---- all of it ---- */

int serve_look(struct serve *serve, bool asked)
{
    struct model_file model = {0};
    struct found_plan found = {.kld = INFINITY};
    struct server_cache cache;
    struct serve_memory memory = {.bytes = 0};
    struct outlook outlook;
    char folder[PATH_MAX];
    int status = 0;
    const struct launch *launch = &serve->launch;
    const struct server_options *server = &serve->server;
    const char *path = launch_model(launch, server);
    bool is_known = path && model_file_read(launch->tool.path, path, &model);
    if (is_known && launch->spec.plan) {
        status = read_plan(serve, &model, &found);
    } else if (is_known && !asked && !launch->spec.stock && (serve->plans || plans_folder(folder))) {
        take_plan(serve, serve->plans ? serve->plans : folder, &model, &found);
    }
    server_options_cache(server, model.n_ctx_train, &cache);
    is_known =
        status == 0 && is_known && !launch->spec.stock && launch_look(launch, server, &cache, path, &outlook);
    if (is_known) {
        measure(serve, &cache, &outlook, &memory);
        if (found.plan && !asked) {
            compare(serve, &cache, path, &memory);
        }
        memory.goes_back = has_checkpoints(server, &outlook);
        tell_restores(server, &outlook);
    }
    if (status == 0) {
        launch_tell(launch, server, is_known ? &outlook : NULL);
    }
    serve_summarise(serve, &cache, &memory, &found);
    tada_plan_free(found.plan);
    model_file_free(&model);
    return status;
}

/* The policy in force, and all those before it: they are found again when the same spec is asked for. */
#include "policy.h"

#include "base/log.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Atomic(const cache_policy *) in_force;
static _Atomic(cache_policy *) policies; /* all that there were, the last one first */

const cache_policy *policy_now(void)
{
    return atomic_load(&in_force);
}

static enum tada_status fail_spec(tada_error *error, enum tada_status status, const char *text)
{
    if (error) {
        snprintf(error->text, sizeof error->text, "%s", text);
    }
    return status;
}

/* A policy of that text, with a plan that is read when it names one. */
static enum tada_status policy_make(const char *text, cache_policy **made, tada_error *error)
{
    tada_plan *plan = NULL;
    tada_spec spec;
    enum tada_status status = tada_spec_parse(text, &spec, error);
    if (status == TADA_OK && spec.plan) {
        status = tada_plan_load(tada_spec_plan_path(text), &plan, error);
    }
    if (status != TADA_OK) {
        return status;
    }
    cache_policy *p = calloc(1, sizeof *p);
    char *copy = strdup(text);
    if (!p || !copy) {
        free(p);
        free(copy);
        tada_plan_free(plan);
        return fail_spec(error, TADA_E_MEMORY, "Out of memory for a cache spec: free some and try again.");
    }
    *p = (cache_policy){.spec = spec, .plan = plan, .text = copy};
    *made = p;
    return TADA_OK;
}

static void put_in_force(cache_policy *p)
{
    p->before = atomic_load(&policies);
    while (!atomic_compare_exchange_weak(&policies, &p->before, p)) {
    }
    atomic_store(&in_force, p);
}

/* One of that text that there was before; NULL: none. A plan's file may have changed since. */
static const cache_policy *policy_find(const char *text)
{
    const cache_policy *p = atomic_load(&policies);
    while (p && (p->plan || p->problem[0] || strcmp(p->text, text) != 0)) {
        p = p->before;
    }
    return p;
}

bool policy_init(void)
{
    const char *text = getenv("TADA_CACHE");
    tada_error error;
    cache_policy *p = NULL;
    /* An empty variable counts as none. */
    if (policy_make(text && *text ? text : "tada", &p, &error) != TADA_OK) {
        log_line(GGML_LOG_LEVEL_ERROR, "%s", error.text);
        if (policy_make("tada", &p, NULL) != TADA_OK) {
            return false;
        }
        snprintf(p->problem, sizeof p->problem, "%s", error.text);
    }
    put_in_force(p);
    return true;
}

bool policy_set_cache(const char *text, tada_error *error)
{
    const cache_policy *same = policy_find(text);
    cache_policy *p;
    if (same) {
        atomic_store(&in_force, same);
        return true;
    }
    bool done = policy_make(text, &p, error) == TADA_OK;
    if (done) {
        put_in_force(p);
    }
    return done;
}

bool policy_set_plan(const void *bytes, size_t size, tada_error *error)
{
    cache_policy *p;
    tada_plan *plan;
    if (tada_plan_load_memory(bytes, size, &plan, error) != TADA_OK) {
        return false;
    }
    bool done = policy_make("tada", &p, error) == TADA_OK;
    if (done) {
        p->plan = plan;
        put_in_force(p);
    } else {
        tada_plan_free(plan);
    }
    return done;
}

/* Any bytes have a fingerprint, not only weights. */
uint64_t policy_key(void)
{
    const cache_policy *p = policy_now();
    const char *version = tada_version();
    void *bytes = NULL;
    size_t size = 0;
    if (p->plan && tada_plan_save_memory(p->plan, &bytes, &size, NULL) != TADA_OK) {
        return 0;
    }
    uint64_t key =
        bytes ? tada_model_fingerprint(bytes, size) : tada_model_fingerprint(p->text, strlen(p->text));
    free(bytes);
    return key * 31 + tada_model_fingerprint(version, strlen(version));
}

tada_spec policy_spec(const cache_policy *p, int layer, tada_shape *shape, bool *fits)
{
    *fits = true;
    shape->head_dim = 0;
    if (!p->plan) {
        return p->spec;
    }
    const tada_plan_plane *plane = tada_plan_get_plane(p->plan, layer, shape->kind);
    if (!plane || plane->width != shape->width) {
        *fits = false;
        return p->spec;
    }
    shape->head_dim = plane->head_dim;
    return tada_plan_spec(p->plan, layer, shape->kind);
}

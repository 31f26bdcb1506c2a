/*
 * The policy: which kind of cache new contexts get. One policy is in force at a time. A cache buffer keeps
 * the one that was in force when it was sized. Policies are never freed, as planes point into their plans.
 * All functions but policy_init may be called from any thread.
 */
#ifndef PLUGIN_POLICY_POLICY_H
#define PLUGIN_POLICY_POLICY_H

#include "tada.h"

typedef struct cache_policy {
    tada_spec spec;              /* `stock`: the host makes its own cache, as if the plug-in were not there */
    const tada_plan *plan;       /* owned; NULL: all planes follow the spec */
    char problem[256];           /* why the cache that was asked for cannot be used, or "" */
    char *text;                  /* the spec as it was given, owned */
    struct cache_policy *before; /* the policy that was made before this one */
} cache_policy;

/* Puts the policy that TADA_CACHE names in force. Must be called once, before all else. False: memory is
 * short. */
bool policy_init(void);
/* The policy in force; never NULL after policy_init. */
const cache_policy *policy_now(void);
/* Puts another policy in force, for programs (tada_plugin.h). bytes: of a plan file. */
bool policy_set_cache(const char *spec, tada_error *error);
bool policy_set_plan(const void *bytes, size_t size, tada_error *error);

/* Tells the policy in force from others that keep rows otherwise, also in another process. 0: memory is
 * short. */
uint64_t policy_key(void);

/* The spec of a plane. Sets shape->head_dim to what the plan says; 0: unknown. *fits is false when the plan
 * has no plane of this layer, kind and width; the result is then the spec "tada". */
tada_spec policy_spec(const cache_policy *policy, int layer, tada_shape *shape, bool *fits);

#endif

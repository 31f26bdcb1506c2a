/*
 * The policy: which cache contexts get. One is in force at a time; a cache buffer keeps the one that was in
 * force when it was sized. Policies live until the process ends, since planes point into their plans.
 */
#ifndef PLUGIN_POLICY_POLICY_H
#define PLUGIN_POLICY_POLICY_H

#include "tada.h"

typedef struct cache_policy {
    tada_spec spec;        /* with `stock`, the host does as if we were not there */
    const tada_plan *plan; /* NULL: all planes follow the spec */
    char problem[256];     /* why the cache that was asked for cannot be used, or "" */
    char *text;            /* the spec as it was given */
    struct cache_policy *before;
} cache_policy;

/* Reads TADA_CACHE. False: memory is short. Once, before all else. */
bool policy_init(void);
const cache_policy *policy_now(void);
/* For programs: the policy from now on. See tada_plugin.h. */
bool policy_set_cache(const char *spec, tada_error *error);
bool policy_set_plan(const tada_plan *plan);

/* The spec that a plane follows; sets the head size when the plan knows it. *fits: false, the plan has no
 * such plane, and the spec is that of "tada". */
tada_spec policy_spec(const cache_policy *policy, int layer, tada_shape *shape, bool *fits);

#endif

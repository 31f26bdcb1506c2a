/*
 * States of sequences in the caches' own form (doc/design/prompts.md). The host saves and restores a state as
 * it always does, but where it reads or writes rows of a plane, only the cells are noted, and the plane's
 * codes are saved or restored in their place.
 */
#ifndef PLUGIN_CACHE_STATES_H
#define PLUGIN_CACHE_STATES_H

#include "cache.h"
#include "tada_plugin.h"

/* For the buffers: the host gets, or sets, bytes [offset, offset + size) of the tensor that a plane stands
 * for. True: that was noted, and nothing else is to be done. */
bool states_note(cache_plane *cache, size_t offset, const void *memory, size_t size);

/* The same of tensors without a plane. False: what it would get is not there, and the state is not restored.
 */
bool states_has(const void *memory, size_t size);

/* What tada_plugin.h says of them. */
size_t states_bytes(tada_host_get get, void *host, size_t plain, size_t label_bytes);
size_t states_save(tada_host_get get, void *host, size_t plain, const void *label, size_t label_bytes,
                   void *to, size_t size);
bool states_restore(tada_host_set set, void *host, const void *from, size_t size);

#endif

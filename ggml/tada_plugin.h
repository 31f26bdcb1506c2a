/*
 * What programs ask of the plug-in, beside llama.cpp's own calls: the command and the Python package measure
 * and choose caches with it. All functions are found by name with ggml_backend_reg_get_proc_address of the
 * registry "TADA". The first is tada_plugin_version: where its result is not TADA_PLUGIN_VERSION, nothing
 * else may be called.
 *
 * The version rises whenever a line of TADA_PLUGIN_FUNCTIONS or a type below changes.
 */
#ifndef TADA_PLUGIN_H
#define TADA_PLUGIN_H

#include "tada.h"

#define TADA_PLUGIN_VERSION 5

/* int tada_plugin_version(void) */
#define TADA_PLUGIN_VERSION_NAME "tada_plugin_version"

/* What the plug-in saw of the attention of one layer. */
typedef struct tada_layer_statistics {
    int k_width, v_width, head_dim;
    double *q_squares; /* [k_width]: squares of all queries that read the channel; the plug-in's, until
                          statistics_watch is called */
    /* What attention was given last, but for the planes and `out`: of the last 64 queries every other one.
     * Queries and masks are the plug-in's, and change with the next batch. n_queries 0: it cannot be told. */
    tada_attention attention;
} tada_layer_statistics;

/* What a model's caches would take, once measured. */
typedef struct tada_measured {
    tada_plane_parts parts;                 /* of the planes that attention reads */
    size_t compressed_f16;                  /* what those of them that are compressed stand for, in f16 */
    size_t unread_as_planes, unread_as_f16; /* tensors that it does not read: they stay as they are */
    size_t scratch;                         /* at most */
} tada_measured;

/* What saves the state of a sequence to memory, or restores it from there, as llama.cpp does
 * (llama_state_seq_get_data_ext, _set_data_ext): returns the bytes written, or read. */
typedef size_t (*tada_host_get)(void *host, uint8_t *to, size_t size);
typedef size_t (*tada_host_set)(void *host, const uint8_t *from, size_t size);

/*
 * X(result, name, arguments): "tada_plugin_" before the name is what to ask for. Functions may be called from
 * any thread unless they say otherwise.
 */
#define TADA_PLUGIN_FUNCTIONS(X)                                                                             \
    /* The cache of contexts that are made from now on: a spec, also one of llama.cpp (f16, q8_0, ...), with \
     * which they are as if the plug-in were not there. False, and why in *error, which may be NULL: it      \
     * cannot be used; nothing has changed. */                                                               \
    X(bool, set_cache, (const char *spec, tada_error *error))                                                \
    /* The same with a plan, as the bytes of its file: the program's libtada may not be the plug-in's. */    \
    X(bool, set_plan, (const void *bytes, size_t size, tada_error *error))                                   \
    /* Bytes of all compressed caches that are open: reserved, what they can become; used, pages of it that  \
     * are in memory now; f16, what llama.cpp would have reserved. The pointers may be NULL. */              \
    X(void, cache_bytes, (size_t * reserved, size_t * used, size_t * f16))                                   \
    /* What they hold beside these: borrowed tiles, workspaces. */                                           \
    X(size_t, scratch_bytes, (void))                                                                         \
    /* Of the model that computed last with a cache of ours; 0: unknown (tada_model_fingerprint). */         \
    X(uint64_t, model_fingerprint, (void))                                                                   \
    /* From now on attention is watched, or no longer; forgets what was seen. While nothing computes. */     \
    X(void, statistics_watch, (bool on))                                                                     \
    /* False: nothing was seen of the layer. While nothing computes. */                                      \
    X(bool, statistics_get, (int layer, tada_layer_statistics *statistics))                                  \
    /* Rows of the plane that the attention of the layer read last, as tada_plane_read gives them; false: it \
     * is gone. While nothing computes. */                                                                   \
    X(bool, statistics_rows, (int layer, enum tada_kind kind, int64_t first, int64_t n, uint16_t *rows))     \
    /* Sizes before anything is allocated, of contexts of a model that was loaded with no_alloc: attention   \
     * counts that llama.cpp asks about after measure_begin, with so many threads, and planes of which it    \
     * asks the size after measure_planes. One program thread at a time. */                                  \
    X(void, measure_begin, (int n_threads))                                                                  \
    X(void, measure_planes, (void))                                                                          \
    X(void, measure_end, (tada_measured * measured))                                                         \
    /* States of sequences with the codes of their caches in place of rows. Of one that takes `plain` bytes  \
     * from the host: the bytes that it takes so, 0 if it cannot be had or would be no smaller; and the same \
     * when it has been written to `to`, for whose reader see common/state_file.h. The label is the          \
     * caller's, and stands in front; 0 bytes: none. */                                                      \
    X(size_t, state_bytes, (tada_host_get get, void *host, size_t plain, size_t label_bytes))                \
    X(size_t, state_save,                                                                                    \
      (tada_host_get get, void *host, size_t plain, const void *label, size_t label_bytes, void *to,         \
       size_t size))                                                                                         \
    /* False: it is damaged, of another cache, or memory is short; the sequence must then be removed. */     \
    X(bool, state_restore, (tada_host_set set, void *host, const void *from, size_t size))                   \
    /* Tells specs in force, with their plans, apart, and versions of the library. */                        \
    X(uint64_t, cache_key, (void))                                                                           \
    /* For the metrics: a prompt was restored from a disk, this many of its tokens are used. */              \
    X(void, count_prompt, (uint64_t tokens, uint64_t bytes))

#endif

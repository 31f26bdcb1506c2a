/*
 * The engine: llama.cpp's library and the plug-in, found beside llama.cpp's tools and loaded when a command
 * needs them, so that other commands work without. Models, and contexts that differ in nothing but their
 * cache.
 *
 * One thread at a time uses an engine.
 */
#ifndef TADA_CLI_ENGINE_ENGINE_H
#define TADA_CLI_ENGINE_ENGINE_H

#include "ggml-backend.h"
#include "llama.h"
#include "tada.h"
#include "tada_plugin.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

/* The functions of libllama that are used: engine->llama_decode(...) is llama_decode(...). */
#define ENGINE_FUNCTIONS(X)                                                                                  \
    X(llama_backend_init)                                                                                    \
    X(llama_log_set)                                                                                         \
    X(llama_model_default_params)                                                                            \
    X(llama_model_load_from_file)                                                                            \
    X(llama_model_free)                                                                                      \
    X(llama_model_get_vocab)                                                                                 \
    X(llama_model_n_ctx_train)                                                                               \
    X(llama_model_n_params)                                                                                  \
    X(llama_model_n_layer)                                                                                   \
    X(llama_model_size)                                                                                      \
    X(llama_model_has_encoder)                                                                               \
    X(llama_model_is_recurrent)                                                                              \
    X(llama_model_is_hybrid)                                                                                 \
    X(llama_model_n_swa)                                                                                     \
    X(llama_model_chat_template)                                                                             \
    X(llama_chat_apply_template)                                                                             \
    X(llama_context_default_params)                                                                          \
    X(llama_init_from_model)                                                                                 \
    X(llama_n_ctx)                                                                                           \
    X(llama_free)                                                                                            \
    X(llama_get_memory)                                                                                      \
    X(llama_memory_clear)                                                                                    \
    X(llama_memory_seq_rm)                                                                                   \
    X(llama_batch_init)                                                                                      \
    X(llama_batch_free)                                                                                      \
    X(llama_decode)                                                                                          \
    X(llama_synchronize)                                                                                     \
    X(llama_get_logits_ith)                                                                                  \
    X(llama_vocab_type)                                                                                      \
    X(llama_vocab_n_tokens)                                                                                  \
    X(llama_vocab_bos)                                                                                       \
    X(llama_vocab_eos)                                                                                       \
    X(llama_vocab_get_add_bos)                                                                               \
    X(llama_vocab_is_eog)                                                                                    \
    X(llama_tokenize)                                                                                        \
    X(llama_token_to_piece)

/* ... and all functions of the plug-in: engine->set_cache(...) is tada_plugin_set_cache(...). */
struct engine {
#define X(name) __typeof__(name) *name;
    ENGINE_FUNCTIONS(X)
#undef X
#define X(type, name, arguments) type(*name) arguments;
    TADA_PLUGIN_FUNCTIONS(X)
#undef X
    char tool[PATH_MAX]; /* a file of llama.cpp, beside which its libraries are */
    void *library;       /* libllama, from dlopen */
    /* What llama.cpp has logged since these were cleared: */
    char complaint[512]; /* its first error, one line */
    double kv_mib;       /* K and V in its own types, sum of "size", MiB */
    double rs_mib;       /* recurrent states, sum of "RS buffer size", MiB */
    double output_mib;   /* sum of "output buffer size", MiB */
};

struct model {
    struct engine *engine;
    struct llama_model *llama;
    const struct llama_vocab *vocab;
    int n_vocab;
    char name[256]; /* file name without its folder */
};

/* How a context is made. */
struct cache_options {
    const char *spec;      /* "tada:4", "q8_0/q4_0"; tada_spec_parse has accepted it */
    const tada_plan *plan; /* not NULL: the cache follows this plan, and the spec is only its name */
    int n_ctx;             /* cells; llama.cpp may round it up */
    int n_batch;           /* tokens of one cache_decode, at most */
    int n_ubatch;          /* tokens that are computed at once, at most */
    int n_threads;
};

/* A context whose cache is of one kind. */
struct cache {
    const struct model *model;
    struct llama_context *context;
    struct llama_batch batch;
    int n_batch;
    bool stock; /* a cache of llama.cpp's own types */
    char spec[256];
    size_t rows_bytes; /* K and V in llama.cpp's own types, as it reports them (to 0.01 MiB) */
    /* Compressed planes, and the f16 tensors that they stand for. Final when attention has read them once. */
    size_t planes_bytes, planes_f16;
    size_t scratch_bytes; /* scratch of the plug-in for this cache; grows with use */
};

/* All of these print what is wrong and return an exit status, 0 when all is well. */

/* Loads the library and the plug-in. Called once in a process, as neither can be unloaded. */
int engine_open(struct engine *engine);
/* Loads the plug-in into ggml, a library from dlopen, and finds its functions. Prints nothing. False: `why`
 * says why it cannot be used. */
bool engine_load_plugin(struct engine *engine, void *ggml, const char *plugin, char *why, size_t size);
/* For ggml_log_set and llama_log_set: drops what llama.cpp logs. */
void engine_log_nothing(enum ggml_log_level level, const char *text, void *user);
/* Loads a model. EXIT_USAGE: the file cannot be loaded. model_close frees it. */
int model_open(struct engine *engine, const char *path, struct model *model);
/* The same without weights: llama.cpp then only simulates its allocations, and contexts of the model only
 * tell sizes. n_gpu_layers: -1: all of them. */
int model_open_sizes(struct engine *engine, const char *path, int n_gpu_layers, struct model *model);
void model_close(struct model *model);
/* The type of llama.cpp that a stock spec names. */
enum ggml_type cache_stock_type(const char *name);
/* Makes caches of contexts from now on follow a spec, also a stock one, or, unless it is NULL, a plan, which
 * must outlive them. Sets *parsed. EXIT_USAGE: the spec cannot be used. */
int cache_choose(struct engine *engine, const char *spec, const tada_plan *plan, tada_spec *parsed);
/* How many recent cells such a cache keeps exact, in the plane with the largest window. 0: none, or the spec
 * cannot be read. */
int cache_window(const char *spec, const tada_plan *plan);
/* Whether a model can have such a cache at all. Prints nothing. False: `why` says why not. */
bool cache_is_possible(const struct model *model, const char *spec, char *why, size_t size);
/* Makes a context with a cache. EXIT_USAGE: this model cannot have such a cache. */
int cache_open(const struct model *model, const struct cache_options *options, struct cache *cache);
/* Frees it. A struct of zeros, or one that was closed, is allowed. */
void cache_close(struct cache *cache);

/*
 * Computes n tokens, at most n_batch, at positions `first` and following of sequence 0. cache_logits(cache,
 * i) then gives the logits of the last n_logits of them, i from 0 to n_logits - 1, until the next call.
 */
int cache_decode(struct cache *cache, const llama_token *tokens, int n, int first, int n_logits);
const float *cache_logits(const struct cache *cache, int i);
/* Whether the first n of these rows are numbers: of the cache that others are compared with, as all of them
 * are at no distance from what is none. EXIT_USAGE: they are not. */
int cache_check_logits(const struct cache *cache, int n);
/* Forgets all tokens: the cache is as new. */
void cache_clear(struct cache *cache);
/* Forgets positions `first` and following. EXIT_USAGE: the model cannot, as recurrent ones. */
int cache_rewind(struct cache *cache, int first);
/* Bytes of rows, planes and scratch, once the cache has computed. */
size_t cache_bytes(const struct cache *cache);

/* Tokenizes a text of `length` bytes. The caller frees *tokens. special: a text such as "<|im_start|>" is one
 * token.
 */
int model_tokenize(const struct model *model, const char *text, size_t length, bool add_bos, bool special,
                   llama_token **tokens, int *n);
/* Appends the text of a token to `text`, a string in `size` bytes. What does not fit is cut. */
void model_append_piece(const struct model *model, llama_token token, char *text, size_t size);

#endif

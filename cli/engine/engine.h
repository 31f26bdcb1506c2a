/*
 * The engine: llama.cpp's library, found beside its tools and loaded when a command needs it, so that the
 * others work without. Models, and contexts that differ in nothing but their cache.
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

/* What is used of it. engine->llama_decode(...) is llama_decode(...). */
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

/* ... and of the plug-in: all that it has. engine->set_cache(...) is tada_plugin_set_cache. */
struct engine {
#define X(name) __typeof__(name) *name;
    ENGINE_FUNCTIONS(X)
#undef X
#define X(type, name, arguments) type(*name) arguments;
    TADA_PLUGIN_FUNCTIONS(X)
#undef X
    char tool[PATH_MAX]; /* a file of llama.cpp, beside which its libraries are */
    void *library;       /* libllama */
    /* What llama.cpp logged since this was last cleared: */
    char complaint[512]; /* its first error, one line */
    double kv_mib;       /* of K and V in its own types, sum of "size" */
    double rs_mib;       /* of recurrent states, sum of "RS buffer size" */
    double output_mib;   /* sum of "output buffer size" */
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
    const char *spec;      /* "tada:4", "q8_0/q4_0"; checked already with tada_spec_parse */
    const tada_plan *plan; /* NULL: what the spec says; else this, and the spec is what to call it */
    int n_ctx;             /* cells; llama.cpp may round it up */
    int n_batch;           /* most tokens of one cache_decode */
    int n_ubatch;          /* tokens that are computed at once */
    int n_threads;
};

/* A context whose cache is of one kind. */
struct cache {
    const struct model *model;
    struct llama_context *context;
    struct llama_batch batch;
    int n_batch;
    bool stock;
    char spec[256];
    size_t rows_bytes; /* of K and V in the types of llama.cpp, as it reports them (to 0.01 MiB) */
    /* Of compressed planes, and of what they stand for: known for good when attention has first read them. */
    size_t planes_bytes, planes_f16;
    size_t scratch_bytes; /* of the plug-in for this cache; grows with use */
};

/* All of these print what is wrong and return an exit status, 0 when all is well. */

/* Loads the library and the plug-in. Once in a process: neither can be unloaded. */
int engine_open(struct engine *engine);
/* Loads the plug-in into ggml, whose library is open, and finds what is used of it. False: `why` says why
 * not, and nothing is printed. */
bool engine_load_plugin(struct engine *engine, void *ggml, const char *plugin, char *why, size_t size);
/* Loads only the plug-in, with ggml from beside a tool: what is used of it works, and nothing of llama.cpp.
 */
int engine_open_plugin(struct engine *engine, const char *tool, const char *plugin);
/* For ggml_log_set and llama_log_set: drops what llama.cpp logs. */
void engine_log_nothing(enum ggml_log_level level, const char *text, void *user);
/* A file that cannot be loaded: EXIT_USAGE. */
int model_open(struct engine *engine, const char *path, struct model *model);
/* The same without weights: llama.cpp then only simulates its allocations, and a context of such a model is
 * good for sizes alone. */
int model_open_sizes(struct engine *engine, const char *path, struct model *model);
void model_close(struct model *model);
/* The type of llama.cpp that a stock spec names. */
enum ggml_type cache_stock_type(const char *name);
/* Has the caches that are made from now on follow a spec, also a stock one, or `plan` when it is not NULL.
 * EXIT_USAGE: one that cannot be used. */
int cache_choose(struct engine *engine, const char *spec, const tada_plan *plan, tada_spec *parsed);
/* The most recent cells that such a cache keeps exact in any plane. 0: none, or a spec that cannot be read.
 */
int cache_window(const struct engine *engine, const char *spec, const tada_plan *plan);
/* False: this model cannot have such a cache, however small; `why` says why, and nothing is printed. */
bool cache_is_possible(const struct model *model, const char *spec, char *why, size_t size);
/* A cache that this model cannot have: EXIT_USAGE. */
int cache_open(const struct model *model, const struct cache_options *options, struct cache *cache);
void cache_close(struct cache *cache); /* of zeros, or closed already: fine */

/*
 * Computes n <= n_batch tokens at positions first... of sequence 0. Logits of the last `n_logits` of them can
 * then be had from cache_logits(cache, 0...n_logits - 1), valid until the next call.
 */
int cache_decode(struct cache *cache, const llama_token *tokens, int n, int first, int n_logits);
const float *cache_logits(const struct cache *cache, int i);
/* Forgets everything: the cache is then like a new one. */
void cache_clear(struct cache *cache);
/* Forgets positions first... A model that cannot (recurrent ones): EXIT_USAGE. */
int cache_rewind(struct cache *cache, int first);
/* Rows, planes and scratch, once it has computed. */
size_t cache_bytes(const struct cache *cache);

/* Tokens of a text of `length` bytes: *tokens is the caller's to free. special: "<|im_start|>" is one token.
 */
int model_tokenize(const struct model *model, const char *text, size_t length, bool add_bos, bool special,
                   llama_token **tokens, int *n);
/* Appends the text of a token to `text` of `size` bytes, always terminated; what does not fit is cut. */
void model_append_piece(const struct model *model, llama_token token, char *text, size_t size);

#endif

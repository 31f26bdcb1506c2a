/* Reading keys and one norm of a GGUF file with ggml's functions, which are loaded for that. */
#include "model_file.h"

#include "engine.h"
#include "find/host.h"
#include "ggml.h"
#include "gguf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* What is used of ggml. */
#define GGUF_FUNCTIONS(X)                                                                                    \
    X(gguf_init_from_file)                                                                                   \
    X(gguf_free)                                                                                             \
    X(gguf_find_key)                                                                                         \
    X(gguf_get_kv_type)                                                                                      \
    X(gguf_get_val_str)                                                                                      \
    X(gguf_get_val_u32)                                                                                      \
    X(gguf_find_tensor)                                                                                      \
    X(gguf_get_data_offset)                                                                                  \
    X(gguf_get_tensor_offset)                                                                                \
    X(ggml_get_tensor)                                                                                       \
    X(ggml_nbytes)                                                                                           \
    X(ggml_log_get)                                                                                          \
    X(ggml_log_set)                                                                                          \
    X(ggml_free)

struct gguf_functions {
#define X(name) __typeof__(name) *name;
    GGUF_FUNCTIONS(X)
#undef X
};

struct gguf_file {
    struct gguf_functions ggml;
    struct gguf_context *keys;
    struct ggml_context *tensors;
    const char *architecture; /* the file's */
};

enum { MOST_NORM_BYTES = 4 << 20 };

static bool find_functions(const char *tool, struct gguf_functions *ggml)
{
    char why[1024];
    void *base = host_open_library(tool, "libggml-base", why, sizeof why);
#define X(name)                                                                                              \
    if (!base || !host_find_symbol(base, #name, &ggml->name)) {                                              \
        return false;                                                                                        \
    }
    GGUF_FUNCTIONS(X)
#undef X
    return true;
}

/* The whole number of a key of the architecture; 0: it has none. */
static uint32_t number_of(const struct gguf_file *file, const char *key)
{
    char name[256];
    snprintf(name, sizeof name, "%s.%s", file->architecture, key);
    int64_t id = file->ggml.gguf_find_key(file->keys, name);
    return id >= 0 && file->ggml.gguf_get_kv_type(file->keys, id) == GGUF_TYPE_UINT32
               ? file->ggml.gguf_get_val_u32(file->keys, id)
               : 0;
}

static bool has_key(const struct gguf_file *file, const char *key)
{
    char name[256];
    snprintf(name, sizeof name, "%s.%s", file->architecture, key);
    return file->ggml.gguf_find_key(file->keys, name) >= 0;
}

static struct ggml_tensor *tensor_of(const struct gguf_file *file, int layer, const char *rest)
{
    char name[GGML_MAX_NAME];
    snprintf(name, sizeof name, "blk.%d.%s", layer, rest);
    return file->ggml.ggml_get_tensor(file->tensors, name);
}

/* 0: it is not there, or not in f32, as in the plug-in. */
static uint64_t fingerprint_of(const struct gguf_file *file, const char *path)
{
    const struct gguf_functions *ggml = &file->ggml;
    const struct ggml_tensor *norm = tensor_of(file, 0, "attn_norm.weight");
    size_t size = norm ? ggml->ggml_nbytes(norm) : 0;
    if (!norm || norm->type != GGML_TYPE_F32 || size > MOST_NORM_BYTES) {
        return 0;
    }
    int64_t id = ggml->gguf_find_tensor(file->keys, norm->name);
    size_t at = ggml->gguf_get_data_offset(file->keys) + ggml->gguf_get_tensor_offset(file->keys, id);
    FILE *bytes = fopen(path, "rb");
    void *data = malloc(size);
    bool read = bytes && data && fseeko(bytes, (off_t)at, SEEK_SET) == 0 && fread(data, size, 1, bytes) == 1;
    uint64_t fingerprint = read ? tada_model_fingerprint(data, size) : 0;
    if (bytes) {
        fclose(bytes);
    }
    free(data);
    return fingerprint;
}

/* From the matrices that make K and V: a layer without them has no cache. Where they are made in another way
 * (all in one, from a latent vector), the widths stay unknown. */
static void read_widths(const struct gguf_file *file, struct model_file *model)
{
    uint32_t n = number_of(file, "block_count");
    if (n < 1 || n > TADA_PLAN_LAYERS || has_key(file, "attention.kv_lora_rank")) {
        return;
    }
    model->widths = calloc((size_t)n * 2, sizeof *model->widths);
    bool known = model->widths != NULL, any = false;
    for (int layer = 0; layer < (int)n && known; layer++) {
        const struct ggml_tensor *k = tensor_of(file, layer, "attn_k.weight"),
                                 *v = tensor_of(file, layer, "attn_v.weight");
        known = !tensor_of(file, layer, "attn_qkv.weight") && !k == !v;
        if (k && v) {
            model->widths[2 * layer] = (int)k->ne[1];
            model->widths[2 * layer + 1] = (int)v->ne[1];
            any = true;
        }
    }
    model->n_layers = known && any ? (int)n : 0;
}

bool model_file_read(const char *tool, const char *path, struct model_file *model)
{
    struct gguf_file file = {.keys = NULL};
    struct stat status;
    *model = (struct model_file){0};
    if (stat(path, &status) != 0 || !S_ISREG(status.st_mode) || !find_functions(tool, &file.ggml)) {
        return false;
    }
    ggml_log_callback log;
    void *user;
    file.ggml.ggml_log_get(&log, &user);
    file.ggml.ggml_log_set(engine_log_nothing, NULL);
    file.keys = file.ggml.gguf_init_from_file(
        path, (struct gguf_init_params){.no_alloc = true, .ctx = &file.tensors});
    file.ggml.ggml_log_set(log, user);
    if (!file.keys) {
        return false;
    }
    int64_t id = file.ggml.gguf_find_key(file.keys, "general.architecture");
    if (id >= 0 && file.ggml.gguf_get_kv_type(file.keys, id) == GGUF_TYPE_STRING) {
        file.architecture = file.ggml.gguf_get_val_str(file.keys, id);
        model->fingerprint = fingerprint_of(&file, path);
        uint32_t n_ctx = number_of(&file, "context_length");
        model->n_ctx_train = n_ctx <= INT32_MAX ? (int)n_ctx : 0;
        model->windowed = has_key(&file, "attention.sliding_window");
        read_widths(&file, model);
    }
    bool is_model = file.architecture != NULL;
    file.ggml.ggml_free(file.tensors);
    file.ggml.gguf_free(file.keys);
    return is_model;
}

void model_file_free(struct model_file *model)
{
    free(model->widths);
    *model = (struct model_file){0};
}

/*
 * Tells models apart whose rows would differ, also where they are quantisations or finetunes of the same one:
 * by what their files say of themselves, and by parts of every tensor.
 */
#include "prompts.h"

#include "gguf.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PART = 4096 }; /* bytes of the beginning, the middle and the end of a tensor */

typedef struct noted_model {
    const struct llama_model *model;
    char **paths;
    size_t n;
    uint64_t overrides, key;
    bool known, by_size;
    struct noted_model *next;
} noted_model;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static noted_model *models; /* the last one first, as addresses are used again */

static uint64_t key_of_overrides(const struct llama_model_kv_override *o)
{
    uint64_t key = KEY_START;
    for (; o && o->key[0]; o++) {
        int32_t tag = (int32_t)o->tag;
        key = key_add(key, o->key, strnlen(o->key, sizeof o->key));
        key = key_add(key, &tag, sizeof tag);
        key = o->tag == LLAMA_KV_OVERRIDE_TYPE_STR
                  ? key_add(key, o->val_str, strnlen(o->val_str, sizeof o->val_str))
              : o->tag == LLAMA_KV_OVERRIDE_TYPE_BOOL ? key_add(key, &o->val_bool, sizeof o->val_bool)
                                                      : key_add(key, &o->val_i64, sizeof o->val_i64);
    }
    return key;
}

void model_key_note(const struct llama_model *model, const char *const *paths, size_t n,
                    const struct llama_model_kv_override *overrides)
{
    noted_model *m = calloc(1, sizeof *m);
    if (m) {
        *m = (noted_model){.model = model, .paths = calloc(n, sizeof *m->paths)};
        m->overrides = key_of_overrides(overrides);
        for (size_t i = 0; m->paths && i < n; i++) {
            m->paths[i] = strdup(paths[i]);
            m->n += m->paths[i] != NULL;
        }
        m->n = m->n == n ? n : 0;
        pthread_mutex_lock(&lock);
        m->next = models;
        models = m;
        pthread_mutex_unlock(&lock);
    }
}

/* ---- files ---- */

static bool add_bytes(int file, uint64_t at, uint64_t n, uint64_t *key)
{
    uint8_t bytes[1 << 16];
    while (n > 0) {
        ssize_t got = pread(file, bytes, n < sizeof bytes ? (size_t)n : sizeof bytes, (off_t)at);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return false;
        }
        *key = key_add(*key, bytes, (size_t)got);
        at += (uint64_t)got;
        n -= (uint64_t)got;
    }
    return true;
}

static bool add_tensor(int file, uint64_t at, uint64_t size, uint64_t *key)
{
    if (size <= 3 * PART) {
        return add_bytes(file, at, size, key);
    }
    return add_bytes(file, at, PART, key) && add_bytes(file, at + size / 2, PART, key) &&
           add_bytes(file, at + size - PART, PART, key);
}

static bool add_file(const char *path, uint64_t *key, bool *by_size)
{
    const struct gguf_init_params params = {.no_alloc = true};
    __typeof__(gguf_init_from_file) *open_gguf;
    __typeof__(gguf_free) *close_gguf;
    __typeof__(gguf_get_data_offset) *data_offset;
    __typeof__(gguf_get_n_tensors) *count;
    __typeof__(gguf_get_tensor_offset) *offset;
    __typeof__(gguf_get_tensor_size) *size;
    __typeof__(gguf_get_tensor_name) *name;
    preload_find(RTLD_DEFAULT, "gguf_init_from_file", &open_gguf);
    preload_find(RTLD_DEFAULT, "gguf_free", &close_gguf);
    preload_find(RTLD_DEFAULT, "gguf_get_data_offset", &data_offset);
    preload_find(RTLD_DEFAULT, "gguf_get_n_tensors", &count);
    preload_find(RTLD_DEFAULT, "gguf_get_tensor_offset", &offset);
    preload_find(RTLD_DEFAULT, "gguf_get_tensor_size", &size);
    preload_find(RTLD_DEFAULT, "gguf_get_tensor_name", &name);
    if (!open_gguf || !close_gguf || !data_offset || !count || !offset || !size || !name) {
        return false;
    }
    int file = open(path, O_RDONLY | O_CLOEXEC);
    struct gguf_context *gguf = file >= 0 ? open_gguf(path, params) : NULL;
    bool done = gguf && add_bytes(file, 0, data_offset(gguf), key);
    for (int64_t i = 0; done && i < count(gguf); i++) {
        done = add_tensor(file, data_offset(gguf) + offset(gguf, i), size(gguf, i), key);
        *by_size = *by_size || strstr(name(gguf, i), "rope_factors_long");
    }
    if (gguf) {
        close_gguf(gguf);
    }
    if (file >= 0) {
        close(file);
    }
    return done;
}

/* Where a path ends with -00001-of-00003.gguf, llama.cpp loads the others, too. */
static bool add_files(const char *path, uint64_t *key, bool *by_size)
{
    size_t length = strlen(path);
    int parts = 0, used = 0;
    const char *end = length > 20 ? path + length - 20 : "";
    if (sscanf(end, "-00001-of-%5d.gguf%n", &parts, &used) != 1 || used != 20) {
        return add_file(path, key, by_size);
    }
    bool done = true;
    for (int i = 1; i <= parts && done; i++) {
        char part[PATH_MAX];
        int n = snprintf(part, sizeof part, "%.*s-%05d-of-%05d.gguf", (int)(length - 20), path, i, parts);
        done = n > 0 && (size_t)n < sizeof part && add_file(part, key, by_size);
    }
    return done;
}

uint64_t model_key(const struct llama_model *model, bool *by_size)
{
    pthread_mutex_lock(&lock);
    noted_model *m = models;
    while (m && m->model != model) {
        m = m->next;
    }
    if (m && !m->known) {
        uint64_t key = m->overrides;
        bool done = m->n > 0;
        for (size_t i = 0; i < m->n && done; i++) {
            done = m->n == 1 ? add_files(m->paths[i], &key, &m->by_size)
                             : add_file(m->paths[i], &key, &m->by_size);
        }
        m->key = done ? key : 0;
        m->known = true;
    }
    uint64_t key = m ? m->key : 0;
    *by_size = m && m->by_size;
    pthread_mutex_unlock(&lock);
    return key;
}

/* The functions of ggml's buffer interface for cache buffers. Each finds the plane and hands on to cache.c or
 * transfer.c. */
#include "buffer.h"

#include "base/cpu.h"
#include "base/log.h"
#include "states.h"

#include <string.h>

/* Whether all of the bytes are of the plane, or (NULL) none of them are of any. Only a client of an RPC
 * server can ask for anything else. */
static bool is_within(const cache_plane *c, const struct ggml_tensor *tensor, size_t offset, size_t size)
{
    size_t start = c ? cache_plane_offset(c, tensor) : 0;
    bool within =
        c ? start <= c->bytes_f16 && offset <= c->bytes_f16 - start && size <= c->bytes_f16 - start - offset
          : !cache_plane_at(cache_buffer_of(tensor), (const char *)tensor->data + offset, size);
    if (!within) {
        log_line(GGML_LOG_LEVEL_ERROR,
                 "rows of %s that are asked for lie beyond it: they are neither read nor written",
                 tensor->name);
    }
    return within;
}

static void buffer_set(ggml_backend_buffer_t buffer, struct ggml_tensor *tensor, const void *data,
                       size_t offset, size_t size)
{
    cache_plane *c = cache_plane_of(tensor);
    if (!is_within(c, tensor, offset, size) ||
        (c ? states_note(c, cache_plane_offset(c, tensor) + offset, data, size) : !states_has(data, size))) {
        return;
    }
    if (!c) {
        cache_set_plain(buffer->context, (char *)tensor->data + offset, data, size);
    } else if (!cache_set(c, cache_plane_offset(c, tensor) + offset, data, size)) {
        log_line(GGML_LOG_LEVEL_ERROR, "out of memory while rows were written to %s: they are not stored",
                 tensor->name);
    }
}

static void buffer_get(ggml_backend_buffer_t buffer, const struct ggml_tensor *tensor, void *data,
                       size_t offset, size_t size)
{
    (void)buffer;
    cache_plane *c = cache_plane_of(tensor);
    if (!is_within(c, tensor, offset, size)) {
        memset(data, 0, size);
    } else if (!c) {
        memcpy(data, (const char *)tensor->data + offset, size);
    } else if (!states_note(c, cache_plane_offset(c, tensor) + offset, data, size)) {
        cache_get(c, cache_plane_offset(c, tensor) + offset, data, size);
    }
}

static void buffer_memset(ggml_backend_buffer_t buffer, struct ggml_tensor *tensor, uint8_t value,
                          size_t offset, size_t size)
{
    char chunk[4096];
    const cache_plane *c = cache_plane_of(tensor);
    memset(chunk, value, sizeof chunk);
    if (!is_within(c, tensor, offset, size)) {
        return;
    }
    if (!c) {
        memset((char *)tensor->data + offset, value, size);
        return;
    }
    while (size > 0) {
        size_t part = size < sizeof chunk ? size : sizeof chunk;
        buffer_set(buffer, tensor, chunk, offset, part);
        offset += part;
        size -= part;
    }
}

/* Whole streams of one plane are copied as they are; all else goes through get and set. */
static bool buffer_copy(ggml_backend_buffer_t buffer, const struct ggml_tensor *from, struct ggml_tensor *to)
{
    (void)buffer;
    cache_plane *c = cache_plane_of(from);
    if (!c || c != cache_plane_of(to)) {
        return false;
    }
    size_t stream = (size_t)c->n_cells * cache_row_bytes(c);
    size_t offset = cache_plane_offset(c, from), offset_to = cache_plane_offset(c, to);
    if (ggml_nbytes(from) != stream || offset % stream != 0 || offset_to % stream != 0) {
        return false;
    }
    if (!cache_copy_stream(c, (int64_t)(offset / stream), (int64_t)(offset_to / stream))) {
        log_line(GGML_LOG_LEVEL_ERROR, "out of memory while a sequence was copied in %s: the copy is empty",
                 from->name);
    }
    return true;
}

static void buffer_clear(ggml_backend_buffer_t buffer, uint8_t value)
{
    cache_buffer_clear(buffer->context, value);
}

static void buffer_free(ggml_backend_buffer_t buffer)
{
    cache_buffer_free(buffer->context);
}

static void *buffer_base(ggml_backend_buffer_t buffer)
{
    return ((cache_buffer *)buffer->context)->base;
}

/* When the last tensor has come, the size that the host tells people is that of the planes. */
static enum ggml_status buffer_init_tensor(ggml_backend_buffer_t buffer, struct ggml_tensor *tensor)
{
    cache_buffer *b = buffer->context;
    enum tada_kind kind;
    int layer;
    if (tensor->view_src || b->n_come == b->n_tensors) {
        return GGML_STATUS_SUCCESS;
    }
    size_t bytes = cache_shape_bytes(b->policy, tensor), plain = ggml_nbytes(tensor);
    b->is_mixed = b->is_mixed || (tensor->type != GGML_TYPE_F16 && cache_name(tensor->name, &kind, &layer));
    b->becomes += bytes ? bytes : plain;
    b->stays += plain;
    cache_buffer_expect(b, bytes, bytes ? plain : 0);
    if (++b->n_come == b->n_tensors) {
        buffer->size = b->is_mixed ? b->stays : b->becomes;
        if (b->is_mixed) {
            cache_buffer_expect_none(b);
        }
    }
    return GGML_STATUS_SUCCESS;
}

static const struct ggml_backend_buffer_i functions = {
    .free_buffer = buffer_free,
    .get_base = buffer_base,
    .init_tensor = buffer_init_tensor,
    .memset_tensor = buffer_memset,
    .set_tensor = buffer_set,
    .get_tensor = buffer_get,
    .cpy_tensor = buffer_copy,
    .clear = buffer_clear,
};

ggml_backend_buffer_t buffer_make(size_t size, int n_tensors, const cache_policy *policy)
{
    if (policy->problem[0]) {
        log_line(GGML_LOG_LEVEL_ERROR, "%s", policy->problem);
        return NULL;
    }
    cache_buffer *b = cache_buffer_make(size, n_tensors, policy);
    ggml_backend_buffer_t buffer =
        b ? ggml_backend_buffer_init(&cache_buffer_type, functions, b, size) : NULL;
    if (b && !buffer) {
        cache_buffer_free(b);
    }
    return buffer;
}

/* ---- the type ---- */

static const char *type_name(ggml_backend_buffer_type_t type)
{
    (void)type;
    return "TADA";
}

static ggml_backend_buffer_t type_alloc(ggml_backend_buffer_type_t type, size_t size)
{
    (void)type;
    return buffer_make(size, 0, policy_now());
}

/* That by which the host has padded the sizes that it adds up. */
static size_t type_alignment(ggml_backend_buffer_type_t type)
{
    return cpu_buffer_functions()->get_alignment(type);
}

/* The host copies raw bytes of host memory. */
static bool type_is_host(ggml_backend_buffer_type_t type)
{
    (void)type;
    return false;
}

void buffer_type_init(ggml_backend_dev_t device)
{
    cache_buffer_type = (struct ggml_backend_buffer_type){
        .iface = {type_name, type_alloc, type_alignment, NULL, NULL, type_is_host},
        .device = device,
    };
}

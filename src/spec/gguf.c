#include "gguf.h"

#include <stdlib.h>
#include <string.h>

enum { VERSION = 3, ALIGNMENT = 32, MOST_DIMENSIONS = 4, MOST_ALIGNMENT = 1 << 16, TENSOR_F32 = 0 };

static const char magic[4] = {'G', 'G', 'U', 'F'};

/* ---- reading ---- */

/* What is left of a file. */
typedef struct cursor {
    const uint8_t *at;
    size_t left;
} cursor;

/* NULL: the file ends before. */
static const void *take(cursor *c, size_t size)
{
    if (size > c->left) {
        return NULL;
    }
    const uint8_t *bytes = c->at;
    c->at += size;
    c->left -= size;
    return bytes;
}

static bool take_into(cursor *c, void *value, size_t size)
{
    const void *bytes = take(c, size);
    if (bytes) {
        memcpy(value, bytes, size);
    }
    return bytes != NULL;
}

static bool take_text(cursor *c, tada_gguf_text *text)
{
    uint64_t size;
    if (!take_into(c, &size, sizeof size) || size > c->left) {
        return false;
    }
    *text = (tada_gguf_text){take(c, (size_t)size), (size_t)size};
    return true;
}

/* Bytes of a number; 0: no type of numbers. */
static size_t number_size(uint32_t type)
{
    static const uint8_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    return type < sizeof sizes ? sizes[type] : 0;
}

static bool take_elements(cursor *c, uint32_t type, uint64_t n)
{
    size_t size = number_size(type);
    tada_gguf_text text;
    if (type != GGUF_STRING) {
        return size > 0 && n <= c->left / size && take(c, (size_t)n * size);
    }
    for (uint64_t i = 0; i < n; i++) { /* the file ends long before a large n does */
        if (!take_text(c, &text)) {
            return false;
        }
    }
    return true;
}

static bool take_value(cursor *c, tada_gguf_value *value)
{
    uint32_t type;
    uint64_t n = 1;
    if (!take_text(c, &value->key) || !take_into(c, &type, sizeof type)) {
        return false;
    }
    value->is_array = type == GGUF_ARRAY;
    if (value->is_array && (!take_into(c, &type, sizeof type) || !take_into(c, &n, sizeof n))) {
        return false;
    }
    value->bytes = c->at;
    if (!take_elements(c, type, n)) {
        return false;
    }
    value->type = (enum gguf_type)type;
    value->n = (size_t)n;
    return true;
}

/* What a file says of a tensor. */
typedef struct description {
    tada_gguf_text name;
    bool is_plain; /* one dimension, f32 */
    uint64_t n, offset;
} description;

static bool take_description(cursor *c, description *d)
{
    uint32_t n_dimensions, type;
    uint64_t sizes[MOST_DIMENSIONS];
    if (!take_text(c, &d->name) || !take_into(c, &n_dimensions, sizeof n_dimensions) || n_dimensions < 1 ||
        n_dimensions > MOST_DIMENSIONS || !take_into(c, sizes, n_dimensions * sizeof *sizes) ||
        !take_into(c, &type, sizeof type) || !take_into(c, &d->offset, sizeof d->offset)) {
        return false;
    }
    d->is_plain = n_dimensions == 1 && type == TENSOR_F32;
    d->n = sizes[0];
    return true;
}

static bool is_same(tada_gguf_text a, tada_gguf_text b)
{
    return a.size == b.size && memcmp(a.bytes, b.bytes, a.size) == 0;
}

static size_t padding(size_t size, size_t alignment)
{
    return (alignment - size % alignment) % alignment;
}

/* 0: it is not one. */
static size_t alignment_of(const tada_gguf_file *file)
{
    uint32_t alignment = ALIGNMENT;
    const tada_gguf_value *value = tada_gguf_find(file, "general.alignment", GGUF_U32, false);
    if (value) {
        tada_gguf_number(value, 0, &alignment);
    }
    return alignment <= MOST_ALIGNMENT && (alignment & (alignment - 1)) == 0 ? alignment : 0;
}

static bool take_values(cursor *c, tada_gguf_file *file, size_t n)
{
    for (; file->n_values < n; file->n_values++) {
        tada_gguf_value *value = &file->values[file->n_values];
        if (!take_value(c, value)) {
            return false;
        }
        for (const tada_gguf_value *other = file->values; other < value; other++) {
            if (is_same(other->key, value->key)) {
                return false;
            }
        }
    }
    return true;
}

/* Places a tensor in the data, all of it: with what fills it up to the alignment. */
static bool place(tada_gguf_file *file, const description *d, cursor data, size_t alignment)
{
    if (d->offset % alignment != 0 || d->offset > data.left || d->n > data.left / sizeof(float)) {
        return false;
    }
    size_t offset = (size_t)d->offset, size = (size_t)d->n * sizeof(float);
    size_t whole = size + padding(size, alignment);
    if (whole > data.left - offset) {
        return false;
    }
    file->tensors[file->n_tensors++] = (tada_gguf_tensor){d->name, (size_t)d->n, data.at + offset};
    return true;
}

static bool take_tensors(cursor *c, size_t size, tada_gguf_file *file, description *all, size_t n)
{
    size_t alignment = alignment_of(file);
    for (size_t i = 0; i < n; i++) {
        if (!take_description(c, &all[i])) {
            return false;
        }
        for (size_t j = 0; j < i; j++) {
            if (is_same(all[j].name, all[i].name)) {
                return false;
            }
        }
    }
    if (alignment == 0 || !take(c, padding(size - c->left, alignment))) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (all[i].is_plain && !place(file, &all[i], *c, alignment)) {
            return false;
        }
    }
    return true;
}

enum tada_status tada_gguf_open(const void *bytes, size_t size, tada_gguf_file *file)
{
    struct {
        char magic[sizeof magic];
        uint32_t version;
        uint64_t n_tensors, n_values;
    } header;
    cursor c = {bytes, size};
    *file = (tada_gguf_file){0};
    if (!take_into(&c, &header, sizeof header) || memcmp(header.magic, magic, sizeof magic) != 0 ||
        header.version != VERSION || header.n_tensors > GGUF_MOST_TENSORS ||
        header.n_values > GGUF_MOST_KEYS) {
        return TADA_E_FILE;
    }
    size_t n_tensors = (size_t)header.n_tensors, n_values = (size_t)header.n_values;
    description *all = calloc(n_tensors + 1, sizeof *all); /* none is no failure */
    file->values = calloc(n_values + 1, sizeof *file->values);
    file->tensors = calloc(n_tensors + 1, sizeof *file->tensors);
    enum tada_status status = all && file->values && file->tensors ? TADA_OK : TADA_E_MEMORY;
    if (status == TADA_OK &&
        (!take_values(&c, file, n_values) || !take_tensors(&c, size, file, all, n_tensors))) {
        status = TADA_E_FILE;
    }
    free(all);
    return status;
}

void tada_gguf_close(tada_gguf_file *file)
{
    free(file->values);
    free(file->tensors);
    *file = (tada_gguf_file){0};
}

static bool is_text(tada_gguf_text text, const char *wanted)
{
    return is_same(text, (tada_gguf_text){wanted, strlen(wanted)});
}

const tada_gguf_value *tada_gguf_find(const tada_gguf_file *file, const char *key, enum gguf_type type,
                                      bool is_array)
{
    for (const tada_gguf_value *v = file->values; v < file->values + file->n_values; v++) {
        if (is_text(v->key, key)) {
            return v->type == type && v->is_array == is_array ? v : NULL;
        }
    }
    return NULL;
}

const tada_gguf_tensor *tada_gguf_find_tensor(const tada_gguf_file *file, const char *name)
{
    for (const tada_gguf_tensor *t = file->tensors; t < file->tensors + file->n_tensors; t++) {
        if (is_text(t->name, name)) {
            return t;
        }
    }
    return NULL;
}

void tada_gguf_number(const tada_gguf_value *value, size_t i, void *number)
{
    size_t size = number_size(value->type);
    memcpy(number, (const uint8_t *)value->bytes + i * size, size);
}

tada_gguf_text tada_gguf_string(const void **next)
{
    uint64_t size;
    memcpy(&size, *next, sizeof size);
    tada_gguf_text text = {(const char *)*next + sizeof size, (size_t)size};
    *next = text.bytes + text.size;
    return text;
}

/* ---- writing ---- */

void tada_gguf_put_bytes(tada_gguf_writer *w, const void *bytes, size_t size)
{
    size_t wanted = w->size + size;
    if (wanted > w->room && !w->is_short) {
        size_t room = wanted > 2 * w->room ? wanted : 2 * w->room;
        uint8_t *more = realloc(w->bytes, room);
        w->is_short = !more;
        w->bytes = more ? more : w->bytes;
        w->room = more ? room : w->room;
    }
    if (size > 0 && !w->is_short) {
        memcpy(w->bytes + w->size, bytes, size);
        w->size = wanted;
    }
}

static void put_u32(tada_gguf_writer *w, uint32_t number)
{
    tada_gguf_put_bytes(w, &number, sizeof number);
}

static void put_u64(tada_gguf_writer *w, uint64_t number)
{
    tada_gguf_put_bytes(w, &number, sizeof number);
}

void tada_gguf_put_text(tada_gguf_writer *w, const char *text)
{
    put_u64(w, strlen(text));
    tada_gguf_put_bytes(w, text, strlen(text));
}

void tada_gguf_put_header(tada_gguf_writer *w, size_t n_tensors, size_t n_values)
{
    tada_gguf_put_bytes(w, magic, sizeof magic);
    put_u32(w, VERSION);
    put_u64(w, n_tensors);
    put_u64(w, n_values);
}

void tada_gguf_put_array(tada_gguf_writer *w, const char *key, enum gguf_type type, size_t n)
{
    tada_gguf_put_text(w, key);
    put_u32(w, GGUF_ARRAY);
    put_u32(w, type);
    put_u64(w, n);
}

void tada_gguf_put_number(tada_gguf_writer *w, const char *key, enum gguf_type type, const void *number)
{
    tada_gguf_put_text(w, key);
    put_u32(w, type);
    tada_gguf_put_bytes(w, number, number_size(type));
}

void tada_gguf_put_string(tada_gguf_writer *w, const char *key, const char *text)
{
    tada_gguf_put_text(w, key);
    put_u32(w, GGUF_STRING);
    tada_gguf_put_text(w, text);
}

void tada_gguf_put_tensor(tada_gguf_writer *w, const char *name, size_t n, size_t offset)
{
    tada_gguf_put_text(w, name);
    put_u32(w, 1);
    put_u64(w, n);
    put_u32(w, TENSOR_F32);
    put_u64(w, offset);
}

void tada_gguf_put_padding(tada_gguf_writer *w)
{
    static const uint8_t zeros[ALIGNMENT];
    tada_gguf_put_bytes(w, zeros, padding(w->size, ALIGNMENT));
}

size_t tada_gguf_tensor_bytes(size_t n)
{
    size_t size = n * sizeof(float);
    return size + padding(size, ALIGNMENT);
}

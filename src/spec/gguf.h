/*
 * GGUF files, version 3: as much of the format as plan files need. Reading keeps an index into bytes that the
 * caller holds, and believes nothing in them. Writing collects bytes in memory.
 */
#ifndef TADA_SPEC_GGUF_H
#define TADA_SPEC_GGUF_H

#include "tada.h"

/* The format's numbers of types of values. */
enum gguf_type {
    GGUF_U8 = 0,
    GGUF_I8 = 1,
    GGUF_U16 = 2,
    GGUF_I16 = 3,
    GGUF_U32 = 4,
    GGUF_I32 = 5,
    GGUF_F32 = 6,
    GGUF_BOOL = 7,
    GGUF_STRING = 8,
    GGUF_ARRAY = 9,
    GGUF_U64 = 10,
    GGUF_I64 = 11,
    GGUF_F64 = 12
};

enum { GGUF_MOST_KEYS = 1000, GGUF_MOST_TENSORS = 2 * TADA_PLAN_LAYERS };

/* Bytes of a file; no NUL follows them. */
typedef struct tada_gguf_text {
    const char *bytes;
    size_t size;
} tada_gguf_text;

typedef struct tada_gguf_value {
    tada_gguf_text key;
    enum gguf_type type; /* of an array: of its elements */
    bool is_array;
    size_t n;          /* elements; 1 of a value that is no array */
    const void *bytes; /* of the first element, not aligned */
} tada_gguf_value;

/* A tensor of one dimension in f32; others are not kept. */
typedef struct tada_gguf_tensor {
    tada_gguf_text name;
    size_t n;          /* values */
    const void *bytes; /* not aligned */
} tada_gguf_tensor;

typedef struct tada_gguf_file {
    tada_gguf_value *values;
    tada_gguf_tensor *tensors;
    size_t n_values, n_tensors;
} tada_gguf_file;

/* Makes the index of a file in memory, which must outlive it. TADA_E_FILE: this is no such file, or it is
 * damaged. The caller closes it, also after an error. */
enum tada_status tada_gguf_open(const void *bytes, size_t size, tada_gguf_file *file);
void tada_gguf_close(tada_gguf_file *file);

/* NULL: there is no value of that key and type. */
const tada_gguf_value *tada_gguf_find(const tada_gguf_file *file, const char *key, enum gguf_type type,
                                      bool is_array);
const tada_gguf_tensor *tada_gguf_find_tensor(const tada_gguf_file *file, const char *name);
/* Copies element i of a number to *number, which is of the value's type. */
void tada_gguf_number(const tada_gguf_value *value, size_t i, void *number);
/* The next string of an array (or the only one of a value): *next is its `bytes` before the first. */
tada_gguf_text tada_gguf_string(const void **next);

/* What is written: the bytes so far. Once memory has been short, the rest is dropped. */
typedef struct tada_gguf_writer {
    uint8_t *bytes;
    size_t size, room;
    bool is_short;
} tada_gguf_writer;

void tada_gguf_put_header(tada_gguf_writer *writer, size_t n_tensors, size_t n_values);
/* A number of this type. */
void tada_gguf_put_number(tada_gguf_writer *writer, const char *key, enum gguf_type type, const void *number);
void tada_gguf_put_string(tada_gguf_writer *writer, const char *key, const char *text);
/* The key of an array of n elements; then each of them with tada_gguf_put_text or tada_gguf_put_bytes. */
void tada_gguf_put_array(tada_gguf_writer *writer, const char *key, enum gguf_type type, size_t n);
void tada_gguf_put_text(tada_gguf_writer *writer, const char *text);
/* After all values: a tensor of n values, whose data come `offset` bytes after the beginning of all data. */
void tada_gguf_put_tensor(tada_gguf_writer *writer, const char *name, size_t n, size_t offset);
/* After all tensors: fills up to the data; after the values of each tensor, up to the next. */
void tada_gguf_put_padding(tada_gguf_writer *writer);
void tada_gguf_put_bytes(tada_gguf_writer *writer, const void *bytes, size_t size);
/* Bytes that a tensor of n values takes among the data. */
size_t tada_gguf_tensor_bytes(size_t n);

#endif

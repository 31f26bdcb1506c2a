/* What the fuzz targets share: numbers that the input gives, files in memory, and a way to fail. */
#ifndef TADA_FUZZ_H
#define TADA_FUZZ_H

#include "team.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Read from front to back; zeros beyond its end. */
typedef struct fuzz_input {
    const uint8_t *data;
    size_t size, at;
} fuzz_input;

static inline uint8_t fuzz_byte(fuzz_input *in)
{
    return in->at < in->size ? in->data[in->at++] : 0;
}

static inline bool fuzz_more(const fuzz_input *in)
{
    return in->at < in->size;
}

/* 0 to n - 1, n up to 65536. */
static inline int fuzz_below(fuzz_input *in, int n)
{
    int value = fuzz_byte(in);
    value = n > 256 ? value << 8 | fuzz_byte(in) : value;
    return value % n;
}

/* So many random numbers that the input would not hold them: they follow from a seed (xorshift). */
typedef struct fuzz_random {
    uint64_t state;
} fuzz_random;

static inline uint64_t fuzz_bits(fuzz_random *random)
{
    random->state ^= random->state << 13;
    random->state ^= random->state >> 7;
    random->state ^= random->state << 17;
    return random->state;
}

static inline fuzz_random fuzz_seed(uint32_t seed)
{
    return (fuzz_random){(seed + 1) * 0x9e3779b97f4a7c15u | 1};
}

/* Roughly normal: of mean 0 and variance 1, up to 4.2 either way. */
static inline float fuzz_normal(fuzz_random *random)
{
    uint64_t bits = fuzz_bits(random);
    int sum = 0;
    for (int i = 0; i < 8; i++) {
        sum += (int)(bits >> (8 * i) & 255);
    }
    return ((float)sum - 1020.0f) / 209.0f;
}

/* IEEE binary16, apart from the library's own conversion. */
double fuzz_half(uint16_t half);

/* A cache spec: one of a table and options of another, both chosen by the input. Valid, and no stock type. */
tada_spec fuzz_spec(fuzz_input *in, char *text, size_t size);

/* Chooses a kernel set that this CPU has; the number of sets, from 0 on, the reference first. */
int fuzz_n_kernels(void);
void fuzz_kernels(int n);

/* n threads, 1 to 3. */
const tada_threads *fuzz_threads(int n);

/* A path that holds these bytes, until fuzz_file_done; one at a time. */
typedef struct fuzz_file {
    int fd;
    char path[64];
} fuzz_file;
fuzz_file fuzz_file_make(const void *data, size_t size);
void fuzz_file_done(fuzz_file *file);
/* A path for a file that this process writes, in memory where there is such a folder. */
void fuzz_path(const char *name, char *path, size_t size);

/* Says what is wrong and ends the process, as a crash would. */
_Noreturn void fuzz_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Memory that is never short. */
void *fuzz_memory(size_t bytes);

#endif

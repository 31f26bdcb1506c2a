/*
 * Allocations that fail when a test wants it: those of the libraries that are linked into it, for which the
 * linker turns malloc and its like into the functions here (--wrap). One source of a program includes this.
 */
#ifndef TADA_TEST_FAULTS_H
#define TADA_TEST_FAULTS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

static atomic_long faults_left = -1; /* allocations until the one that fails; below 0: none does */
static atomic_bool faults_onwards;   /* all after that one fail, too */
static atomic_bool faults_armed;     /* count, and fail */
static atomic_bool faults_hit;       /* one has failed since faults_start */
static atomic_long faults_live;      /* allocations that are not freed yet */

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *old, size_t n);
void *__real_aligned_alloc(size_t align, size_t n);
void __real_free(void *memory);

/* The n-th allocation from now on fails, n >= 1, as far as they are armed. */
static inline void faults_start(long n)
{
    faults_left = n;
    faults_hit = false;
}

static inline bool faults_now(void)
{
    long left = faults_armed ? atomic_fetch_sub(&faults_left, 1) : 0;
    if (!faults_armed || (left != 1 && !(left < 1 && faults_onwards))) {
        return false;
    }
    faults_hit = true;
    return true;
}

static inline void *faults_count(void *memory)
{
    faults_live += memory != NULL;
    return memory;
}

void *__wrap_malloc(size_t n);
void *__wrap_malloc(size_t n)
{
    return faults_now() ? NULL : faults_count(__real_malloc(n));
}

void *__wrap_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size)
{
    return faults_now() ? NULL : faults_count(__real_calloc(n, size));
}

void *__wrap_realloc(void *old, size_t n);
void *__wrap_realloc(void *old, size_t n)
{
    if (faults_now()) {
        return NULL;
    }
    void *memory = __real_realloc(old, n);
    faults_live += !old && memory;
    return memory;
}

void *__wrap_aligned_alloc(size_t align, size_t n);
void *__wrap_aligned_alloc(size_t align, size_t n)
{
    return faults_now() ? NULL : faults_count(__real_aligned_alloc(align, n));
}

void __wrap_free(void *memory);
void __wrap_free(void *memory)
{
    faults_live -= memory != NULL;
    __real_free(memory);
}

#endif

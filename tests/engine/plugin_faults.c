/* Part of a plug-in whose allocations fail when test_memory_short wants it. */
#include "../unit/faults.h"

#include "tada.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

TADA_API void tada_faults_start(long n, bool onwards);
TADA_API bool tada_faults_stop(void);
TADA_API long tada_faults_live(void);

static atomic_long mapped; /* bytes of address space that are not given back yet */

void *__real_mmap(void *at, size_t n, int protection, int flags, int file, off_t offset);
int __real_munmap(void *at, size_t n);

/* Address space is refused as memory is. A mapping in place of another one adds nothing. */
void *__wrap_mmap(void *at, size_t n, int protection, int flags, int file, off_t offset);
void *__wrap_mmap(void *at, size_t n, int protection, int flags, int file, off_t offset)
{
    if (faults_now()) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    void *memory = __real_mmap(at, n, protection, flags, file, offset);
    mapped += memory != MAP_FAILED && !(flags & MAP_FIXED) ? (long)n : 0;
    return memory;
}

int __wrap_munmap(void *at, size_t n);
int __wrap_munmap(void *at, size_t n)
{
    mapped -= (long)n;
    return __real_munmap(at, n);
}

char *__wrap_strdup(const char *text);
char *__wrap_strdup(const char *text)
{
    char *copy = __wrap_malloc(strlen(text) + 1);
    return copy ? strcpy(copy, text) : NULL;
}

/* The n-th allocation of the plug-in from now on fails, perhaps with all that come after it. */
void tada_faults_start(long n, bool onwards)
{
    faults_armed = false;
    faults_onwards = onwards;
    faults_start(n);
    faults_armed = true;
}

/* Whether one has. */
bool tada_faults_stop(void)
{
    faults_armed = false;
    return faults_hit;
}

/* What the plug-in has not given back yet: blocks, and mapped bytes. */
long tada_faults_live(void)
{
    return faults_live + mapped;
}

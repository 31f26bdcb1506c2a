/* Address space and pages: mmap, madvise, and what /proc and mincore tell of them. */
#include "pages.h"

#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

size_t pages_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

void *pages_reserve(size_t size)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

void pages_free(void *memory, size_t size)
{
    munmap(memory, size);
}

void pages_enlarge(void *memory, size_t size, bool large)
{
    (void)madvise(memory, size, large ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
}

bool pages_drop(void *memory, size_t size)
{
    return madvise(memory, size, MADV_DONTNEED) == 0;
}

void pages_close(const void *memory, size_t size)
{
    size_t page = pages_size();
    uintptr_t first = ((uintptr_t)memory + page - 1) / page * page,
              end = ((uintptr_t)memory + size) / page * page;
    if (first < end) {
        (void)madvise((void *)first, end - first, MADV_DONTNEED);
        (void)mprotect((void *)first, end - first, PROT_NONE);
    }
}

bool pages_touched(const void *memory, size_t size)
{
    /* mincore does not tell pages that are swapped out from those that nobody has touched. */
    const uint64_t present_or_swapped = (uint64_t)3 << 62;
    size_t page = pages_size();
    uint64_t entries[512];
    uintptr_t at = (uintptr_t)memory / page, end = ((uintptr_t)memory + size + page - 1) / page;
    int file = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    bool touched = file < 0;
    while (at < end && !touched) {
        size_t n = end - at < 512 ? end - at : 512;
        ssize_t got = pread(file, entries, n * sizeof *entries, (off_t)(at * sizeof *entries));
        touched = got != (ssize_t)(n * sizeof *entries);
        for (size_t i = 0; i < n && !touched; i++) {
            touched = entries[i] & present_or_swapped;
        }
        at += n;
    }
    if (file >= 0) {
        close(file);
    }
    return touched;
}

size_t pages_resident(const void *memory, size_t size)
{
    size_t page = pages_size(), bytes = 0;
    unsigned char in_memory[4096];
    uintptr_t first = (uintptr_t)memory / page * page, end = (uintptr_t)memory + size;
    for (uintptr_t at = first; at < end; at += page * sizeof in_memory) {
        size_t n = end - at < page * sizeof in_memory ? end - at : page * sizeof in_memory;
        if (mincore((void *)at, n, in_memory) == 0) {
            for (size_t i = 0; i < (n + page - 1) / page; i++) {
                bytes += in_memory[i] & 1 ? page : 0;
            }
        }
    }
    return bytes;
}

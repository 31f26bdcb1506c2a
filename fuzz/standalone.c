/*
 * Where there is no libFuzzer: runs the files of a corpus, then mutations of them for some seconds.
 *   fuzz_TARGET [-max_total_time=SECONDS] [-seed=N] FILE|FOLDER...
 * What is run last is in ./crash-last when the process ends in a crash.
 */
#include "fuzz.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { MOST_FILES = 4096, MOST_BYTES = 1 << 16 };

typedef struct sample {
    uint8_t *data;
    size_t size;
} sample;

static sample samples[MOST_FILES];
static int n_samples;
static uint8_t current[MOST_BYTES];
static size_t current_size;

static void keep_last(int number)
{
    int fd = open("crash-last", O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd >= 0 && write(fd, current, current_size) >= 0) {
        close(fd);
    }
    signal(number, SIG_DFL);
    raise(number);
}

static void run(const uint8_t *data, size_t size)
{
    current_size = size < MOST_BYTES ? size : MOST_BYTES;
    memmove(current, data, current_size);
    /* A copy of its own, so that reads beyond its end are seen. */
    uint8_t *copy = fuzz_memory(current_size);
    memcpy(copy, current, current_size);
    LLVMFuzzerTestOneInput(copy, current_size);
    free(copy);
}

static void load_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file || n_samples == MOST_FILES) {
        fuzz_fail("%s cannot be read", path);
    }
    sample *s = &samples[n_samples++];
    s->data = fuzz_memory(MOST_BYTES);
    s->size = fread(s->data, 1, MOST_BYTES, file);
    fclose(file);
}

static void load(const char *path)
{
    DIR *folder = opendir(path);
    if (!folder) {
        load_file(path);
        return;
    }
    for (struct dirent *entry; (entry = readdir(folder));) {
        char name[1024];
        if (entry->d_name[0] != '.') {
            snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
            load_file(name);
        }
    }
    closedir(folder);
}

static void mutate(fuzz_random *random)
{
    uint8_t work[MOST_BYTES];
    const sample *s = &samples[fuzz_bits(random) % (uint64_t)n_samples];
    size_t size = s->size;
    memcpy(work, s->data, size);
    for (int i = 1 + (int)(fuzz_bits(random) % 8); i > 0; i--) {
        size_t at = size ? fuzz_bits(random) % size : 0, n = 1 + fuzz_bits(random) % 16;
        n = n < size - at ? n : size - at;
        switch (fuzz_bits(random) % 5) {
        case 0: /* bytes that may be anything */
            for (size_t j = 0; j < n; j++) {
                work[at + j] = (uint8_t)fuzz_bits(random);
            }
            break;
        case 1: /* a bit */
            if (size) {
                work[at] ^= (uint8_t)(1 << fuzz_bits(random) % 8);
            }
            break;
        case 2: /* the end is cut off */
            size = at;
            break;
        case 3: /* bytes are taken out */
            memmove(work + at, work + at + n, size - at - n);
            size -= n;
            break;
        default: /* or put in */
            if (size + n < MOST_BYTES) {
                memmove(work + at + n, work + at, size - at);
                size += n;
            }
        }
    }
    run(work, size);
}

int main(int argc, char **argv)
{
    uint32_t seed = (uint32_t)time(NULL);
    long seconds = 0;
    for (int i = 1; i < argc; i++) {
        if (sscanf(argv[i], "-seed=%u", &seed) != 1 &&
            sscanf(argv[i], "-max_total_time=%ld", &seconds) != 1 && argv[i][0] != '-') {
            load(argv[i]);
        }
    }
    const int signals[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        signal(signals[i], keep_last);
    }
    fprintf(stderr, "seed %u, %d files\n", seed, n_samples);
    for (int i = 0; i < n_samples; i++) {
        run(samples[i].data, samples[i].size);
    }
    fuzz_random random = fuzz_seed(seed);
    time_t end = time(NULL) + seconds;
    long runs = n_samples;
    if (n_samples == 0) {
        load_file("/dev/null");
    }
    while (time(NULL) < end) {
        mutate(&random);
        runs++;
    }
    for (int i = 0; i < n_samples; i++) {
        free(samples[i].data);
    }
    fprintf(stderr, "stat::number_of_executed_units: %ld\n", runs);
    return 0;
}

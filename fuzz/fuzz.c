#include "fuzz.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static double half_value(uint16_t half)
{
    int exponent = half >> 10 & 31, mantissa = half & 1023;
    double size = exponent == 31 ? (mantissa ? (double)NAN : (double)INFINITY)
                  : exponent     ? ldexp(1024 + mantissa, exponent - 25)
                                 : ldexp(mantissa, -24);
    return half & 0x8000 ? -size : size;
}

double fuzz_half(uint16_t half)
{
    static double table[1 << 16];
    static bool made;
    for (int i = 0; i < 1 << 16 && !made; i++) {
        table[i] = half_value((uint16_t)i);
    }
    made = true;
    return table[half];
}

/* A new kind of cache joins with a line here. */
static const char *const specs[] = {
    "tada",    "tada:high", "tada:compact", "tada:paper", "kivi:2",      "kivi:4",
    "tada:2",  "tada:3/2",  "tada:4/4",     "tada:5/6",   "tada:6/5",    "tada:8",
    "tada:16", "tada:16/3", "tada:3.25/3",  "tada:2.5/2", "tada:4.75/4", "tada:7/8",
};

static const char *const options[] = {
    "window=0",          "window=64",      "window=128",        "sinks=0",         "sinks=1",
    "sinks=64",          "k.widths=equal", "k.widths=adaptive", "rotate=none",     "rotate=hadamard",
    "k.rotate=hadamard", "axis=token",     "axis=channel",      "v.axis=channel",  "k.axis=token",
    "centre=tokens",     "centre=heads16", "centre=heads8",     "v.centre=tokens", "scale=32",
    "scale=16",          "search=minmax",  "search=error",      "group=16",        "group=32",
    "v.group=48",        "v.group=128",    "k.group=16",        "k.bits=3",        "v.bits=8",
    "v.scale=8",         "window_bits=8",  "window_bits=16",    "refine=off",      "refine=on",
};

tada_spec fuzz_spec(fuzz_input *in, char *text, size_t size)
{
    tada_spec spec;
    snprintf(text, size, "%s", specs[fuzz_below(in, sizeof specs / sizeof *specs)]);
    if (tada_spec_parse(text, &spec, NULL) != TADA_OK) {
        fuzz_fail("%s is not valid", text);
    }
    int n = fuzz_below(in, 5);
    for (int i = 0; i < n; i++) {
        /* An option that does not go with the others is left out. */
        size_t length = strlen(text);
        tada_spec more;
        snprintf(text + length, size - length, ":%s",
                 options[fuzz_below(in, sizeof options / sizeof *options)]);
        if (tada_spec_parse(text, &more, NULL) == TADA_OK) {
            spec = more;
        } else {
            text[length] = '\0';
        }
    }
    return spec;
}

static const char *const sets[] = {"scalar",     "avx2", "avxvnni", "avx512",
                                   "avx512vnni", "neon", "neondot", "neoni8mm"};
enum { N_SETS = sizeof sets / sizeof *sets };

int fuzz_n_kernels(void)
{
    int n = 0;
    for (int i = 0; i < N_SETS; i++) {
        n += tada_kernels_select(sets[i]) == TADA_OK;
    }
    return n;
}

void fuzz_kernels(int n)
{
    for (int i = 0; i < N_SETS; i++) {
        if (tada_kernels_select(sets[i]) == TADA_OK && n-- == 0) {
            return;
        }
    }
    fuzz_fail("a kernel set is missing");
}

fuzz_file fuzz_file_make(const void *data, size_t size)
{
    fuzz_file file = {memfd_create("fuzz", 0), ""};
    if (file.fd < 0 || write(file.fd, data, size) != (ssize_t)size) {
        fuzz_fail("a file in memory cannot be made");
    }
    snprintf(file.path, sizeof file.path, "/proc/self/fd/%d", file.fd);
    return file;
}

void fuzz_file_done(fuzz_file *file)
{
    close(file->fd);
}

void fuzz_path(const char *name, char *path, size_t size)
{
    const char *folder = getenv("TMPDIR");
    folder = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : folder ? folder : "/tmp";
    if (snprintf(path, size, "%s/fuzz-%s-%d", folder, name, (int)getpid()) >= (int)size) {
        fuzz_fail("the path of a folder for temporary files is too long");
    }
}

_Noreturn void fuzz_fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("fuzz: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    abort();
}

void *fuzz_memory(size_t bytes)
{
    void *memory = malloc(bytes + 1);
    if (!memory) {
        fuzz_fail("no memory for %zu bytes", bytes);
    }
    return memory;
}

const tada_threads *fuzz_threads(int n)
{
    static thread_team *teams[4];
    if (!teams[n]) {
        teams[n] = team_create(n);
        if (!teams[n]) {
            fuzz_fail("no memory for threads");
        }
    }
    return team_lend(teams[n]);
}

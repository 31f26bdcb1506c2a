/* What the CPU can do, and which kernel set is used: the library's only global state. */
#include "kernels.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#ifdef TADA_X86
#include <cpuid.h>

/* clang 14 does not know the name: leaf 1, bit 29 of ecx. */
static bool cpu_has_f16c(void)
{
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid(1, &a, &b, &c, &d) && (c >> 29 & 1);
}

static bool cpu_has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && cpu_has_f16c();
}

#ifdef TADA_EMULATED
/* Tests only: these sets are built for a CPU with AVX2 (tests/emulated). */
#define cpu_has_avxvnni cpu_has_avx2
#define cpu_has_avx512 cpu_has_avx2
#define cpu_has_avx512vnni cpu_has_avx2
#else
/* gcc 12 does not know the name: leaf 7, sub-leaf 1, bit 4 of eax. */
static bool cpu_has_avxvnni(void)
{
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1);
}

static bool cpu_has_avx512(void)
{
    return cpu_has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}

static bool cpu_has_avx512vnni(void)
{
    return cpu_has_avx512() && __builtin_cpu_supports("avx512vnni");
}
#endif
#endif

#ifdef TADA_ARM64
/* The kernel tells; on other systems than Linux only what every AArch64 has is used. */
#ifdef __linux__
#include <sys/auxv.h>
/* Not every C library knows these bits of the two words. */
enum { CAPABILITY_DOTPROD = 1 << 20, CAPABILITY2_I8MM = 1 << 13 };
#define CAPABILITIES getauxval(AT_HWCAP)
#define CAPABILITIES2 getauxval(AT_HWCAP2)
#else
enum { CAPABILITY_DOTPROD = 0, CAPABILITY2_I8MM = 0 };
#define CAPABILITIES 0ul
#define CAPABILITIES2 0ul
#endif

static bool cpu_has_dotprod(void)
{
    return (CAPABILITIES & CAPABILITY_DOTPROD) != 0;
}

static bool cpu_has_i8mm(void)
{
    return (CAPABILITIES2 & CAPABILITY2_I8MM) != 0;
}
#endif

#define KERNELS(name, symbol, check) extern const tada_kernels symbol;
#include "kernels.def"
#undef KERNELS

static _Atomic(const tada_kernels *) selected;

enum tada_status tada_kernels_select(const char *name)
{
    const tada_kernels *found = NULL;
#define KERNELS(set, symbol, check)                                                                          \
    if (!found && strcmp(name, #set) == 0 && (check)) {                                                      \
        found = &symbol;                                                                                     \
    }
#include "kernels.def"
#undef KERNELS
    if (!found) {
        return TADA_E_UNSUPPORTED;
    }
    atomic_store(&selected, found);
    return TADA_OK;
}

const tada_kernels *tada_kernels_get(void)
{
    const tada_kernels *kernels = atomic_load_explicit(&selected, memory_order_relaxed);
    if (kernels) {
        return kernels;
    }
    const char *wanted = getenv("TADA_KERNELS");
    if (!wanted || tada_kernels_select(wanted) != TADA_OK) {
#define KERNELS(set, symbol, check)                                                                          \
    if (!kernels && (check)) {                                                                               \
        kernels = &symbol;                                                                                   \
    }
#include "kernels.def"
#undef KERNELS
        atomic_store(&selected, kernels);
    }
    return atomic_load(&selected);
}

const char *tada_kernels_name(void)
{
    return tada_kernels_get()->name;
}

static char features[128];

/* Called once. */
static void list_features(void)
{
#ifdef TADA_X86
#define FEATURE(name, check)                                                                                 \
    if (check) {                                                                                             \
        strcat(features, *features ? " " name : name);                                                       \
    }
    FEATURE("avx2", __builtin_cpu_supports("avx2"))
    FEATURE("fma", __builtin_cpu_supports("fma"))
    FEATURE("f16c", cpu_has_f16c())
    FEATURE("avxvnni", cpu_has_avxvnni())
    FEATURE("avx512f", __builtin_cpu_supports("avx512f"))
    FEATURE("avx512bw", __builtin_cpu_supports("avx512bw"))
    FEATURE("avx512vl", __builtin_cpu_supports("avx512vl"))
    FEATURE("avx512dq", __builtin_cpu_supports("avx512dq"))
    FEATURE("avx512vnni", __builtin_cpu_supports("avx512vnni"))
#undef FEATURE
#endif
#ifdef TADA_ARM64
    strcat(features, "neon");
    strcat(features, cpu_has_dotprod() ? " dotprod" : "");
    strcat(features, cpu_has_i8mm() ? " i8mm" : "");
#endif
    if (!*features) {
        strcpy(features, "none");
    }
}

const char *tada_cpu_features(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, list_features);
    return features;
}

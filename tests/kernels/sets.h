/* The kernel sets of this build, and what the tests of all kernels share. */
#ifndef TADA_TEST_SETS_H
#define TADA_TEST_SETS_H

#include "kernels/kernels.h"
#include "support.h"

typedef struct kernel_set {
    const char *name;
    const tada_kernels *kernels;
    bool runs; /* on this CPU */
} kernel_set;

enum { MOST_SETS = 16 };

extern const tada_kernels tada_kernels_scalar;

/* Every set of the build, fastest first; how many. */
int sets_list(kernel_set sets[MOST_SETS]);

/* Random numbers start here in every test of every set, so that all of them see the same cases. */
extern uint64_t sets_seed;

/* What is tested from now on; said when it fails or crashes. */
void case_is(const char *format, ...) __attribute__((format(printf, 1, 2)));
const char *case_text(void);
#define fail_case(...)                                                                                       \
    do {                                                                                                     \
        print_error("%s\n", case_text());                                                                    \
        fail_msg(__VA_ARGS__);                                                                               \
    } while (0)

/* The set under test. */
const tada_kernels *test_begin(void *state);
/* The table behind random_normal is made of random numbers itself, in the first test of a file. */
#define TEST_BEGIN(state)                                                                                    \
    (random_state = sets_seed, (void)random_normal(), random_state = sets_seed, test_begin(*(state)))

/* Equal to the last bit, but for the payload and the sign of what is not a number. */
static inline bool same_float(float a, float b)
{
    return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b));
}

/* Index of the first difference, or -1. */
static inline int64_t first_difference(const float *a, const float *b, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        if (!same_float(a[i], b[i])) {
            return i;
        }
    }
    return -1;
}

#endif

/*
 * Every function of every kernel set that this CPU can run: against the scalar set where it must be the same
 * to the last bit, against sums in double where the order of a sum is free.
 */
#include "sets.h"
#include "tests.h"

typedef struct named_test {
    const char *name;
    CMUnitTestFunction run;
} named_test;

static const named_test all[] = {
    {"half_to_float", test_half_to_float},
    {"half_from_float", test_half_from_float},
    {"hadamard", test_hadamard},
    {"quantise", test_quantise},
    {"unpack", test_unpack},
    {"factors", test_factors},
    {"decode", test_decode},
    {"transpose", test_transpose},
    {"multiply", test_multiply},
    {"scores_rows", test_scores_rows},
    {"values_rows", test_values_rows},
    {"softmax", test_softmax},
    {"softmax, not finite", test_softmax_not_finite},
    {"fold and codes_dot", test_codes},
    {"fold and codes_dot, largest sums", test_codes_largest},
    {"fold and codes_dot, not finite", test_codes_not_finite},
    {"attention", test_attention},
};

enum { N_TESTS = sizeof all / sizeof all[0], NOT_HERE = 77 };

int main(int argc, char **argv)
{
    kernel_set sets[MOST_SETS];
    int n_sets = sets_list(sets), failed = 0, ran = 0;
    const char *only = argc > 2 && strcmp(argv[1], "--set") == 0 ? argv[2] : NULL;
    random_init();
    sets_seed = random_state;
    for (int i = 0; i < n_sets; i++) {
        if (only && strcmp(only, sets[i].name) != 0) {
            continue;
        }
        if (!sets[i].runs) {
            printf("%s: not on this CPU\n", sets[i].name);
            continue;
        }
        struct CMUnitTest tests[N_TESTS];
        char names[N_TESTS][64];
        for (int t = 0; t < N_TESTS; t++) {
            snprintf(names[t], sizeof names[t], "%s %s", sets[i].name, all[t].name);
            tests[t] = (struct CMUnitTest){names[t], all[t].run, NULL, NULL, &sets[i]};
        }
        failed += cmocka_run_group_tests_name(sets[i].name, tests, NULL, NULL);
        ran++;
    }
    return ran ? failed : NOT_HERE;
}

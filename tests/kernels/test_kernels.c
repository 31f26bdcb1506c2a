/*
 * Every function of every kernel set that this CPU can run: against the scalar set where it must be the same
 * to the last bit, against sums in double where the order of a sum is free. Or how fast they are.
 */
#include "bench.h"
#include "sets.h"
#include "tests.h"

#include <getopt.h>

typedef struct named_test {
    const char *name;
    CMUnitTestFunction run;
} named_test;

static const named_test all[] = {
    {"half_to_float", test_half_to_float},
    {"half_from_float", test_half_from_float},
    {"hadamard", test_hadamard},
    {"transpose_floats", test_transpose_floats},
    {"quantise", test_quantise},
    {"quantise_again", test_quantise_again},
    {"unpack", test_unpack},
    {"factors", test_factors},
    {"factors_narrow", test_factors_narrow},
    {"join_factors", test_join_factors},
    {"decode", test_decode},
    {"transpose_halves", test_transpose_halves},
    {"multiply", test_multiply},
    {"scores_rows", test_scores_rows},
    {"values_rows", test_values_rows},
    {"softmax", test_softmax},
    {"softmax, not finite", test_softmax_not_finite},
    {"fold and codes_dot", test_codes},
    {"fold and codes_dot, anywhere", test_codes_anywhere},
    {"fold and codes_dot, largest sums", test_codes_largest},
    {"fold and codes_dot, not finite", test_codes_not_finite},
    {"sections_dot", test_sections},
    {"widen", test_widen},
    {"weights_to_integers", test_weights_to_integers},
    {"integers_dot", test_integers},
    {"rows_dot", test_rows_dot},
    {"refined tiles, decoded", test_refined_decode},
    {"refined tiles, summed up", test_refined_attention},
    {"attention", test_attention},
};

/* NOT_HERE: what CTest takes for a test that was skipped. */
enum { N_TESTS = sizeof all / sizeof all[0], WRONG_USE = 2, NOT_HERE = 77 };

static const char help[] =
    "Usage: test_kernels [--set SET] [--test PATTERN]\n"
    "       test_kernels --bench [--set SET] [--rounds N] [--json] [NAME...]\n"
    "\n"
    "Tests every function of every kernel set of this CPU, or measures how fast they are.\n"
    "\n"
    "  --set SET        this set alone; exit status 77 when the CPU or the build lacks it\n"
    "  --test PATTERN   tests whose name fits, such as '*codes_dot*'\n"
    "  --bench          time the kernels whose names start with a NAME, or all of them\n"
    "  --rounds N       how often each kernel of each set is timed, taking turns (default 31)\n"
    "  --json           the table as JSON, one object a line\n"
    "  --help           this text\n"
    "\n"
    "TADA_SEED=N gives other random input than the usual one, TADA_SEED=time that of the clock.\n";

static int test_set(kernel_set *set)
{
    struct CMUnitTest tests[N_TESTS];
    char names[N_TESTS][64];
    for (int t = 0; t < N_TESTS; t++) {
        snprintf(names[t], sizeof names[t], "%s %s", set->name, all[t].name);
        tests[t] = (struct CMUnitTest){names[t], all[t].run, NULL, NULL, set};
    }
    return cmocka_run_group_tests_name(set->name, tests, NULL, NULL);
}

/* What the command line asks for. */
typedef struct request {
    const char *only; /* this set; NULL: all */
    const char *const *names;
    int n_names; /* of kernels to be timed; 0: all */
    int rounds;
    bool bench, json;
} request;

/* Returns -1, or the exit status where nothing is to be done. */
static int request_read(int argc, char **argv, request *r)
{
    enum { SET, TEST, BENCH, ROUNDS, JSON, HELP };
    static const struct option options[] = {
        {"set", required_argument, NULL, SET},
        {"test", required_argument, NULL, TEST},
        {"bench", no_argument, NULL, BENCH},
        {"rounds", required_argument, NULL, ROUNDS},
        {"json", no_argument, NULL, JSON},
        {"help", no_argument, NULL, HELP},
        {NULL, 0, NULL, 0},
    };
    *r = (request){.rounds = 31};
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (option) {
        case SET:
            r->only = optarg;
            break;
        case TEST:
            cmocka_set_test_filter(optarg);
            break;
        case BENCH:
            r->bench = true;
            break;
        case ROUNDS:
            r->rounds = atoi(optarg);
            break;
        case JSON:
            r->json = true;
            break;
        case HELP:
            fputs(help, stdout);
            return 0;
        default:
            fputs(help, stderr);
            return WRONG_USE;
        }
    }
    r->names = (const char *const *)argv + optind;
    r->n_names = argc - optind;
    if (r->rounds < 1 || (!r->bench && (r->n_names > 0 || r->json))) {
        fputs(help, stderr);
        return WRONG_USE;
    }
    return -1;
}

int main(int argc, char **argv)
{
    kernel_set sets[MOST_SETS];
    int n_sets = sets_list(sets), n = 0, failed = 0;
    request r;
    int status = request_read(argc, argv, &r);
    if (status >= 0) {
        return status;
    }
    for (int i = 0; i < n_sets; i++) {
        if (r.only && strcmp(r.only, sets[i].name) != 0) {
            continue;
        }
        if (sets[i].runs) {
            sets[n++] = sets[i];
        } else if (!r.json) {
            printf("%s: not on this CPU\n", sets[i].name);
        }
    }
    if (n == 0) {
        return NOT_HERE;
    }
    if (r.bench) {
        return bench_run(sets, n, r.rounds, r.json, r.names, r.n_names);
    }
    random_init();
    sets_seed = random_state;
    for (int i = 0; i < n; i++) {
        failed += test_set(&sets[i]);
    }
    return failed > 0;
}

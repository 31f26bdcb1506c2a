/* What the library says of itself. */
#include "support.h"

static void names(void **state)
{
    (void)state;
    assert_string_equal(tada_version(), TADA_VERSION);
    for (int i = TADA_OK; i <= TADA_E_FILE; i++) {
        const char *name = tada_status_name((enum tada_status)i);
        assert_true(name && strlen(name) > 1);
        for (int j = TADA_OK; j < i; j++) {
            assert_string_not_equal(name, tada_status_name((enum tada_status)j));
        }
    }
    assert_non_null(tada_status_name((enum tada_status)99));
    assert_true(strlen(tada_cpu_features()) > 0);
    assert_int_equal(tada_kernels_select(tada_kernels_name()), TADA_OK);
}

/* Callers compare the header that they were compiled with and the library that was loaded. */
static void versions_agree(void **state)
{
    (void)state;
    char text[32];
    snprintf(text, sizeof text, "%d.%d.%d", TADA_VERSION_MAJOR, TADA_VERSION_MINOR, TADA_VERSION_PATCH);
    assert_string_equal(tada_version(), text);
    assert_string_equal(tada_version(), PROJECT_VERSION);
    assert_int_equal(tada_version_number(), TADA_VERSION_NUMBER);
    assert_true(TADA_VERSION_NUMBER >= 1000);
    assert_true(TADA_VERSION_MINOR < 1000 && TADA_VERSION_PATCH < 1000);
}

/* Numbers of enumerators are in plan files and in programs that were compiled before: they never change. */
#define NUMBERED(a, b, c, d) ((a) == 0 && (b) == 1 && (c) == 2 && (d) == 3)
_Static_assert(TADA_OK == 0 &&
                   NUMBERED(TADA_E_ARGUMENT - 1, TADA_E_MEMORY - 1, TADA_E_UNSUPPORTED - 1, TADA_E_FILE - 1),
               "statuses");
_Static_assert(NUMBERED(TADA_CENTRE_NONE, TADA_CENTRE_TOKENS, TADA_CENTRE_HEADS16, TADA_CENTRE_HEADS8),
               "centrings");
_Static_assert(NUMBERED(TADA_SCALE_16, TADA_SCALE_32, TADA_SCALE_8, 3), "scales");
_Static_assert(NUMBERED(TADA_K, TADA_V, 2, 3) && NUMBERED(TADA_F32, TADA_F16, 2, 3), "kinds and types");
_Static_assert(NUMBERED(TADA_ROTATE_NONE, TADA_ROTATE_HADAMARD, 2, 3), "rotations");
_Static_assert(NUMBERED(TADA_AXIS_CHANNEL, TADA_AXIS_TOKEN, 2, 3), "axes");
_Static_assert(NUMBERED(TADA_SEARCH_MINMAX, TADA_SEARCH_ERROR, 2, 3), "searches");
_Static_assert(NUMBERED(TADA_REFINE_ON, TADA_REFINE_OFF, 2, 3), "refinements");
_Static_assert(NUMBERED(TADA_ROPE_NEIGHBOURS, TADA_ROPE_HALVES, 2, 3), "pairs");

TEST_MAIN(cmocka_unit_test(names), cmocka_unit_test(versions_agree))

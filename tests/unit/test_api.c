/* What the library says of itself, and of plans that are not sound. */
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

static void unsound_plans(void **state)
{
    (void)state;
    assert_null(tada_plan_create(0));
    assert_null(tada_plan_create(TADA_PLAN_LAYERS + 1));
    tada_plan_free(NULL);
    tada_spec spec = spec_of("tada");
    for (int i = 0; i < 11; i++) {
        tada_error error = {""};
        tada_plan *plan = tada_plan_create(2);
        plan->planes[0] = (tada_plan_plane){.width = 64, .head_dim = 32, .recipe = spec.k, .window = 64};
        plan->planes[1] = (tada_plan_plane){.width = 64, .recipe = spec.v};
        assert_int_equal(tada_plan_check(plan, &error), TADA_OK);
        switch (i) {
        case 0:
            plan->n_layers = 0;
            break;
        case 1:
            plan->sinks = 65;
            break;
        case 2:
            plan->n_points = -1;
            break;
        case 3:
            plan->planes[0].width = 40;
            break;
        case 4:
            plan->planes[0].head_dim = 48;
            break;
        case 5:
            plan->planes[0].window = 63;
            break;
        case 6:
            plan->planes[1].recipe = spec.k; /* adaptive widths */
            break;
        case 7:
            plan->planes[0].sensitivity = NAN;
            break;
        case 8:
            plan->planes[1].recipe.bits = 7;
            break;
        case 9:
            plan->planes[0].weights = calloc(8, sizeof(float));
            plan->planes[0].weights[7] = -1;
            break;
        default:
            plan->planes[0].recipe.group = 48;
        }
        assert_int_equal(tada_plan_check(plan, &error), TADA_E_ARGUMENT);
        assert_true(strlen(error.text) > 10);
        assert_int_equal(tada_plan_check(plan, NULL), TADA_E_ARGUMENT);
        plan->n_layers = 2;
        tada_plan_free(plan);
    }
}

TEST_MAIN(cmocka_unit_test(names), cmocka_unit_test(unsound_plans))

/*
 * Golden plan files, which llama.cpp's own writer of GGUF made: the library writes the same bytes, and reads
 * them as the plans that they were made of.
 */
#include "tada.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *folder;

static void set(tada_plan *plan, int i, tada_plan_plane plane, const float *weights)
{
    plane.recipe.weights = weights;
    assert_int_equal(tada_plan_set_plane(plan, i / 2, (enum tada_kind)(i % 2), &plane, NULL), TADA_OK);
}

/* One layer without caches, and nothing else. */
static tada_plan *bare(void)
{
    return tada_plan_create(1);
}

/* Four layers: adaptive widths with weights, none, the paper's recipe, equal widths and kivi's. */
static tada_plan *mixed(void)
{
    static const tada_plan_point points[] = {{"q4_0", 0.28125, 0.0123, 0.0011},
                                             {"plan", 0.2712, 0.0045, 0.0004},
                                             {"tada:3.5/3:window=0", 0.25, 0.5, 0.125}};
    float few[6], more[16];
    tada_spec tada, paper, kivi;
    tada_plan *plan = tada_plan_create(4);
    tada_plan_info info = {"mixed", "tada", 0x0123456789abcdefu, 4, 8192};
    tada_spec_parse("tada", &tada, NULL);
    tada_spec_parse("tada:paper", &paper, NULL);
    tada_spec_parse("kivi:2", &kivi, NULL);
    for (int i = 0; i < 6; i++) {
        few[i] = 0.5f * (float)i;
    }
    for (int i = 0; i < 16; i++) {
        more[i] = 1.0f / (float)(1 + i);
    }
    tada_recipe quarters = tada.k, eight = tada.k;
    quarters.quarters = 15;
    quarters.bits = 3;
    eight.quarters = 32;
    eight.bits = 8;
    tada_plan_set_info(plan, &info, NULL);
    set(plan, 0, (tada_plan_plane){48, 16, quarters, 64, 8, 0.125f}, few);
    set(plan, 1, (tada_plan_plane){48, 16, tada.v, 128, 0, 0.0625f}, NULL);
    set(plan, 4, (tada_plan_plane){96, 0, paper.k, 1 << 20, 16, 1}, NULL);
    set(plan, 5, (tada_plan_plane){64, 64, paper.v, 0, 0, 0}, NULL);
    set(plan, 6, (tada_plan_plane){128, 64, eight, 0, 0, 0.001953125f}, more);
    set(plan, 7, (tada_plan_plane){128, 32, kivi.v, 192, 0, 0}, NULL);
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        assert_int_equal(tada_plan_add_point(plan, &points[i], NULL), TADA_OK);
    }
    return plan;
}

static void is_golden(const char *name, tada_plan *plan)
{
    static uint8_t golden[1 << 16];
    char path[4096];
    tada_plan *read;
    tada_error error = {""};
    snprintf(path, sizeof path, "%s/plans/%s.gguf", folder, name);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t n = fread(golden, 1, sizeof golden, file), size;
    fclose(file);
    if (tada_plan_load(path, &read, &error) != TADA_OK) {
        fail_msg("%s", error.text);
    }
    tada_plan *const both[] = {plan, read};
    for (int i = 0; i < 2; i++) {
        void *bytes;
        assert_int_equal(tada_plan_save_memory(both[i], &bytes, &size, NULL), TADA_OK);
        assert_int_equal(size, n);
        assert_memory_equal(bytes, golden, n);
        free(bytes);
        tada_plan_free(both[i]);
    }
}

static void plans_are_those_of_the_files(void **state)
{
    (void)state;
    is_golden("bare", bare());
    is_golden("mixed", mixed());
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(plans_are_those_of_the_files)};
    if (argc != 2) {
        fprintf(stderr, "usage: test_plans FOLDER\n");
        return 2;
    }
    folder = argv[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}

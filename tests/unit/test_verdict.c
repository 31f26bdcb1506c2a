/* tada verdict: the limits, what is next in the time that is left, loops, and the test of pairs. */
#include "measure/loops.h"
#include "output/statistics.h"
#include "support.h"
#include "verdict/decide.h"
#include "verdict/schedule.h"

/* A cache with one measure. */
static struct evidence measured(enum measure measure, double value)
{
    struct evidence evidence = {0};
    evidence.of[measure] = (struct finding){.n = 1000, .value = value};
    return evidence;
}

/* ... of cases that are paired with f16. */
static struct evidence counted(enum measure measure, int n, int lost, int won)
{
    struct evidence evidence = {0};
    evidence.of[measure] = (struct finding){
        .n = n, .value = (double)(lost - won) / n, .counted = true, .lost = lost, .won = won};
    return evidence;
}

static enum grade grade_of(const struct evidence *cache, const struct evidence *floor,
                           const struct evidence *yardstick)
{
    struct judgement judgement;
    judge(cache, floor, yardstick, &judgement);
    return judgement.grade;
}

/* Every measure of a value has limits in the right order, above the floor, and looser where q8_0 is worse. */
static void test_limits(void **state)
{
    static const enum measure values[] = {MEASURE_MARGIN, MEASURE_KLD,  MEASURE_TAIL,
                                          MEASURE_TOP,    MEASURE_LONG, MEASURE_GROWTH};
    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        enum measure m = values[i];
        struct judgement judgement;
        struct evidence floor = measured(m, 0.004), poor = measured(m, 1), cache = measured(m, 0.004);
        judge(&cache, &floor, NULL, &judgement);
        double safe = judgement.limits[m][0], careful = judgement.limits[m][1];
        assert_true(0.004 < safe && safe < careful);
        assert_int_equal(judgement.grade, GRADE_SAFE);
        cache = measured(m, (safe + careful) / 2);
        assert_int_equal(grade_of(&cache, &floor, NULL), GRADE_CAREFUL);
        cache = measured(m, careful * 1.01);
        assert_int_equal(grade_of(&cache, &floor, NULL), GRADE_NO);
        assert_int_equal(grade_of(&cache, &floor, &poor), GRADE_SAFE);
        cache = measured(m, NAN);
        assert_int_equal(grade_of(&cache, &floor, &poor), GRADE_NO);
    }
}

/* What is counted must be more than chance, and q8_0 is no excuse. */
static void test_counts(void **state)
{
    static const struct {
        int n, lost, won;
        enum grade grade;
    } cases[] = {
        {100, 0, 0, GRADE_SAFE},
        {100, 4, 0, GRADE_SAFE},
        {100, 20, 18, GRADE_SAFE},
        {100, 0, 30, GRADE_SAFE},
        {1000, 5, 0, GRADE_SAFE},
        {200, 6, 0, GRADE_CAREFUL},
        {100, 30, 2, GRADE_NO},
        {1000, 40, 5, GRADE_CAREFUL},
        {0, 0, 0, GRADE_UNKNOWN},
        {99, 0, 0, GRADE_CAREFUL},
        {15, 12, 0, GRADE_NO},
        /* More than chance, and more than five in a hundred; but not surely so many. */
        {150, 10, 1, GRADE_CAREFUL},
        {450, 30, 3, GRADE_CAREFUL},
        {450, 40, 3, GRADE_NO},
        {50, 8, 0, GRADE_NO},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct evidence floor = {0}, cache = {0}, poor = counted(MEASURE_COPY, 100, 50, 0);
        if (cases[i].n > 0) {
            cache = counted(MEASURE_COPY, cases[i].n, cases[i].lost, cases[i].won);
        }
        assert_int_equal(grade_of(&cache, &floor, NULL), cases[i].grade);
        assert_int_equal(grade_of(&cache, &floor, &poor), cases[i].grade);
    }
}

/* The worst measure decides, and is the one that is named. */
static void test_worst(void **state)
{
    struct judgement judgement;
    struct evidence floor = measured(MEASURE_KLD, 0.0002), cache = measured(MEASURE_KLD, 0.03);
    char text[256], cut[8];
    (void)state;
    cache.of[MEASURE_TOP] = (struct finding){.n = 1000, .value = 0.01};
    judge(&cache, &floor, NULL, &judgement);
    assert_int_equal(judgement.grade, GRADE_CAREFUL);
    assert_int_equal(judgement.worst, MEASURE_KLD);
    assert_int_equal(judgement.grades[MEASURE_TOP], GRADE_SAFE);
    assert_int_equal(judgement.grades[MEASURE_COPY], GRADE_UNKNOWN);
    cache.of[MEASURE_KLD].value = 0.005;
    cache.of[MEASURE_LOOPS] = counted(MEASURE_LOOPS, 1, 1, 0).of[MEASURE_LOOPS]; /* what may be chance */
    judge(&cache, &floor, NULL, &judgement);
    assert_int_equal(judgement.grade, GRADE_SAFE);
    assert_int_equal(judgement.worst, MEASURE_KLD);
    cache.of[MEASURE_COPY] = counted(MEASURE_COPY, 100, 30, 0).of[MEASURE_COPY];
    judge(&cache, &floor, &floor, &judgement);
    assert_int_equal(judgement.grade, GRADE_NO);
    assert_int_equal(judgement.worst, MEASURE_COPY);
    finding_text(MEASURE_COPY, &cache, &floor, &floor, &judgement, text, sizeof text);
    assert_non_null(strstr(text, "30.0 %: 30 lost, 0 won of 100"));
    finding_text(MEASURE_COPY, &cache, &floor, &floor, &judgement, cut, sizeof cut);
    assert_true(strlen(cut) < sizeof cut);
}

/* What is said of counts: what they are held against, or that they do not tell. It fits in a line. */
static void test_counts_in_words(void **state)
{
    static const struct {
        int n, lost, won;
        const char *words;
    } cases[] = {
        {1000, 300, 100, "20.0 %: 300 lost, 100 won of 1000 (safe up to 1.0 %; floor 0.0 %, q8_0 20.0 %)"},
        {1000, 5, 0, "0.5 %: 5 lost, 0 won of 1000 (safe up to 1.0 %;"},
        {165, 7, 2, "3.0 %: 7 lost, 2 won of 165 (safe up to 1.0 %; this may be chance, p 0.09)"},
        {45, 3, 1, "4.4 %: 3 lost, 1 won of 45 (too few to call it safe: give more --minutes)"},
        {45, 30, 1, "64.4 %: 30 lost, 1 won of 45 (safe up to 1.0 %;"},
    };
    static const enum measure measures[] = {MEASURE_COPY, MEASURE_LOOPS, MEASURE_KEYS};
    (void)state;
    for (size_t m = 0; m < sizeof measures / sizeof *measures; m++) {
        struct evidence floor = counted(measures[m], 1000, 0, 0), poor = counted(measures[m], 10, 2, 0);
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            struct evidence cache = counted(measures[m], cases[i].n, cases[i].lost, cases[i].won);
            struct judgement judgement;
            char text[256];
            judge(&cache, &floor, &poor, &judgement);
            finding_text(measures[m], &cache, &floor, &poor, &judgement, text, sizeof text);
            assert_true(strlen(text) <= 98);
            if (measures[m] == MEASURE_COPY) {
                assert_non_null(strstr(text, cases[i].words));
            }
        }
    }
}

static void test_next_better(void **state)
{
    const struct judgement judgements[] = {
        {.grade = GRADE_SAFE}, {.grade = GRADE_CAREFUL}, {.grade = GRADE_NO}, {.grade = GRADE_SAFE}};
    const size_t bytes[] = {50, 30, 20, 40};
    (void)state;
    assert_int_equal(next_better(judgements, bytes, 4, 2), 1);
    assert_int_equal(next_better(judgements, bytes, 4, 1), 3);
    assert_int_equal(next_better(judgements, bytes, 4, 0), -1);
}

/* Each gets its share, nothing is begun that would not end in time, and what is exhausted is left out. */
static void test_schedule(void **state)
{
    struct turn turns[] = {{.share = 3, .expect = 1, .most = 100},
                           {.share = 1, .expect = 1, .most = 100},
                           {.share = 9, .expect = 50, .most = 100},
                           {.share = 9, .expect = 1, .most = 2}};
    double left = 40;
    int next;
    (void)state;
    assert_int_equal(schedule_next(turns, 4, left), 0); /* the first of equals */
    while ((next = schedule_next(turns, 4, left)) >= 0) {
        schedule_count(&turns[next], turns[next].expect);
        left -= 1;
    }
    assert_int_equal(left, 0);
    assert_int_equal(turns[2].done, 0);
    assert_int_equal(turns[3].done, 2);
    assert_in_range(turns[0].done, 27, 30);
    assert_int_equal(turns[0].done + turns[1].done, 38);
}

static void test_loops(void **state)
{
    enum { N = 120 };
    int32_t tokens[N];
    (void)state;
    for (int i = 0; i < N; i++) {
        tokens[i] = i;
    }
    assert_false(ends_in_loop(tokens, 0));
    assert_false(ends_in_loop(tokens, N));
    for (int period = 1; period <= 20; period++) {
        for (int i = 40; i < N; i++) {
            tokens[i] = 1000 + i % period;
        }
        assert_true(ends_in_loop(tokens, N));
        tokens[N - 1] = 5; /* it has found its way out */
        assert_false(ends_in_loop(tokens, N));
    }
    for (int i = 0; i < N; i++) {
        tokens[i] = i < N - 20 ? i : 7; /* too short to count */
    }
    assert_false(ends_in_loop(tokens, N));
    for (int i = 0; i < N; i++) {
        tokens[i] = i % 50; /* not three times */
    }
    assert_false(ends_in_loop(tokens, N));
}

static void test_pairs(void **state)
{
    (void)state;
    assert_true(fabs(chance_of_loss(0, 0, 0) - 1) < 1e-9);
    assert_true(fabs(chance_of_loss(5, 0, 0) - 1 / 32.0) < 1e-9);
    assert_true(fabs(chance_of_loss(3, 1, 0) - 5 / 16.0) < 1e-9);
    assert_true(chance_of_loss(1000, 1000, 0) > 0.5 && chance_of_loss(1000, 1000, 0) < 0.52);
    assert_true(chance_of_loss(0, 9, 0) == 1);
    /* With an excess of 2 among 4 that differ, three of four are lost. */
    assert_true(fabs(chance_of_loss(4, 0, 2) - 81 / 256.0) < 1e-9);
    assert_true(fabs(chance_of_loss(3, 1, 2) - (81 + 4 * 27) / 256.0) < 1e-9);
    assert_true(chance_of_loss(4, 0, 4) == 1 && chance_of_loss(0, 0, 3) == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limits),          cmocka_unit_test(test_counts),
        cmocka_unit_test(test_worst),           cmocka_unit_test(test_next_better),
        cmocka_unit_test(test_counts_in_words), cmocka_unit_test(test_schedule),
        cmocka_unit_test(test_loops),           cmocka_unit_test(test_pairs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

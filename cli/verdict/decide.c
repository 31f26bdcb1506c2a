#include "decide.h"

#include "output/statistics.h"

#include <math.h>
#include <stdio.h>

/*
 * A measure is within a limit when it is at most `times` what q8_0 has, or at most `above` what the floor
 * has. doc/guide/verdict.md gives the reasons. `times` 0: q8_0 is no excuse.
 */
static const struct {
    const char *name, *words;
    bool percent; /* how it is written */
    struct {
        double times, above;
    } safe, careful;
} limits[N_MEASURES] = {
    [MEASURE_COPY] = {"copy", "objects lost", true, {0, 0.01}, {0, 0.05}},
    [MEASURE_MARGIN] = {"margin", "margin lost when copying", true, {2, 0.02}, {4, 0.06}},
    [MEASURE_KLD] = {"kld", "KL divergence", false, {2, 0.01}, {4, 0.05}},
    [MEASURE_TAIL] = {"kld_p99", "its 99th percentile", false, {2, 0.1}, {4, 0.5}},
    [MEASURE_TOP] = {"other_top", "another likeliest token", true, {2, 0.03}, {4, 0.08}},
    [MEASURE_LONG] = {"long_kld", "KL divergence along long answers", false, {2, 0.01}, {4, 0.05}},
    [MEASURE_GROWTH] = {"long_growth", "its growth", false, {2, 0.01}, {4, 0.05}},
    [MEASURE_LOOPS] = {"loops", "answers that loop", true, {0, 0.02}, {0, 0.1}},
    [MEASURE_KEYS] = {"keys", "pass keys missed", true, {0, 0.02}, {0, 0.1}},
};

/* Objects that must have been copied before a cache is called safe: of fewer, even five in a hundred would
 * not be told from chance. */
enum { LEAST_OBJECTS = 100 };

/* Above it, what was lost may be chance. */
static const double most_chance = 0.05;

static double limit(double times, double above, const struct finding *floor, const struct finding *yardstick)
{
    double by_floor = (floor->n > 0 ? fmax(floor->value, 0) : 0) + above;
    double by_yardstick = yardstick && yardstick->n > 0 ? times * yardstick->value : 0;
    return fmax(by_floor, by_yardstick);
}

static bool too_few(enum measure measure, const struct finding *finding)
{
    return measure == MEASURE_COPY && finding->n > 0 && finding->n < LEAST_OBJECTS;
}

/* What is counted would come about when a share `loss` is lost in truth. */
static bool may_be(const struct finding *finding, double loss)
{
    return finding->counted && chance_of_loss(finding->lost, finding->won, loss * finding->n) > most_chance;
}

static bool may_be_chance(const struct finding *finding)
{
    return may_be(finding, 0);
}

/* What is no number is above every limit. Counts say no when they are surely above the limit: few of them
 * that happen to differ from f16 in the bad way exceed it by far. */
static enum grade grade_by_limits(const struct finding *finding, const double limits_of[2])
{
    return may_be_chance(finding) || finding->value <= limits_of[0]          ? GRADE_SAFE
           : may_be(finding, limits_of[1]) || finding->value <= limits_of[1] ? GRADE_CAREFUL
                                                                             : GRADE_NO;
}

static enum grade grade_of(enum measure measure, const struct finding *finding, const double limits_of[2])
{
    if (finding->n == 0) {
        return GRADE_UNKNOWN;
    }
    enum grade grade = grade_by_limits(finding, limits_of);
    return grade == GRADE_SAFE && too_few(measure, finding) ? GRADE_CAREFUL : grade;
}

void judge(const struct evidence *cache, const struct evidence *floor, const struct evidence *yardstick,
           struct judgement *judgement)
{
    double worst_share = -INFINITY;
    *judgement = (struct judgement){.grade = GRADE_UNKNOWN};
    for (int i = 0; i < N_MEASURES; i++) {
        const struct finding *finding = &cache->of[i], *yard = yardstick ? &yardstick->of[i] : NULL;
        double *own = judgement->limits[i];
        own[0] = limit(limits[i].safe.times, limits[i].safe.above, &floor->of[i], yard);
        own[1] = limit(limits[i].careful.times, limits[i].careful.above, &floor->of[i], yard);
        enum grade grade = judgement->grades[i] = grade_of((enum measure)i, finding, own);
        if (grade == GRADE_UNKNOWN) {
            continue;
        }
        double share = may_be_chance(finding)     ? 0
                       : isfinite(finding->value) ? finding->value / own[grade == GRADE_SAFE ? 0 : 1]
                                                  : INFINITY;
        bool worse = judgement->grade == GRADE_UNKNOWN || grade > judgement->grade;
        if (worse || (grade == judgement->grade && share > worst_share)) {
            judgement->grade = grade;
            judgement->worst = (enum measure)i;
            worst_share = share;
        }
    }
}

const char *grade_name(enum grade grade)
{
    static const char *const names[] = {"safe", "careful", "no", "unknown"};
    return names[grade];
}

const char *measure_name(enum measure measure)
{
    return limits[measure].name;
}

/* Shares as percents. */
static const char *written(enum measure measure, double value, char text[32])
{
    if (limits[measure].percent) {
        snprintf(text, 32, "%.1f %%", 100 * value);
    } else {
        snprintf(text, 32, "%.4f", value);
    }
    return text;
}

/* What a value is held against. */
static void held_against(enum measure measure, const struct evidence *floor, const struct evidence *yardstick,
                         double safe_limit, char *text, size_t size)
{
    char safe[32], of_floor[32], of_yardstick[32];
    int n = snprintf(text, size, "safe up to %s; floor %s", written(measure, safe_limit, safe),
                     written(measure, floor->of[measure].value, of_floor));
    if (yardstick && n >= 0 && (size_t)n < size) {
        snprintf(text + n, size - (size_t)n, ", q8_0 %s",
                 written(measure, yardstick->of[measure].value, of_yardstick));
    }
}

void finding_text(enum measure measure, const struct evidence *cache, const struct evidence *floor,
                  const struct evidence *yardstick, const struct judgement *judgement, char *text,
                  size_t size)
{
    const struct finding *finding = &cache->of[measure];
    const double *own = judgement->limits[measure];
    char value[32], safe[32], against[128], counts[64] = "";
    if (finding->counted) {
        snprintf(counts, sizeof counts, ": %d lost, %d won of %d", finding->lost, finding->won, finding->n);
    }
    if (too_few(measure, finding) && grade_by_limits(finding, own) == GRADE_SAFE) {
        snprintf(against, sizeof against, "too few to call it safe: give more --minutes");
    } else if (may_be_chance(finding) && finding->value > own[0]) {
        snprintf(against, sizeof against, "safe up to %s; this may be chance, p %.2f",
                 written(measure, own[0], safe), chance_of_loss(finding->lost, finding->won, 0));
    } else {
        held_against(measure, floor, yardstick, own[0], against, sizeof against);
    }
    snprintf(text, size, "%s %s%s (%s)", limits[measure].words, written(measure, finding->value, value),
             counts, against);
}

int next_better(const struct judgement *judgements, const size_t *bytes, int n, int i)
{
    int best = -1;
    for (int j = 0; j < n; j++) {
        bool better = judgements[j].grade < judgements[i].grade;
        best = better && (best < 0 || bytes[j] < bytes[best]) ? j : best;
    }
    return best;
}

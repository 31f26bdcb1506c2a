/* What the measures of a cache come to: the limits, and the verdict. */
#ifndef TADA_CLI_VERDICT_DECIDE_H
#define TADA_CLI_VERDICT_DECIDE_H

#include <stdbool.h>
#include <stddef.h>

/* In the order in which they are told. */
enum measure {
    MEASURE_COPY,   /* share of the objects that f16 repeats exactly and this one does not, less the others */
    MEASURE_MARGIN, /* share of the margin of the right token that is lost when copying */
    MEASURE_KLD,    /* mean KL divergence from f16 on the text, nats */
    MEASURE_TAIL,   /* its 99th percentile */
    MEASURE_TOP,    /* share of the tokens where the likeliest next token is another one */
    MEASURE_LONG,   /* mean KL divergence along long answers that f16 writes, nats */
    MEASURE_GROWTH, /* by how much that grows from their first third to their last, less two standard errors
                     */
    MEASURE_LOOPS,  /* share of the long answers that end in a loop and with f16 do not, less the others */
    MEASURE_KEYS,   /* share of the pass keys that f16 finds and this one does not, less the others */
    N_MEASURES
};

struct finding {
    int n; /* samples; 0: it was not measured */
    double value;
    bool counted; /* the value is (lost - won) / n of cases that are paired with f16 */
    int lost, won;
};

struct evidence {
    struct finding of[N_MEASURES];
};

/* UNKNOWN: nothing was measured. */
enum grade { GRADE_SAFE, GRADE_CAREFUL, GRADE_NO, GRADE_UNKNOWN };

struct judgement {
    enum grade grade;              /* the worst */
    enum measure worst;            /* which one says so; of equals the one that is nearest to its limit */
    enum grade grades[N_MEASURES]; /* UNKNOWN: not measured */
    double limits[N_MEASURES][2];  /* up to which it is safe, and up to which careful */
};

/* floor: f16 with another batch size; yardstick: q8_0, or NULL where the model cannot have it. */
void judge(const struct evidence *cache, const struct evidence *floor, const struct evidence *yardstick,
           struct judgement *judgement);

const char *grade_name(enum grade grade);
const char *measure_name(enum measure measure); /* as JSON has it */
/* "KL divergence 0.0421 (safe up to 0.0102; floor 0.0002, q8_0 0.0005)" */
void finding_text(enum measure measure, const struct evidence *cache, const struct evidence *floor,
                  const struct evidence *yardstick, const struct judgement *judgement, char *text,
                  size_t size);

/* Of n caches the smallest whose grade is better than that of cache i; -1: none is. */
int next_better(const struct judgement *judgements, const size_t *bytes, int n, int i);

#endif

/* tada verdict: what its parts share. */
#ifndef TADA_CLI_VERDICT_VERDICT_H
#define TADA_CLI_VERDICT_VERDICT_H

#include "decide.h"
#include "measure/copying.h"
#include "output/output.h"
#include "schedule.h"

#include <cjson/cJSON.h>

enum {
    VERDICT_MOST = EVAL_MAX_CACHES + 2,
    VERDICT_LEAST_CTX = 1024,
    MOST_ANSWERS = 64, /* long ones */
    MOST_KEYS = 60,
};

/* In the order in which each has its first turn. */
enum task { TASK_COPY, TASK_TEXT, TASK_LONG, TASK_KEYS, N_TASKS };

struct verdict_options {
    struct eval_options eval; /* n_ctx 0: as large as the time allows */
    const char *html_path;    /* NULL: none */
    double minutes;
};

/* A token where a cache was compared with f16. */
struct point {
    double kld;
    int position;
    bool same; /* the most likely next token */
};

struct points {
    struct point *list;
    int n, room;
};

struct verdict {
    const struct verdict_options *options;
    const struct model *model;
    struct lineup lineup; /* f16, the caches, f16 with twice the batch */
    struct along along;
    struct work work;
    llama_token *text; /* windows of n_ctx */
    int n_windows, n_ctx;
    int n_prompt, n_answer;  /* tokens of a long answer, and before it */
    double started, seconds; /* the clock at the start, and what it took */
    double read, single;     /* seconds a token that all caches read in a batch, and alone */

    struct turn turns[N_TASKS];
    struct copy_scores copies;
    struct points texts[VERDICT_MOST], longs[VERDICT_MOST];
    bool loops[MOST_ANSWERS][VERDICT_MOST], found[MOST_KEYS][VERDICT_MOST];
};

/* What is said of a cache in the end. */
struct opinion {
    struct evidence evidence;
    struct judgement judgement;
    size_t bytes;
};

static inline int floor_index(const struct verdict *v)
{
    return v->lineup.n - 1;
}

/* All of these print what is wrong and return an exit status, 0 when all is well. */

/* One piece of a task in all caches. After Ctrl-C EXIT_INTERRUPTED, and nothing is counted. */
int task_piece(struct verdict *v, enum task task);

/* What was found of a cache of the line-up. */
void evidence_of(const struct verdict *v, int cache, struct evidence *evidence);
/* Of all caches of the line-up: [lineup.n]. */
void opinions_of(const struct verdict *v, struct opinion *opinions);
/* q8_0 in the line-up; 0: it is not there. */
int yardstick_index(const struct verdict *v);
/* The next better cache: an index of the line-up; 0, f16: no other one is; -1: none is needed. */
int better_than(const struct verdict *v, const struct opinion *opinions, int cache);
/* Why a cache is not safe, or what is nearest to its limit. */
void reason_of(const struct verdict *v, const struct opinion *opinions, int cache, enum measure measure,
               char *text, size_t size);
/* How it was measured, and how much of what; the same for all. */
void setting_of(const struct verdict *v, char *text, size_t size);
void account_of(const struct verdict *v, bool complete, char *text, size_t size);

void verdict_print(const struct verdict *v, const struct opinion *opinions, bool complete);
void verdict_report(const struct verdict *v, const struct opinion *opinions, bool complete, cJSON *report);
int verdict_page(const struct verdict *v, const struct opinion *opinions, bool complete);

#endif

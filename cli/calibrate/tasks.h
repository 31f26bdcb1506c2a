/* A task set: prompts with their right answers, from a file of the user's. */
#ifndef TADA_CLI_CALIBRATE_TASKS_H
#define TADA_CLI_CALIBRATE_TASKS_H

#include "engine/problems.h"

struct task {
    char *prompt, *answer;
    char **choices; /* NULL: the model answers freely */
    int n_choices;
    int right;               /* which of them is the answer */
    char number[MAX_NUMBER]; /* the number after "####" at the end of the answer; "": there is none */
};

struct tasks {
    struct task *list;
    int n;
};

/*
 * Reads a file with an object {"prompt", "answer"} on each line. Where several answers are offered, it has a
 * list "choices", of which "answer" must be one. A line that is no such object, or an empty file: prints an
 * error and returns EXIT_USAGE. tasks_free frees them, also after an error.
 */
int tasks_read(const char *path, struct tasks *tasks);
void tasks_free(struct tasks *tasks); /* of zeros, or freed already: fine */

#endif

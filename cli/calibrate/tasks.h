/* A task set of the user's: prompts with their right answers. */
#ifndef TADA_CLI_CALIBRATE_TASKS_H
#define TADA_CLI_CALIBRATE_TASKS_H

#include "engine/problems.h"

struct task {
    char *prompt, *answer;
    char **choices; /* NULL: the model answers freely */
    int n_choices;
    int right;               /* which of them is the answer */
    char number[MAX_NUMBER]; /* that an answer which is worked out ends in, after "####"; "": it is none */
};

struct tasks {
    struct task *list;
    int n;
};

/*
 * Reads a file with a {"prompt", "answer"} on each line, and where several answers are offered their list
 * "choices", of which `answer` must be one. A line that is none, or a file without any: prints an error,
 * EXIT_USAGE. tasks_free frees them, also after an error.
 */
int tasks_read(const char *path, struct tasks *tasks);
void tasks_free(struct tasks *tasks); /* of zeros, or freed already: fine */

#endif

/* Word problems with answers, as in the GSM8K data set, and the number that an answer ends with. */
#ifndef TADA_CLI_ENGINE_PROBLEMS_H
#define TADA_CLI_ENGINE_PROBLEMS_H

enum { N_SHOTS = 8, MAX_NUMBER = 64 };

struct problem {
    char *question, *answer; /* the answer without calculator marks */
    char number[MAX_NUMBER]; /* the right answer */
};

struct problems {
    struct problem *list;
    int n;
};

/*
 * Reads a file with an object {"question", "answer"} on each line: the first N_SHOTS, and at most `limit`
 * more (0: all). All lines are checked. A line that is no such object, or fewer than N_SHOTS + 1: prints an
 * error and returns EXIT_USAGE. problems_free frees them, also after an error.
 */
int problems_read(const char *path, int limit, struct problems *problems);
void problems_free(struct problems *problems);

/* Writes the number after "####", else the last number of the text, else "". Without commas, "$" and trailing
 * zeros after the point, so that equal numbers are equal strings. */
void answer_number(const char *text, char number[MAX_NUMBER]);

#endif

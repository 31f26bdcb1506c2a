/* Word problems with answers, as in the GSM8K data set, and the number that an answer ends in. */
#ifndef TADA_CLI_ENGINE_PROBLEMS_H
#define TADA_CLI_ENGINE_PROBLEMS_H

enum { N_SHOTS = 8, MAX_NUMBER = 64 };

struct problem {
    char *question, *answer; /* the latter without calculator marks */
    char number[MAX_NUMBER]; /* what is right */
};

struct problems {
    struct problem *list;
    int n;
};

/*
 * Reads a file with a {"question", "answer"} on each line: N_SHOTS, and at most `limit` more (0: all).
 * A line that is none, or too few of them: prints an error, EXIT_USAGE. The whole file is checked.
 * problems_free frees them, also after an error.
 */
int problems_read(const char *path, int limit, struct problems *problems);
void problems_free(struct problems *problems);

/* The number after "####", else the last one of the text, else "": without commas, "$" and trailing zeros
 * after the point. Equal numbers are equal texts. */
void answer_number(const char *text, char number[MAX_NUMBER]);

#endif

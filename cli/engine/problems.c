/* Reading of problems, and of numbers in answers. */
#include "problems.h"

#include "output/json_lines.h"
#include "output/note.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char mark[] = "####";

/* ---- numbers ---- */

static bool is_digit(char c)
{
    return isdigit((unsigned char)c) != 0;
}

/* A comma between thousands, as in 12,345; not one between two numbers. */
static bool is_thousands_comma(const char *text)
{
    return text[0] == ',' && is_digit(text[1]) && is_digit(text[2]) && is_digit(text[3]) &&
           !is_digit(text[4]);
}

/* Takes "1234.50" to "1234.5", "7.00" to "7" and "-0" to "0". */
static void simplify_number(char *number)
{
    char *point = strchr(number, '.');
    if (point) {
        char *end = number + strlen(number);
        while (end[-1] == '0') {
            *--end = '\0';
        }
        if (end - 1 == point) {
            *point = '\0';
        }
    }
    char *digits = number + (*number == '-');
    size_t zeros = strspn(digits, "0");
    zeros -= zeros > 0 && !is_digit(digits[zeros]); /* one stays before a point or the end */
    memmove(digits, digits + zeros, strlen(digits + zeros) + 1);
    if (strcmp(number, "-0") == 0) {
        strcpy(number, "0");
    }
}

/* The point of ".5", before the digit at text[at]; not that of "1.5", "end.5" or "...5". */
static bool is_leading_point(const char *text, size_t at)
{
    return at > 0 && text[at - 1] == '.' &&
           (at == 1 || (text[at - 2] != '.' && !isalnum((unsigned char)text[at - 2])));
}

/* Reads the number whose first digit is at text[at]; returns what comes after it. */
static const char *read_number(const char *text, size_t at, char number[MAX_NUMBER])
{
    bool point = is_leading_point(text, at);
    at -= point;
    const char *next = text + at + point;
    size_t sign = at > 0 && text[at - 1] == '$' ? at - 1 : at, used = 0;
    /* "-3" and "-$3"; but not "5-3". */
    if (sign > 0 && text[sign - 1] == '-' && (sign == 1 || !isalnum((unsigned char)text[sign - 2]))) {
        number[used++] = '-';
    }
    if (point) {
        number[used++] = '0';
        number[used++] = '.';
    }
    for (; is_digit(*next) || is_thousands_comma(next) || (*next == '.' && !point && is_digit(next[1]));
         next++) {
        point = point || *next == '.';
        if (*next != ',' && used + 1 < MAX_NUMBER) {
            number[used++] = *next;
        }
    }
    number[used] = '\0';
    simplify_number(number);
    return next;
}

/* The first or the last number of a text; false without one. */
static bool find_number(const char *text, bool last, char number[MAX_NUMBER])
{
    bool found = false;
    for (const char *next = text + strcspn(text, "0123456789"); *next && (last || !found);
         next += strcspn(next, "0123456789")) {
        next = read_number(text, (size_t)(next - text), number);
        found = true;
    }
    return found;
}

void answer_number(const char *text, char number[MAX_NUMBER])
{
    const char *place = strstr(text, mark);
    number[0] = '\0';
    if (!place || !find_number(place + strlen(mark), false, number)) {
        find_number(text, true, number);
    }
}

/* ---- problems ---- */

/* Takes the calculator marks <<...>> out. */
static void strip_marks(char *text)
{
    char *to = text;
    for (const char *from = text; *from;) {
        const char *end = strncmp(from, "<<", 2) == 0 ? strstr(from, ">>") : NULL;
        if (end) {
            from = end + 2;
        } else {
            *to++ = *from++;
        }
    }
    *to = '\0';
}

/* NULL when it is one, else what is wrong with the line. */
static const char *parse_problem(const cJSON *json, struct problem *problem)
{
    const char *question = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "question"));
    const char *answer = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "answer"));
    const char *why = NULL, *place = answer ? strstr(answer, mark) : NULL;
    if (!question || !answer) {
        why = "has no \"question\" and \"answer\" that are strings";
    } else if (!place || !find_number(place + strlen(mark), false, problem->number)) {
        why = "has an answer that does not end in '#### NUMBER'";
    } else {
        problem->question = strdup(question);
        problem->answer = strdup(answer);
        if (!problem->question || !problem->answer) {
            why = "finds no memory";
        } else {
            strip_marks(problem->answer);
        }
    }
    return why;
}

struct reading {
    struct problems *problems;
    int most;
};

/* Adds the problem of a line, unless there are enough already: then it is only checked. */
static const char *add_problem(const cJSON *json, void *context)
{
    const struct reading *reading = context;
    struct problems *problems = reading->problems;
    struct problem problem = {NULL, NULL, ""};
    const char *why = parse_problem(json, &problem);
    bool wanted = !why && problems->n < reading->most;
    struct problem *list =
        wanted ? reallocarray(problems->list, (size_t)problems->n + 1, sizeof *list) : NULL;
    if (list) {
        problems->list = list;
        list[problems->n++] = problem;
        return NULL;
    }
    free(problem.question);
    free(problem.answer);
    return wanted ? "finds no memory" : why;
}

int problems_read(const char *path, int limit, struct problems *problems)
{
    int most = limit > 0 && limit < INT_MAX - N_SHOTS ? N_SHOTS + limit : INT_MAX;
    *problems = (struct problems){NULL, 0};
    int status = json_lines_read("eval", path, "a file with a question and its answer a line", add_problem,
                                 &(struct reading){problems, most});
    if (status != 0) {
        return status;
    }
    if (problems->n <= N_SHOTS) {
        return cli_usage("eval", "%s has %d entries: give at least %d, %d as examples and one to ask.", path,
                         problems->n, N_SHOTS + 1, N_SHOTS);
    }
    return 0;
}

void problems_free(struct problems *problems)
{
    for (int i = 0; i < problems->n; i++) {
        free(problems->list[i].question);
        free(problems->list[i].answer);
    }
    free(problems->list);
    *problems = (struct problems){NULL, 0};
}

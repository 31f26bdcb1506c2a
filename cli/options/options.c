/* Reading arguments by the table of a command. */
#include "options.h"

#include "numbers.h"
#include "output/note.h"

#include <stdio.h>
#include <string.h>

const char *option_name(const char *names, int i, size_t *length)
{
    while (names && i-- > 0) {
        names = strchr(names, ',');
        names = names ? names + 2 : NULL;
    }
    *length = names ? strcspn(names, ",") : 0;
    return names;
}

bool option_has_value(const struct option_row *row)
{
    return row->kind != OPTION_SWITCH && row->kind != OPTION_CHOICE && row->kind != OPTION_HELP &&
           row->kind != OPTION_END && row->kind != OPTION_HEADING && row->kind != OPTION_REFUSED;
}

bool option_is_last(const struct option_row *row)
{
    return !row->names && row->kind != OPTION_HEADING;
}

const char *option_default(const struct option_row *row)
{
    return row->usual ? row->usual : row->unset;
}

/* ---- finding ---- */

/* llama.cpp takes "--ctx_size" for "--ctx-size", and so do we. */
static bool is_same(const char *given, size_t n, const char *name, size_t length)
{
    bool is_long = n > 2 && given[0] == '-' && given[1] == '-';
    bool same = n == length;
    for (size_t i = 0; i < n && same; i++) {
        same = given[i] == name[i] || (is_long && i >= 2 && given[i] == '_' && name[i] == '-');
    }
    return same;
}

static bool is_among(const char *names, const char *given, size_t n)
{
    const char *name;
    size_t length;
    for (int i = 0; (name = option_name(names, i, &length)); i++) {
        if (is_same(given, n, name, length)) {
            return true;
        }
    }
    return false;
}

const struct option_row *option_find(const struct option_row *rows, char *argument, char **value)
{
    char *equals = strncmp(argument, "--", 2) == 0 ? strchr(argument, '=') : NULL;
    size_t n = equals ? (size_t)(equals - argument) : strlen(argument);
    *value = equals ? equals + 1 : NULL;
    for (; !option_is_last(rows); rows++) {
        if (is_among(rows->names, argument, n) || is_among(rows->aliases, argument, n)) {
            return rows;
        }
    }
    return NULL;
}

/* ---- setting ---- */

static bool is_word(const char *words, const char *value)
{
    size_t n = strlen(value);
    while (words && *words) {
        size_t length = strcspn(words, "|");
        if (length == n && strncmp(words, value, n) == 0) {
            return true;
        }
        words += length + (words[length] == '|');
    }
    return false;
}

/* "tada or paper" of "tada|paper". */
static void list_words(const char *words, char *list, size_t size)
{
    size_t used = 0;
    for (; *words && used + 6 < size; words++) {
        if (*words == '|') {
            memcpy(list + used, " or ", 4);
            used += 4;
        } else {
            list[used++] = *words;
        }
    }
    list[used] = '\0';
}

static int set_number(const struct command *command, const struct option_row *row, const char *name,
                      const char *value, int *field)
{
    long long number;
    if (!number_whole(value, row->least, row->most, &number)) {
        return cli_usage(command->name, "%s takes a whole number from %d to %d, not '%s'.", name, row->least,
                         row->most, value);
    }
    if (row->step && number % row->step != 0) {
        return cli_usage(command->name,
                         "%s takes a multiple of %d, as llama.cpp makes no other caches: use "
                         "%lld.",
                         name, row->step, (number / row->step + 1) * row->step);
    }
    *field = (int)number;
    return 0;
}

int option_set(const struct command *command, const struct option_row *row, const char *name, char *value,
               void *values)
{
    void *field = (char *)values + row->field;
    if (row->take) {
        return row->take(command->name, name, value, values);
    }
    if (row->kind == OPTION_SWITCH) {
        *(bool *)field = true;
    } else if (row->kind == OPTION_CHOICE) {
        *(int *)field = row->least;
    } else if (row->kind == OPTION_NUMBER) {
        return set_number(command, row, name, value, field);
    } else if (row->kind == OPTION_WORD && !is_word(row->words, value)) {
        char list[128];
        list_words(row->words, list, sizeof list);
        return cli_usage(command->name, "%s takes %s%s, not '%s'.", name,
                         strchr(row->words, '|') ? "" : "only ", list, value);
    } else if (!*value) { /* of a variable that is not set, mostly */
        return cli_usage(command->name, "%s needs a value, not ''.", name);
    } else {
        *(const char **)field = value;
    }
    return 0;
}

static int set_defaults(const struct command *command, const bool *given, void *values)
{
    int status = 0;
    for (int i = 0; !option_is_last(&command->options[i]); i++) {
        const struct option_row *row = &command->options[i];
        if (row->usual && !given[i] && status == 0) {
            char copy[128];
            /* The field keeps a pointer to the text, which must live as long as the program. */
            bool is_text = row->kind == OPTION_WORD || row->kind == OPTION_TEXT;
            snprintf(copy, sizeof copy, "%s", row->usual);
            status = option_set(command, row, row->names, is_text ? (char *)row->usual : copy, values);
        }
    }
    return status;
}

/* ---- what is wrong ---- */

static void try_names(struct nearest *nearest, const char *names)
{
    const char *name;
    size_t length;
    for (int i = 0; (name = option_name(names, i, &length)); i++) {
        nearest_try(nearest, name, length);
    }
}

struct nearest option_nearest(const struct option_row *rows, const char *wanted)
{
    struct nearest nearest = nearest_to(wanted);
    for (; !option_is_last(rows); rows++) {
        if (!rows->hidden && rows->kind != OPTION_REFUSED) {
            try_names(&nearest, rows->names);
        }
    }
    return nearest;
}

static int unknown(const struct command *command, char *argument)
{
    char *value;
    const struct option_row *other = command->measures ? option_find(llama_options, argument, &value) : NULL;
    int n = (int)strcspn(argument, "=");
    if (other) {
        return cli_usage(command->name, "%.*s is not an option here: %s.", n, argument, other->help);
    }
    char wanted[64];
    snprintf(wanted, sizeof wanted, "%.*s", n, argument);
    if (argument[n] && option_find(command->options, wanted, &value)) {
        return cli_usage(command->name, "write %s and its value apart, not with '='.", wanted);
    }
    for (const struct option_row *row = command->options; !option_is_last(row); row++) {
        /* "-t4", of which getopt would make "-t 4". */
        bool joined = row->names && option_has_value(row) && row->names[1] != '-' && row->names[2] == ',' &&
                      argument[1] == row->names[1] && argument[2] >= '0' && argument[2] <= '9';
        if (joined) {
            return cli_usage(command->name, "unknown option %s; did you mean -%c %s?", argument, argument[1],
                             argument + 2);
        }
    }
    struct nearest nearest = option_nearest(command->options, wanted);
    return *nearest.name
               ? cli_usage(command->name, "unknown option %.*s; did you mean %s?", n, argument, nearest.name)
               : cli_usage(command->name, "unknown option %.*s.", n, argument);
}

static int needs_value(const struct command *command, const struct option_row *row, const char *name)
{
    return row->example
               ? cli_usage(command->name, "%s needs a value, such as %s %s.", name, name, row->example)
               : cli_usage(command->name, "%s needs a value.", name);
}

static int refuse_operand(const struct command *command, const char *argument)
{
    return command->operand_problem && !command->operand
               ? cli_usage(command->name, "'%s' is not expected: %s", argument, command->operand_problem)
           : command->operand
               ? cli_usage(command->name, "%s", command->operand_problem)
               : cli_usage(command->name, "'%s' is not expected: 'tada %s' takes only options.", argument,
                           command->name);
}

/* ---- all arguments ---- */

/* The option at argv[*i], and its value. */
static int read_option(const struct command *command, int argc, char **argv, int *i, void *values,
                       bool *given, bool *helped)
{
    char *name = argv[*i], *value;
    const struct option_row *row = option_find(command->options, name, &value);
    if (!row) {
        return unknown(command, name);
    }
    given[row - command->options] = true;
    if (row->kind == OPTION_REFUSED) {
        return cli_usage(command->name, "%s is not an option here: %s.", name, row->help);
    }
    if (row->kind == OPTION_HELP) {
        help_print(command, stdout);
        *helped = true;
        return 0;
    }
    if (value) {
        value[-1] = '\0'; /* the name alone */
    }
    if (!option_has_value(row)) {
        return value ? cli_usage(command->name, "%s takes no value.", name)
                     : option_set(command, row, name, NULL, values);
    }
    if (!value && *i + 1 >= argc) {
        return needs_value(command, row, name);
    }
    return option_set(command, row, name, value ? value : argv[++*i], values);
}

bool options_parse(const struct command *command, int argc, char **argv, void *values, int *status)
{
    enum { MOST_ROWS = 64 };
    bool given[MOST_ROWS] = {false}, helped = false, ended = false;
    struct operands operands = {argv + 1, 0}; /* in the place of arguments that have been read */
    *status = 0;
    for (int i = 1; i < argc && *status == 0 && !helped; i++) {
        if (!ended && strcmp(argv[i], "--") == 0) {
            ended = true;
        } else if (!ended && argv[i][0] == '-' && argv[i][1]) {
            *status = read_option(command, argc, argv, &i, values, given, &helped);
        } else if (!command->operand || (operands.n > 0 && !command->operands) || !*argv[i]) {
            *status = refuse_operand(command, argv[i]);
        } else {
            operands.at[operands.n++] = argv[i];
        }
    }
    if (*status != 0 || helped) {
        return false;
    }
    if (command->operand && operands.n == 0) {
        *status = cli_usage(command->name, "%s", command->operand_problem);
        return false;
    }
    void *field = (char *)values + command->operand_field;
    if (command->operands) {
        *(struct operands *)field = operands;
    } else if (command->operand) {
        *(const char **)field = operands.at[0];
    }
    *status = set_defaults(command, given, values);
    return *status == 0;
}

/*
 * What a command is: its purpose and its options, in one table. Arguments are read by it (options.c), and its
 * help (help.c), its manual page (manual.c) and its completion (completion.c) are written from it.
 */
#ifndef TADA_CLI_OPTIONS_OPTIONS_H
#define TADA_CLI_OPTIONS_OPTIONS_H

#include "nearest.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum option_kind {
    OPTION_SWITCH, /* bool: true when it is given */
    OPTION_CHOICE, /* int: `least` when it is given */
    OPTION_TEXT,   /* const char * */
    OPTION_FILE,   /* the same, a path */
    OPTION_FOLDER, /* the same */
    OPTION_WORD,   /* the same, one of `words` */
    OPTION_CACHE,  /* the same, a cache spec: checked by the command */
    OPTION_CACHES, /* specs of a list: `take` checks them */
    OPTION_NUMBER, /* int: from `least` to `most`, a multiple of `step` */
    OPTION_TAKEN,  /* anything else: by `take` */
    OPTION_HELP,
    OPTION_END,     /* "--": other arguments than options follow */
    OPTION_HEADING, /* no option: `help` stands above those that follow */
    OPTION_REFUSED, /* of llama.cpp's tools: `help` is a sentence that says what to do instead */
};

struct option_row {
    const char *names;   /* as the help shows them, short ones first: "-c, --ctx-size"; NULL: the last row */
    const char *aliases; /* further ones, which it does not show; NULL: none */
    const char *value;   /* what the help calls the value: "N" */
    const char *help;    /* without its default and without a full stop */
    const char *usual;   /* the value that it has when it is not given, as one would write it */
    const char *unset;   /* or what then happens, in words */
    const char *example; /* of a value, for who forgets it */
    const char *words;   /* "tada|paper" */
    int (*take)(const char *command, const char *name, char *value, void *values); /* returns exit status */
    size_t field;                                                                  /* in the values */
    enum option_kind kind;
    int least, most, step;
    bool in_usage; /* the first line of the help shows it */
    bool or_next;  /* it and the next one there exclude each other */
    bool hidden;   /* neither help nor manual nor completion know it */
    bool passes;   /* checked here, and given to the tool that the command starts */
};

/* Of a command that takes several: they are among its arguments. */
struct operands {
    char **at;
    int n;
};

struct command {
    const char *name, *summary;
    const char *about; /* what the help says before the options, and after them; see help_text */
    const char *notes;
    const struct option_row *options;
    const char *operand;         /* what it takes beside options: "FILE", or "FILE..."; NULL: nothing */
    size_t operand_field;        /* of a const char *, or of struct operands where several are taken */
    bool operands;               /* several */
    const char *operand_problem; /* what is said when it is missing, or too many or unexpected */
    const char *passes_to;       /* what it starts with all other arguments: "LLAMA_ARGS..."; NULL: nothing */
    bool measures;               /* it looks at a model: options of llama.cpp are told apart from nonsense */
    int (*run)(const struct command *self, int argc, char **argv); /* argv[0]: the name */
};

/* Reads all arguments, and sets what is not given to the defaults. False: it is done, as the help was asked
 * for or something is wrong, and *status is the exit status. */
bool options_parse(const struct command *command, int argc, char **argv, void *values, int *status);

/* The row that "--name" or "--name=value" names; *value: what stands there, or NULL. NULL: none. */
const struct option_row *option_find(const struct option_row *rows, char *argument, char **value);
/* Which of the options that are shown was most likely meant by a name. */
struct nearest option_nearest(const struct option_row *rows, const char *wanted);
/* Sets its field to a value, which the default may be made of, too: it need not live on. `name`: as it was
 * given. Prints what is wrong and returns an exit status. */
int option_set(const struct command *command, const struct option_row *row, const char *name, char *value,
               void *values);
bool option_is_last(const struct option_row *row); /* the end of a table, and no row */
bool option_has_value(const struct option_row *row);
/* Name i of a row as the help shows them, with its length; NULL: there are fewer. */
const char *option_name(const char *names, int i, size_t *length);
/* What stands after "default: "; NULL: nothing. */
const char *option_default(const struct option_row *row);

/* Options of llama.cpp that people try here; ended by a row without names. */
extern const struct option_row llama_options[];

/* help.c */
void help_print(const struct command *command, FILE *stream);
/* "[-m MODEL] [OPTIONS...]": the arguments after the name of the command, in the form of the help. */
void help_usage(const struct command *command, FILE *stream, int indent);
/*
 * Fills lines of 80 columns. Paragraphs are divided by empty lines; lines that begin with two blanks stay as
 * they are; lines with a tab are a list of terms and what they mean.
 */
void help_text(const char *text, FILE *stream);

/* manual.c: the manual page of a command, whose source lacks synopsis and options. */
int manual_write(const struct command *command, FILE *source, FILE *stream);

/* completion.c: a script that completes arguments. False: there is none for this shell. */
bool completion_write(const char *shell, const struct command *const *commands, int n, FILE *stream);

#endif

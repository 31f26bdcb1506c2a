/* Rows that the tables of several commands have. FIELD(member) is the command's own: where its values are. */
#ifndef TADA_CLI_OPTIONS_ROWS_H
#define TADA_CLI_OPTIONS_ROWS_H

#include "arguments.h"
#include "options.h"

#define ROW_HELP                                                                                             \
    {                                                                                                        \
        .names = "-h, --help", .kind = OPTION_HELP, .help = "print this help and exit"                       \
    }
#define ROW_MODEL(member)                                                                                    \
    {                                                                                                        \
        .names = "-m, --model", .value = "MODEL", .help = "GGUF file", .unset = MODEL_UNSET, FIELD(member),  \
        .kind = OPTION_FILE, .in_usage = true                                                                \
    }
#define ROW_TEXT(member, purpose)                                                                            \
    {                                                                                                        \
        .names = "-f, --file", .value = "TEXT", .help = purpose,                                             \
        .unset = "text that the model writes itself", FIELD(member), .kind = OPTION_FILE, .in_usage = true   \
    }
/* take: as in struct option_row. */
#define ROW_CACHES(taken)                                                                                    \
    {                                                                                                        \
        .names = "--cache", .value = "SPEC,...", .help = "caches, as in 'tada help run'; may be repeated",   \
        .usual = "q8_0,q4_0,tada", .kind = OPTION_CACHES, .take = taken, .in_usage = true                    \
    }
#define ROW_THREADS(member, otherwise)                                                                       \
    {                                                                                                        \
        .names = "-t, --threads", .value = "N", .help = "threads", .unset = otherwise, FIELD(member),        \
        .kind = OPTION_NUMBER, .least = 1, .most = MAX_THREADS                                               \
    }
/* A context in steps of llama.cpp's. */
#define ROW_CONTEXT(member, meaning, from, to, by)                                                           \
    {                                                                                                        \
        .names = "-c, --ctx-size", .value = "N", .help = meaning, .usual = "4096", FIELD(member),            \
        .kind = OPTION_NUMBER, .least = (from), .most = (to), .step = (by)                                   \
    }
#define ROW_SEED(taken, purpose)                                                                             \
    {                                                                                                        \
        .names = "-s, --seed", .value = "N", .help = purpose, .usual = "1", .kind = OPTION_TAKEN,            \
        .take = taken                                                                                        \
    }
#define ROW_JSON(member)                                                                                     \
    {                                                                                                        \
        .names = "--json", .value = "FILE",                                                                  \
        .help = "write the results to a file; -: to standard output, in place of the table", FIELD(member),  \
        .kind = OPTION_FILE                                                                                  \
    }
#define ROW_FORCE(member, what)                                                                              \
    {                                                                                                        \
        .names = "--force", .help = "replace " what " there already", FIELD(member), .kind = OPTION_SWITCH   \
    }

#endif

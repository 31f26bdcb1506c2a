/* The commands of tada. */
#ifndef TADA_CLI_COMMANDS_H
#define TADA_CLI_COMMANDS_H

#include "options/options.h"

/* The commands, each with the table of its options. */
extern const struct command run_command, serve_command, rpc_command, pack_command, unpack_command,
    doctor_command;
/* Only in a build with llama.cpp's headers; only in one with cJSON. */
extern const struct command calibrate_command, eval_command, bench_command, size_command, verdict_command;
extern const struct command inspect_command;

#endif

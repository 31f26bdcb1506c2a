/* The commands of tada. */
#ifndef TADA_CLI_COMMANDS_H
#define TADA_CLI_COMMANDS_H

#include "options/options.h"

/* The commands, each with the table of its options; the second row only in a build with llama.cpp's headers.
 */
extern const struct command run_command, serve_command, rpc_command, pack_command, unpack_command,
    doctor_command;
extern const struct command calibrate_command, inspect_command, eval_command, bench_command, size_command,
    verdict_command;

#endif

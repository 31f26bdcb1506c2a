/* tada rpc */
#include "launch.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char rpc_help[] =
    "usage: tada rpc [--cache SPEC] [--] [RPC_ARGS...]\n"
    "\n"
    "Starts the RPC server of llama.cpp (ggml-rpc-server) with the TaDA cache: a llama.cpp elsewhere gives "
    "it\n"
    "layers of a model, and it keeps the keys and values of these layers compressed, in its own memory.\n"
    "Other arguments go to it unchanged. Never open it to a network that you do not trust.\n"
    "\n"
    "options:\n"
    "  --cache SPEC    how to keep keys and values (default: $TADA_CACHE, else tada); see 'tada help run'.\n"
    "                  For a type of llama.cpp give the client -ctk and -ctv instead.\n"
    "  -H, --host HOST address to listen at (default: 127.0.0.1)\n"
    "  -p, --port PORT (default: 50052)\n"
    "  -t, --threads N (default: half of the processors)\n"
    "  --              what follows goes to ggml-rpc-server even if it looks like an option of tada\n"
    "  -h, --help      print this help; for that of ggml-rpc-server: tada rpc -- --help\n"
    "\n"
    "example, on two hosts and a third one:\n"
    "  tada rpc --host 192.168.1.11 -p 50052\n"
    "  tada rpc --host 192.168.1.12 -p 50052\n"
    "  tada run --cache f16 -- --rpc 192.168.1.11:50052,192.168.1.12:50052 -m model.gguf -c 65536 -fit off\n"
    "\n"
    "The cache of the client is for layers that stay there; all of them go to the servers here.\n";

int rpc_main(const struct command *self, int argc, char **argv)
{
    struct launch launch = {.self = self};
    const struct launch_option options[] = {{0}};
    char device[] = "-d", name[] = "TADA";
    char **arguments = calloc((size_t)argc + 3, sizeof *arguments);
    if (!arguments) {
        return cli_fail("Memory is short: close other programs and try again.");
    }
    /* By its name, so that the server does not start with another device where the plug-in does not fit. */
    arguments[0] = argv[0];
    arguments[1] = device;
    arguments[2] = name;
    memcpy(arguments + 3, argv + 1, (size_t)(argc - 1) * sizeof *argv);
    int status = launch_parse(&launch, options, argc + 2, arguments);
    if (status == 0 && launch.help) {
        fputs(self->help, stdout);
    } else if (status == 0) {
        status = launch_find(&launch, "ggml-rpc-server");
        if (status == 0 && launch.spec.stock) {
            status =
                cli_usage(self->name,
                          "'%s' is a type of llama.cpp: start ggml-rpc-server itself, and give its client "
                          "-ctk and -ctv.",
                          launch.cache);
        } else if (status == 0 && setenv("TADA_DEVICE", "all", 1) != 0) {
            status = cli_fail("The environment could not be set: free some memory and try again.");
        } else if (status == 0) {
            launch.model.path[0] = '\0'; /* the client has it */
            /* Else the server ends when it answers a client that is gone. */
            signal(SIGPIPE, SIG_IGN);
            status = launch_start(&launch);
        }
    }
    launch_free(&launch);
    free(arguments);
    return status;
}

/* tada rpc */
#include "arguments.h"
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

/* Of a port that is no number, ggml-rpc-server dies with a backtrace. */
static int check_ports(const struct launch *launch)
{
    static const char *const names[] = {"-p", "--port", NULL};
    int status = 0;
    for (int i = 0; i + 1 < launch->n_pass && status == 0; i++) {
        if (equals_any(launch->pass[i], names)) {
            int port = 0;
            status = take_int(launch->self->name, "--port", launch->pass[++i], 1, 65535, &port);
        }
    }
    return status;
}

/* The server would go on without compression, and its clients would not know. */
static int check_fit(const struct launch *launch)
{
    struct host host;
    host_probe(launch->tool.path, launch->plugin.path, &host);
    if (host.fits || !*host.ggml || !*host.built_for) {
        return 0; /* what is not known the server will say */
    }
    return cli_fail("%s has %s, the plug-in was built for %s: run 'tada doctor' to see what to do.",
                    launch->tool.path, host.ggml, host.built_for);
}

static int start(struct launch *launch)
{
    int status = check_ports(launch);
    status = status == 0 ? launch_find(launch, "ggml-rpc-server") : status;
    if (status == 0 && launch->spec.stock) {
        return cli_usage(launch->self->name,
                         "'%s' is a type of llama.cpp: start ggml-rpc-server itself, and give its client "
                         "-ctk and -ctv.",
                         launch->cache);
    }
    status = status == 0 ? check_fit(launch) : status;
    if (status != 0) {
        return status;
    }
    if (setenv("TADA_RPC", "1", 1) != 0) { /* tensors come without names */
        return cli_fail("The environment could not be set: free some memory and try again.");
    }
    launch->model.path[0] = '\0'; /* the client has it */
    /* Else the server ends when it answers a client that is gone. */
    signal(SIGPIPE, SIG_IGN);
    return launch_start(launch);
}

int rpc_main(const struct command *self, int argc, char **argv)
{
    struct launch launch = {.self = self};
    const struct launch_option options[] = {{0}};
    char device[] = "-d", name[] = "CPU";
    char **arguments = calloc((size_t)argc + 3, sizeof *arguments);
    if (!arguments) {
        return cli_fail("Memory is short: close other programs and try again.");
    }
    /* A GPU would keep its part of the cache uncompressed. */
    arguments[0] = argv[0];
    arguments[1] = device;
    arguments[2] = name;
    memcpy(arguments + 3, argv + 1, (size_t)(argc - 1) * sizeof *argv);
    int status = launch_parse(&launch, options, argc + 2, arguments);
    if (status == 0 && launch.help) {
        fputs(self->help, stdout);
    } else if (status == 0) {
        status = start(&launch);
    }
    launch_free(&launch);
    free(arguments);
    return status;
}

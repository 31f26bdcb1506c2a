/* tada rpc */
#include "commands.h"
#include "find/host.h"
#include "launch/launch.h"
#include "options/arguments.h"
#include "options/options.h"
#include "output/note.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int rpc_main(const struct command *self, int argc, char **argv);

/* Of values that are no numbers ggml-rpc-server dies with a backtrace: they are checked here. */
struct request {
    struct launch launch;
    const char *host;
    int port, n_threads;
};

static const struct option_row options[] = {
    LAUNCH_CACHE(
        "how to keep keys and values, see 'tada help run'; for a type of llama.cpp give the client -ctk "
        "and -ctv instead",
        "$TADA_CACHE, else tada"),
    {.names = "-H, --host",
     .value = "HOST",
     .help = "address to listen at",
     .unset = "127.0.0.1",
     .example = "127.0.0.1",
     .field = offsetof(struct request, host),
     .kind = OPTION_TEXT,
     .passes = true},
    {.names = "-p, --port",
     .value = "PORT",
     .help = "port to listen at",
     .unset = "50052",
     .example = "50052",
     .field = offsetof(struct request, port),
     .kind = OPTION_NUMBER,
     .least = 1,
     .most = 65535,
     .passes = true},
    {.names = "-t, --threads",
     .value = "N",
     .help = "threads",
     .unset = "half of the processors",
     .example = "4",
     .field = offsetof(struct request, n_threads),
     .kind = OPTION_NUMBER,
     .least = 1,
     .most = MAX_THREADS,
     .passes = true},
    LAUNCH_END("ggml-rpc-server"),
    LAUNCH_HELP("ggml-rpc-server", "rpc"),
    {0},
};

const struct command rpc_command = {
    .name = "rpc",
    .summary = "lend memory and processors to a llama.cpp elsewhere",
    .about =
        "Starts the RPC server of llama.cpp (ggml-rpc-server) with the TaDA cache: a llama.cpp elsewhere "
        "gives "
        "it layers of a model, and it keeps the keys and values of these layers compressed, in its own "
        "memory. Other arguments go to it unchanged. Never open it to a network that you do not trust.\n",
    .options = options,
    .passes_to = "RPC_ARGS",
    .notes = "example, on two hosts and a third one:\n"
             "  tada rpc --host 192.168.1.11 -p 50052\n"
             "  tada rpc --host 192.168.1.12 -p 50052\n"
             "  tada run --cache f16 -- --rpc 192.168.1.11:50052,192.168.1.12:50052 \\\n"
             "      -m model.gguf -c 65536 -fit off\n"
             "\n"
             "The client keeps no layers in this example, so it needs no compressed cache.\n",
    .run = rpc_main,
};

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
    int status = launch_find(launch, "ggml-rpc-server");
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

static int rpc_main(const struct command *self, int argc, char **argv)
{
    struct request request = {.launch = {.self = self}};
    struct launch *launch = &request.launch;
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
    int status = launch_parse(launch, argc + 2, arguments);
    if (status == 0 && launch->help) {
        help_print(self, stdout);
    } else if (status == 0) {
        status = start(launch);
    }
    launch_free(launch);
    free(arguments);
    return status;
}

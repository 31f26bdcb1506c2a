/* tada serve */
#include "launch.h"

#include <stdio.h>

const char serve_help[] =
    "usage: tada serve [--cache SPEC] [--] [LLAMA_ARGS...]\n"
    "\n"
    "Starts llama-server with the TaDA cache. Other arguments go to it unchanged. Without a model\n"
    "among them, the one that the TaDA build fetched is used, if it is there.\n"
    "\n"
    "options:\n"
    "  --cache SPEC  how to keep keys and values (default: $TADA_CACHE, else tada); see 'tada help run'\n"
    "  --            what follows goes to llama-server even if it looks like an option of tada\n"
    "  -h, --help    print this help; for that of llama-server: tada serve -- --help\n"
    "\n"
    "examples:\n"
    "  tada serve -m model.gguf -c 65536 --parallel 8\n"
    "  tada serve --cache tada:4/3 -m model.gguf --port 8081\n";

int serve_main(const struct command *self, int argc, char **argv)
{
    struct launch launch = {.self = self};
    const struct launch_option options[] = {{0}};
    int status = launch_parse(&launch, options, argc, argv);
    if (status == 0 && launch.help) {
        fputs(self->help, stdout);
    } else if (status == 0) {
        status = launch_find(&launch, "llama-server");
        status = status == 0 ? launch_start(&launch) : status;
    }
    launch_free(&launch);
    return status;
}

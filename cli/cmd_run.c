/* tada run */
#include "launch.h"
#ifdef TADA_MEASURES
#include "model_file.h"
#include "plans.h"
#include "server_options.h"
#endif

#include <stdio.h>
#include <string.h>

const char run_help[] =
    "usage: tada run [--cache SPEC] [--tool NAME] [--] [LLAMA_ARGS...]\n"
    "\n"
    "Starts llama-cli with the TaDA cache. Other arguments go to it unchanged; they may stand before\n"
    "or after those of tada. Without a model among them, the one that the TaDA build fetched is\n"
    "used, if it is there.\n"
    "\n"
    "options:\n"
    "  --cache SPEC  how to keep keys and values (default: $TADA_CACHE, else tada)\n"
    "                  tada               27 % of f16 (also tada:balanced)\n"
    "                  tada:high          37 %: nearly exact\n"
    "                  tada:compact       24 %\n"
    "                  tada:4, tada:3.5/3 bits of both, or of keys/values: 2, 3, 4, 5, 6, 8, 16,\n"
    "                                     of keys also quarters in between\n"
    "                  tada:paper         the method as published; kivi:2, kivi:4: that of KIVI\n"
    "                  tada:@FILE         a plan of this model: each layer its own (see 'tada help "
    "inspect')\n"
    "                  f16, q8_0/q4_0     a cache type of llama.cpp (keys/values), without TaDA\n"
    "                options may follow: tada:window=256:v.bits=4 (see the README)\n"
    "  --tool NAME   llama.cpp tool to start, such as completion, bench or perplexity (default:\n"
    "                cli; completion when -no-cnv is given)\n"
    "  --            what follows goes to llama.cpp even if it looks like an option of tada\n"
    "  -h, --help    print this help; for that of llama.cpp: tada run -- --help\n"
    "\n"
    "examples:\n"
    "  tada run -m model.gguf -c 32768\n"
    "  tada run --cache tada:3 -hf ggml-org/gemma-3-4b-it-GGUF\n"
    "  tada run --tool perplexity -m model.gguf -f text.txt\n"
    "\n"
    "With a GPU, layers that llama.cpp puts there keep an uncompressed cache; -nkvo keeps it in RAM,\n"
    "compressed.\n"
    "\n"
    "The tools are looked for in $TADA_LLAMA_BIN if set, else beside tada, else in PATH; the plug-in at\n"
    "$TADA_PLUGIN if set, else beside tada, else in ../lib. 'tada doctor' tells what is found.\n";

/* Full name of the tool: "completion" and "llama-completion" are the same. */
static bool name_tool(const struct launch *launch, const char *chosen, char *name, size_t size)
{
    static const char *const no_chat[] = {"-no-cnv", "--no-conversation", NULL};
    const char *tool = chosen ? chosen : "llama-cli";
    /* llama-cli only chats, and sends those who do not want to to llama-completion. */
    for (int i = 0; !chosen && i < launch->n_pass; i++) {
        if (equals_any(launch->pass[i], no_chat)) {
            tool = "llama-completion";
        }
    }
    int length = snprintf(name, size, "%s%s", strncmp(tool, "llama-", 6) == 0 ? "" : "llama-", tool);
    return *tool && !strchr(tool, '/') && length > 0 && (size_t)length < size;
}

/* A plan for another model, of which the tool would only warn: EXIT_USAGE. */
static int check_plan(const struct launch *launch)
{
    int status = 0;
#ifdef TADA_MEASURES
    struct server_options options;
    struct model_file model = {0};
    tada_plan *plan = NULL;
    server_options_read(&options, launch->pass, launch->n_pass);
    const char *path = *launch->model.path ? launch->model.path : options.model;
    if (launch->spec.plan && path && !options.remote && model_file_read(launch->tool.path, path, &model)) {
        status = plan_read_for(launch->tool.path, launch->plugin.path, tada_spec_plan_path(launch->cache),
                               &model, &plan);
    }
    tada_plan_free(plan);
    model_file_free(&model);
#else
    (void)launch;
#endif
    return status;
}

int run_main(const struct command *self, int argc, char **argv)
{
    const char *chosen = NULL;
    char tool[64];
    struct launch launch = {.self = self};
    const struct launch_option options[] = {{"--tool", "completion", &chosen}, {0}};
    int status = launch_parse(&launch, options, argc, argv);
    if (status == 0 && launch.help) {
        fputs(self->help, stdout);
    } else if (status == 0 && !name_tool(&launch, chosen, tool, sizeof tool)) {
        status = cli_usage(self->name,
                           "'%s' is not the name of a llama.cpp tool: use one such as cli, completion or "
                           "bench.",
                           chosen);
    } else if (status == 0) {
        status = launch_find(&launch, tool);
        status = status == 0 ? check_plan(&launch) : status;
        status = status == 0 ? launch_start(&launch) : status;
    }
    launch_free(&launch);
    return status;
}

/* tada run */
#include "commands.h"
#include "launch/launch.h"
#include "options/options.h"
#include "output/note.h"
#ifdef TADA_MEASURES
#include "engine/model_file.h"
#include "engine/plans.h"
#include "launch/look.h"
#endif

#include <stdio.h>
#include <string.h>

static int run_main(const struct command *self, int argc, char **argv);

struct request {
    struct launch launch;
    const char *tool; /* NULL: not chosen */
};

static const struct option_row options[] = {
    LAUNCH_CACHE("how to keep keys and values", "$TADA_CACHE, else tada"),
    {.names = "--tool",
     .value = "NAME",
     .help = "llama.cpp tool to start, such as completion, bench or perplexity",
     .unset = "cli; completion when -no-cnv is given",
     .example = "completion",
     .field = offsetof(struct request, tool),
     .kind = OPTION_TEXT,
     .in_usage = true},
    LAUNCH_END("llama.cpp"),
    LAUNCH_HELP("llama.cpp", "run"),
    {0},
};

const struct command run_command = {
    .name = "run",
    .summary = "talk to a model or complete a text, with llama-cli",
    .about =
        "Starts llama-cli with the TaDA cache. Other arguments go to it unchanged, before or after those of "
        "tada. Without a model, that of 'make demo' is used, if it is there. Before it starts, one line on "
        "stderr says what the cache saves.\n",
    .options = options,
    .passes_to = "LLAMA_ARGS",
    .notes =
        "cache specs:\n"
        "  tada\ta quarter of the memory of f16: the default (also tada:balanced)\n"
        "  tada:high\tmore than a third: nearly exact\n"
        "  tada:compact\tless than a quarter\n"
        "  tada:4, tada:3.5/3\tbits of both, or of keys/values: 2, 3, 4, 5, 6, 8, 16, of keys also quarters "
        "in "
        "between\n"
        "  tada:paper\tthe method as published; kivi:2, kivi:4: that of KIVI\n"
        "  tada:@FILE\ta plan of this model: each layer its own (see 'tada help inspect')\n"
        "  f16, q8_0/q4_0\ta cache type of llama.cpp (keys/values), without TaDA\n"
        "Options may follow: tada:window=256:v.bits=4 (see tada-spec(7)).\n"
        "\n"
        "examples:\n"
        "  tada run -m model.gguf -c 32768\n"
        "  tada run --cache tada:3 -hf ggml-org/gemma-3-4b-it-GGUF\n"
        "  tada run --tool perplexity -m model.gguf -f text.txt\n"
        "\n"
        "With a GPU, layers that llama.cpp puts there keep an uncompressed cache; -nkvo keeps it in RAM, "
        "compressed.\n"
        "\n"
        "The tools are looked for in $TADA_LLAMA_BIN if set, else beside tada, else in PATH; the plug-in at "
        "$TADA_PLUGIN if set, else beside tada or in the libraries of its installation. 'tada doctor' tells "
        "what "
        "is found.\n",
    .run = run_main,
};

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

#ifdef TADA_MEASURES
/* One line. Of a tool that makes its context in another way only the name of the cache is known. */
static void say_what_is_saved(const struct launch *launch, const char *tool, const struct server_cache *cache,
                              const struct outlook *outlook)
{
    static const char *const known[] = {"llama-cli", "llama-completion", NULL};
    if (!equals_any(tool, known) || outlook->bytes >= outlook->f16) {
        cli_note("the cache is %s.", SHOWN(launch->cache));
        return;
    }
    const char *at_most = cache->at_most ? "at most " : "";
    cli_note("cache %s, context %s%lld: %s%.1f MiB instead of %.1f MiB in f16, %.0f %% saved",
             SHOWN(launch->cache), at_most, cache->cells, at_most, outlook->bytes / 1048576,
             outlook->f16 / 1048576, 100 * (1 - outlook->bytes / outlook->f16));
}
#endif

/* A plan for another model, of which the tool would only warn: EXIT_USAGE. Else says what is saved, and what
 * of the cache is not compressed. */
static int look(const struct launch *launch, const char *tool)
{
    int status = 0;
#ifdef TADA_MEASURES
    struct server_options given;
    struct server_cache cache;
    struct model_file model = {0};
    struct outlook outlook;
    tada_plan *plan = NULL;
    server_options_read(&given, launch->pass, launch->n_pass);
    const char *path = launch_model(launch, &given);
    bool is_known = path && !launch->spec.stock && model_file_read(launch->tool.path, path, &model);
    if (is_known && launch->spec.plan) {
        status = plan_read_for(tada_spec_plan_path(launch->cache), &model, &plan);
    }
    if (status == 0) {
        given.parallel = "1";
        server_options_cache(&given, model.n_ctx_train, &cache);
        is_known = is_known && launch_look(launch, &given, &cache, path, &outlook);
        if (is_known && server_options_compress(&given)) {
            say_what_is_saved(launch, tool, &cache, &outlook);
        }
        launch_tell(launch, &given, is_known ? &outlook : NULL);
    }
    tada_plan_free(plan);
    model_file_free(&model);
#else
    (void)launch;
    (void)tool;
#endif
    return status;
}

static int run_main(const struct command *self, int argc, char **argv)
{
    char tool[64];
    struct request request = {.launch = {.self = self}};
    struct launch *launch = &request.launch;
    int status = launch_parse(launch, argc, argv);
    if (status == 0 && launch->help) {
        help_print(self, stdout);
    } else if (status == 0 && !name_tool(launch, request.tool, tool, sizeof tool)) {
        status = cli_usage(self->name,
                           "'%s' is not the name of a llama.cpp tool: use one such as cli, completion or "
                           "bench.",
                           request.tool);
    } else if (status == 0) {
        status = launch_find(launch, tool);
        status = status == 0 ? look(launch, tool) : status;
        status = status == 0 ? launch_start(launch) : status;
    }
    launch_free(launch);
    return status;
}

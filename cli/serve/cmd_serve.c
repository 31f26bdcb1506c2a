/* tada serve */
#include "commands.h"
#include "find/paths.h"
#include "options/arguments.h"
#include "options/options.h"
#include "output/note.h"
#include "serve.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int serve_main(const struct command *self, int argc, char **argv);

static int take_budget(const char *command, const char *name, char *value, void *values)
{
    struct serve *serve = values;
    return take_share(command, name, value, &serve->budget);
}

static const struct option_row options[] = {
    LAUNCH_CACHE("how to keep keys and values (see 'tada help run')", NULL),
    {.names = "--plans",
     .value = "DIR",
     .help = "folder of plans",
     .unset = "$TADA_PLANS, else $XDG_DATA_HOME/tada/plans, else ~/.local/share/tada/plans",
     .example = "plans",
     .field = offsetof(struct serve, plans),
     .kind = OPTION_FOLDER,
     .in_usage = true},
    {.names = "--budget",
     .value = "PERCENT",
     .help = "of the memory of an f16 cache: plans that keep more are left aside",
     .example = "27%",
     .kind = OPTION_TAKEN,
     .take = take_budget,
     .in_usage = true},
    LAUNCH_END("llama-server"),
    LAUNCH_HELP("llama-server", "serve"),
    {0},
};

const struct command serve_command = {
    .name = "serve",
    .summary = "serve a model over HTTP, with llama-server",
    .about =
        "Starts llama-server with the TaDA cache. Other arguments go to it unchanged. Without a model among "
        "them, "
        "the one that the TaDA build fetched is used, if it is there. Before it starts, one line says what "
        "the "
        "cache will be, and others what of the arguments or of the model leaves it uncompressed. With a GPU, "
        "layers that llama.cpp puts there keep an uncompressed cache; -nkvo keeps it in RAM, compressed.\n"
        "\n"
        "Without --cache and $TADA_CACHE, the plan that belongs to the model is used, if there is one in the "
        "folder of plans, where 'tada calibrate' puts them; else the cache is tada. Of several plans it is "
        "the "
        "one with the least KL divergence.\n"
        "\n"
        "The sessions that llama-server saves in --slot-save-path are packed there to the size of the cache, "
        "and "
        "unpacked when they are restored; those of a stock llama-server can be restored, too. Prompts that "
        "it "
        "keeps in memory (--cache-ram) are kept as codes of the cache.\n",
    .options = options,
    .passes_to = "LLAMA_ARGS",
    .notes = "examples:\n"
             "  tada serve -m model.gguf -c 65536 --parallel 8\n"
             "  tada serve --cache tada:4/3 -m model.gguf --slot-save-path sessions\n",
    .run = serve_main,
};

/* ---- what cannot be meant ---- */

/* Returns an exit status. */
static int check_server_options(const struct serve *serve)
{
    const struct server_options *server = &serve->server;
    if (server->models && serve->launch.spec.plan) {
        return cli_usage("serve",
                         "A plan is for one model, and a router has many: use a cache such as --cache tada.");
    }
    return 0;
}

/* ---- sessions ---- */

/* Our library comes before those that the user loads. */
static bool preload(const char *library)
{
    const char *others = environment("LD_PRELOAD");
    char *list = NULL;
    if (asprintf(&list, "%s%s%s", library, others ? ":" : "", others ? others : "") < 0) {
        return false;
    }
    bool done = setenv("LD_PRELOAD", list, 1) == 0;
    free(list);
    return done;
}

/* The loader splits its list at blanks and colons. A file that has them in its path goes there by its number,
 * and stays open for the server. */
static bool make_loadable(struct place *library)
{
    if (!strpbrk(library->path, ": ")) {
        return true;
    }
    int file = open(library->path, O_RDONLY);
    return file >= 0 && snprintf(library->path, sizeof library->path, "/proc/self/fd/%d", file) > 0;
}

static bool set_for_library(const struct serve *serve, const char *folder, bool prompts)
{
    return (!folder || setenv("TADA_SESSIONS", folder, 1) == 0) &&
           (!prompts || setenv("TADA_PROMPTS", "1", 1) == 0) &&
           (!serve->server.models || setenv("TADA_SESSIONS_INHERIT", "1", 1) == 0);
}

/* Saved slots are packed, and prompts that the server keeps in memory are kept as the cache's own codes. */
static void keep_packed(const struct serve *serve)
{
    struct place library;
    struct stat status;
    char folder[PATH_MAX];
    bool prompts = !serve->launch.spec.stock;
    /* Where it is no folder, llama-server says so. */
    bool sessions = serve->server.sessions && realpath(serve->server.sessions, folder) &&
                    stat(folder, &status) == 0 && S_ISDIR(status.st_mode);
    if (!sessions && !prompts) {
        return;
    }
    if (!find_sessions_library(&library)) {
        cli_note("saved sessions and prompts are not packed: %s", library.why);
    } else if (!make_loadable(&library)) {
        cli_note("saved sessions and prompts are not packed: %s cannot be read.", library.path);
    } else if (!set_for_library(serve, sessions ? folder : NULL, prompts) || !preload(library.path)) {
        cli_note("saved sessions and prompts are not packed: memory is short.");
    }
}

/* ---- the command ---- */

static int check_plans(const struct serve *serve)
{
    struct stat status;
    if (serve->plans && (stat(serve->plans, &status) != 0 || !S_ISDIR(status.st_mode))) {
        return cli_usage("serve", "%s is not a folder: give one with --plans.", serve->plans);
    }
    return 0;
}

static int start(struct serve *serve)
{
    bool asked = serve->launch.cache || environment("TADA_CACHE");
    int status = launch_find(&serve->launch, "llama-server");
    if (status != 0) {
        return status;
    }
    server_options_read(&serve->server, serve->launch.pass, serve->launch.n_pass);
#ifdef TADA_MEASURES
    status = serve_look(serve, asked);
#else
    struct server_cache cache;
    (void)asked;
    server_options_cache(&serve->server, 0, &cache);
    serve_summarise(serve, &cache, &(struct serve_memory){.bytes = 0}, &(struct found_plan){.plan = NULL});
    if (!serve->launch.spec.stock) {
        server_options_tell(&serve->server);
    }
#endif
    if (status == 0 && !serve->launch.spec.stock) {
        status = check_server_options(serve);
    }
    if (status != 0) {
        return status;
    }
    cli_note("%s", serve->summary);
    keep_packed(serve);
    return launch_start(&serve->launch);
}

static int serve_main(const struct command *self, int argc, char **argv)
{
    struct serve *serve = calloc(1, sizeof *serve);
    if (!serve) {
        return cli_fail("Memory is short: close other programs and try again.");
    }
    serve->launch.self = self;
    serve->budget = 1;
    int status = launch_parse(&serve->launch, argc, argv);
    if (status == 0 && serve->launch.help) {
        help_print(self, stdout);
    } else if (status == 0) {
        status = check_plans(serve);
        status = status == 0 ? start(serve) : status;
    }
    launch_free(&serve->launch);
    free(serve);
    return status;
}

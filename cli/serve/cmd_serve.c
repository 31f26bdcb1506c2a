/* tada serve */
#include "commands.h"
#include "find/paths.h"
#include "options/arguments.h"
#include "options/options.h"
#include "output/note.h"
#include "serve.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int serve_main(const struct command *self, int argc, char **argv);

static int take_budget(const char *command, const char *name, char *value, void *values)
{
    struct serve *serve = values;
    return take_share(command, name, value, &serve->budget);
}

/* DIR[,SIZE]: what follows the last comma is the size. */
static int take_prompt_cache(const char *command, const char *name, char *value, void *values)
{
    struct serve *serve = values;
    char *comma = strrchr(value, ',');
    serve->prompt_bytes = 8ull << 30;
    int status = comma ? take_bytes(command, name, comma + 1, &serve->prompt_bytes) : 0;
    free(serve->prompts);
    serve->prompts = strndup(value, comma ? (size_t)(comma - value) : strlen(value));
    return status != 0 || (serve->prompts && *serve->prompts)
               ? status
               : cli_usage(command, "%s takes a folder, such as %s prompts,8G.", name, name);
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
    {.names = "--prompt-cache",
     .value = "DIR[,SIZE]",
     .help = "keep prompts in a folder, which is made if need be, so that they are there after a restart; "
             "the least recently used ones leave when they take more than SIZE",
     .unset = "no folder; SIZE: 8G",
     .example = "prompts,8G",
     .kind = OPTION_TAKEN,
     .take = take_prompt_cache,
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
        "keeps in memory (--cache-ram) are kept as codes of the cache.\n"
        "\n"
        "With --prompt-cache, prompts of at least 256 tokens go to a folder, too, before they leave a slot "
        "and "
        "when the server ends. A request that begins with one of them is computed from where they differ, "
        "also "
        "by a server that was started later with the same model and cache.\n",
    .options = options,
    .passes_to = "LLAMA_ARGS",
    .notes = "examples:\n"
             "  tada serve -m model.gguf -c 65536 --parallel 8\n"
             "  tada serve --cache tada:4/3 -m model.gguf --slot-save-path sessions\n"
             "  tada serve -m model.gguf --prompt-cache ~/.cache/prompts,20G\n",
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

/* ---- prompts ---- */

/* The folder is made, and its path becomes a real one. Files in it become the cache's content: nobody else
 * may put any there. Returns an exit status. */
static int make_prompt_folder(struct serve *serve)
{
    char folder[PATH_MAX];
    struct stat status;
    if (!serve->prompts) {
        return 0;
    }
    if (serve->launch.spec.stock) {
        return cli_usage(
            "serve",
            "--prompt-cache is for caches of TaDA, and %s is llama.cpp's own: leave one of the two "
            "out.",
            serve->launch.cache);
    }
    if (mkdir(serve->prompts, 0700) != 0 && errno != EEXIST) {
        return cli_fail("The folder %s cannot be made (%s): give another one with --prompt-cache.",
                        serve->prompts, strerror(errno));
    }
    if (!realpath(serve->prompts, folder) || stat(folder, &status) != 0 || !S_ISDIR(status.st_mode)) {
        return cli_fail("%s is no folder: give another one with --prompt-cache.", serve->prompts);
    }
    if (access(folder, R_OK | W_OK | X_OK) != 0) {
        return cli_fail("The folder %s cannot be written to (%s): give another one with --prompt-cache.",
                        folder, strerror(errno));
    }
    if (status.st_uid != geteuid() || (status.st_mode & (S_IWGRP | S_IWOTH))) {
        return cli_fail("Others can write to the folder %s, and so change answers: give one of your own with "
                        "--prompt-cache, or take their right away (chmod go-w).",
                        folder);
    }
    free(serve->prompts);
    serve->prompts = strdup(folder);
    return serve->prompts ? 0 : cli_fail("Memory is short: close other programs and try again.");
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
    char bytes[32];
    snprintf(bytes, sizeof bytes, "%llu", (unsigned long long)serve->prompt_bytes);
    return (!folder || setenv("TADA_SESSIONS", folder, 1) == 0) &&
           (!prompts || setenv("TADA_PROMPTS", "1", 1) == 0) &&
           (!serve->prompts || (setenv("TADA_PROMPT_CACHE", serve->prompts, 1) == 0 &&
                                setenv("TADA_PROMPT_CACHE_SIZE", bytes, 1) == 0)) &&
           (!serve->server.models || setenv("TADA_SESSIONS_INHERIT", "1", 1) == 0);
}

/* Saved slots are packed, and prompts that the server keeps in memory are kept as the cache's own codes; and
 * stored, where that was asked for: without that nothing is started. Returns an exit status. */
static int keep_packed(const struct serve *serve)
{
    struct place library;
    struct stat status;
    char folder[PATH_MAX];
    bool prompts = !serve->launch.spec.stock;
    /* Where it is no folder, llama-server says so. */
    bool sessions = serve->server.sessions && realpath(serve->server.sessions, folder) &&
                    stat(folder, &status) == 0 && S_ISDIR(status.st_mode);
    const char *lost =
        serve->prompts ? "Prompts cannot be stored" : "saved sessions and prompts are not packed";
    char why[sizeof library.why] = "";
    if (!sessions && !prompts) {
        return 0;
    }
    bool found = serve->prompts ? find_prompts_library(&library) : find_sessions_library(&library);
    if (!found) {
        snprintf(why, sizeof why, "%s", library.why);
    } else if (!make_loadable(&library)) {
        snprintf(why, sizeof why, "%.4000s cannot be read.", library.path);
    } else if (!set_for_library(serve, sessions ? folder : NULL, prompts) || !preload(library.path)) {
        snprintf(why, sizeof why, "memory is short.");
    }
    if (*why && serve->prompts) {
        return cli_fail("%s: %s", lost, why);
    }
    if (*why) {
        cli_note("%s: %s", lost, why);
    }
    return 0;
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
    status = make_prompt_folder(serve);
    if (status != 0) {
        return status;
    }
    cli_note("%s", serve->summary);
    if (*serve->kept) {
        cli_note("%s", serve->kept);
    }
    status = keep_packed(serve);
    return status == 0 ? launch_start(&serve->launch) : status;
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
    free(serve->prompts);
    free(serve);
    return status;
}

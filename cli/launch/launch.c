/* Starts a llama.cpp tool with the plug-in, or with a stock cache type. */
#include "launch.h"

#include "find/paths.h"
#include "options/options.h"
#include "options/specs.h"
#include "output/note.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool equals_any(const char *text, const char *const *list)
{
    for (int i = 0; list[i]; i++) {
        if (strcmp(text, list[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* Takes an option of ours. One of the tool is checked, and passed on as it is. */
static int take_option(struct launch *launch, const struct option_row *row, char *given, char *value)
{
    size_t length;
    int last = 0;
    const char *name = row->names;
    while (option_name(row->names, last + 1, &length)) {
        name = option_name(row->names, ++last, &length);
    }
    if (!value) {
        return cli_usage(launch->self->name, "%s needs a value, such as %s %s.", given, name, row->example);
    }
    if (row->passes) {
        launch->pass[launch->n_pass++] = given;
        launch->pass[launch->n_pass++] = value;
    }
    return option_set(launch->self, row, name, value, launch);
}

/* What goes on to the tool may have been meant for us. */
static void tell_nearest(const struct launch *launch, const char *argument)
{
    /* Options of llama.cpp that are near some of ours. */
    static const char *const others[] = {"--poll",  "--prompt", "--prompt-cache-all", "--prompt-cache-ro",
                                         "--tools", NULL};
    char wanted[64], *value;
    snprintf(wanted, sizeof wanted, "%.*s", (int)strcspn(argument, "="), argument);
    struct nearest nearest = option_nearest(launch->self->options, wanted);
    const struct option_row *row = option_find(launch->self->options, nearest.name, &value);
    bool is_ours = row && option_has_value(row) && !row->passes;
    if (is_ours && strncmp(argument, "--", 2) == 0 && !equals_any(wanted, others)) {
        cli_note("%s is no option of tada, and goes to llama.cpp as it is; did you mean %s?", wanted,
                 nearest.name);
    }
}

/* Unlike options_parse, it leaves alone what it does not know: that is for the tool. */
int launch_parse(struct launch *launch, int argc, char **argv)
{
    bool ended = false;
    int status = 0;
    launch->pass = calloc((size_t)argc + 1, sizeof *argv);
    if (!launch->pass) {
        return cli_fail("Memory is short: close other programs and try again.");
    }
    for (int i = 1; i < argc && status == 0 && !launch->help; i++) {
        char *value;
        const struct option_row *row = option_find(launch->self->options, argv[i], &value);
        bool separate = row && option_has_value(row) && !value && i + 1 < argc;
        if (!row && !ended) {
            tell_nearest(launch, argv[i]);
        }
        if (!row || (ended && !row->passes) || (value && (row->passes || !option_has_value(row)))) {
            launch->pass[launch->n_pass++] = argv[i];
        } else if (row->kind == OPTION_END) {
            ended = true;
        } else if (row->kind == OPTION_HELP) {
            launch->help = true;
        } else {
            status = take_option(launch, row, argv[i], separate ? argv[i + 1] : value);
            i += separate;
        }
    }
    return status;
}

/* True when the arguments or the environment say which model to load, so that the default one must stay away.
 */
static bool names_model(const struct launch *launch)
{
    static const char *const options[] = {
        "-m",   "--model",   "-mu",          "--model-url",     "-dr", "--docker-repo", "-hf",
        "-hfr", "--hf-repo", "--models-dir", "--models-preset", NULL};
    static const char *const variables[] = {"LLAMA_ARG_MODEL",
                                            "LLAMA_ARG_MODEL_URL",
                                            "LLAMA_ARG_DOCKER_REPO",
                                            "LLAMA_ARG_HF_REPO",
                                            "LLAMA_ARG_MODELS_DIR",
                                            "LLAMA_ARG_MODELS_PRESET",
                                            NULL};
    static const char preset[] = "-default"; /* such as --gpt-oss-20b-default */
    for (int i = 0; i < launch->n_pass; i++) {
        const char *argument = launch->pass[i];
        size_t length = strlen(argument);
        if (equals_any(argument, options) ||
            (strncmp(argument, "--", 2) == 0 && strcmp(argument, "--spec-default") != 0 &&
             length > strlen(preset) && strcmp(argument + length - strlen(preset), preset) == 0)) {
            return true;
        }
    }
    for (int i = 0; variables[i]; i++) {
        if (environment(variables[i])) {
            return true;
        }
    }
    return false;
}

/* Without a model llama-cli and llama-completion end with an error of their own, and llama-server waits for
 * somebody to name one. */
static int check_model(const struct launch *launch, const char *tool)
{
    static const char *const needing[] = {"llama-cli", "llama-completion", "llama-server", NULL};
    static const char *const telling[] = {
        "-h",  "--help",       "--usage",        "--version",         "--license",
        "-cl", "--cache-list", "--list-devices", "--completion-bash", NULL};
    bool needed = equals_any(tool, needing);
    for (int i = 0; i < launch->n_pass; i++) {
        needed = needed && !equals_any(launch->pass[i], telling);
    }
    bool serves = strcmp(tool, "llama-server") == 0;
    return needed ? cli_usage(launch->self->name,
                              "No model is given: name a GGUF file with -m, or a repository with -hf%s.",
                              serves ? ", or a folder of models with --models-dir" : "")
                  : 0;
}

static bool set_plugin(const char *cache, const char *plugin)
{
    const char *other = environment("GGML_BACKEND_PATH");
    if (other && !strstr(other, PLUGIN_FILE)) {
        cli_note("GGML_BACKEND_PATH=%s is replaced by the TaDA plug-in; use --cache f16 to keep it.", other);
    }
    return setenv("GGML_BACKEND_PATH", plugin, 1) == 0 && setenv("TADA_CACHE", cache, 1) == 0;
}

/* Takes our plug-in out of GGML_BACKEND_PATH, as a stock cache must not load it; a back-end of the user's
 * own stays. */
static bool unset_plugin(void)
{
    const char *other = environment("GGML_BACKEND_PATH");
    return (!other || !strstr(other, PLUGIN_FILE) || unsetenv("GGML_BACKEND_PATH") == 0) &&
           unsetenv("TADA_CACHE") == 0;
}

int launch_find(struct launch *launch, const char *tool)
{
    const char *set = environment("TADA_CACHE");
    const char *from = launch->cache ? "" : "TADA_CACHE: ";
    launch->cache = launch->cache ? launch->cache : set ? set : "tada";
    int status = spec_take(launch->self->name, from, launch->cache, &launch->spec);
    if (status != 0) {
        return status;
    }
    const char *plan = tada_spec_plan_path(launch->cache);
    if (plan && access(plan, R_OK) != 0) {
        return cli_usage(launch->self->name, "The plan %s cannot be read (%s): check its path.", plan,
                         strerror(errno));
    }
    if (!find_tool(tool, &launch->tool)) {
        return cli_fail("%s", launch->tool.why);
    }
    if (!launch->spec.stock && !find_plugin(&launch->plugin)) {
        return cli_fail("%s To run without it, add --cache f16.", launch->plugin.why);
    }
    bool named = names_model(launch);
    if (named || !find_default_model(&launch->model)) {
        launch->model.path[0] = '\0';
    }
    return named || *launch->model.path ? 0 : check_model(launch, tool);
}

int launch_start(const struct launch *launch)
{
    enum { MORE = 8 }; /* tool, -ctk K -ctv V, -m MODEL, NULL */
    const tada_spec *spec = &launch->spec;
    const char **arguments = calloc((size_t)launch->n_pass + MORE, sizeof *arguments);
    if (!arguments || (spec->stock ? !unset_plugin() : !set_plugin(launch->cache, launch->plugin.path))) {
        free(arguments);
        return cli_fail("The environment could not be set: free some memory and try again.");
    }
    int n = 0;
    arguments[n++] = launch->tool.path;
    /* Ours come first: llama.cpp lets a later option win, so the user's own -ctk does. */
    if (spec->stock) {
        arguments[n++] = "-ctk";
        arguments[n++] = spec->stock_k;
        arguments[n++] = "-ctv";
        arguments[n++] = spec->stock_v;
    }
    if (*launch->model.path) {
        arguments[n++] = "-m";
        arguments[n++] = launch->model.path;
    }
    memcpy(arguments + n, launch->pass, (size_t)launch->n_pass * sizeof *arguments);
    /* execv changes none of them; its type is older than const. */
    execv(launch->tool.path, (char *const *)arguments);
    int why = errno;
    free(arguments);
    return cli_fail("%s could not be started (%s): check that it was built for this computer.",
                    launch->tool.path, strerror(why));
}

void launch_free(struct launch *launch)
{
    free(launch->pass);
    launch->pass = NULL;
}

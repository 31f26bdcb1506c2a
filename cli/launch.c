/* Starts a llama.cpp tool with the plug-in, or with a stock cache type. */
#include "launch.h"

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

/* "--name VALUE" or "--name=VALUE" at argv[*i]. 1: taken, 0: another argument, -1: the value is missing. */
static int take_option(const char *name, int argc, char **argv, int *i, const char **value)
{
    size_t length = strlen(name);
    if (strncmp(argv[*i], name, length) != 0) {
        return 0;
    }
    if (argv[*i][length] == '=') {
        *value = argv[*i] + length + 1;
        return 1;
    }
    if (argv[*i][length]) {
        return 0;
    }
    if (*i + 1 >= argc) {
        return -1;
    }
    *value = argv[++*i];
    return 1;
}

/* The option that argv[*i] is, or NULL; `taken` tells what take_option says. */
static const struct launch_option *find_option(const struct launch_option *options, int argc, char **argv,
                                               int *i, int *taken)
{
    *taken = 0;
    for (; options->name; options++) {
        *taken = take_option(options->name, argc, argv, i, options->value);
        if (*taken != 0) {
            return options;
        }
    }
    return NULL;
}

/*
 * Not getopt: the options of llama.cpp are unknown here, and "-no-cnv" must not be read as a bundle of
 * letters.
 */
int launch_parse(struct launch *launch, const struct launch_option *options, int argc, char **argv)
{
    const struct launch_option cache[] = {{"--cache", "tada:4", &launch->cache}, {0}};
    launch->pass = calloc((size_t)argc + 1, sizeof *argv);
    if (!launch->pass) {
        return cli_fail("Memory is short: close other programs and try again.");
    }
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--") == 0) {
            for (i++; i < argc; i++) {
                launch->pass[launch->n_pass++] = argv[i];
            }
            return 0;
        }
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            launch->help = true;
            return 0;
        }
        int taken;
        const struct launch_option *option = find_option(cache, argc, argv, &i, &taken);
        if (!option) {
            option = find_option(options, argc, argv, &i, &taken);
        }
        if (taken < 0) {
            return cli_usage(launch->self->name, "%s needs a value, such as %s %s.", argv[i], option->name,
                             option->example);
        }
        if (!option) {
            launch->pass[launch->n_pass++] = argv[i];
        }
    }
    return 0;
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

static bool set_plugin(const char *cache, const char *plugin)
{
    const char *other = environment("GGML_BACKEND_PATH");
    if (other && !strstr(other, PLUGIN_FILE)) {
        fprintf(stderr,
                "tada: GGML_BACKEND_PATH=%s is replaced by the TaDA plug-in; use --cache f16 to keep it.\n",
                other);
    }
    return setenv("GGML_BACKEND_PATH", plugin, 1) == 0 && setenv("TADA_CACHE", cache, 1) == 0;
}

/* A stock cache must not load our plug-in, but a back-end of the user's own stays. */
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
    tada_error error = {""};
    launch->cache = launch->cache ? launch->cache : set ? set : "tada";
    if (tada_spec_parse(launch->cache, &launch->spec, &error) != TADA_OK) {
        return cli_usage(launch->self->name, "%s%s", from, error.text);
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
    if (names_model(launch) || !find_default_model(&launch->model)) {
        launch->model.path[0] = '\0';
    }
    return 0;
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

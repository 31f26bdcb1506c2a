/* Starts a llama.cpp tool with the plug-in, or with a stock cache type. */
#include "cli.h"
#include "tada.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct request {
    const char *cache, *tool; /* NULL: not given */
    bool help;
    char **pass; /* the other arguments, in order */
    int n_pass;
};

static bool equals_any(const char *text, const char *const *list)
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

/*
 * Not getopt: the options of llama.cpp are unknown here, and "-no-cnv" must not be read as a bundle of
 * letters. pass has room for argc entries. Returns 0 or an exit status.
 */
static int parse(const struct command *self, bool may_choose, int argc, char **argv, struct request *request)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--") == 0) {
            for (i++; i < argc; i++) {
                request->pass[request->n_pass++] = argv[i];
            }
            return 0;
        }
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            request->help = true;
            return 0;
        }
        int taken = take_option("--cache", argc, argv, &i, &request->cache);
        if (taken == 0 && may_choose) {
            taken = take_option("--tool", argc, argv, &i, &request->tool);
        }
        if (taken < 0) {
            return cli_usage(self->name, "%s needs a value, such as %s.", argv[i],
                             strcmp(argv[i], "--cache") == 0 ? "--cache tada:4" : "--tool completion");
        }
        if (taken == 0) {
            request->pass[request->n_pass++] = argv[i];
        }
    }
    return 0;
}

/* True when the arguments or the environment say which model to load, so that the default one must stay away.
 */
static bool names_model(const struct request *request)
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
    for (int i = 0; i < request->n_pass; i++) {
        const char *argument = request->pass[i];
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

/* Full name of the tool: "completion" and "llama-completion" are the same. */
static bool name_tool(const struct request *request, const char *usual, bool may_choose, char *name,
                      size_t size)
{
    static const char *const no_chat[] = {"-no-cnv", "--no-conversation", NULL};
    const char *tool = request->tool ? request->tool : usual;
    /* llama-cli only chats, and sends those who do not want to to llama-completion. */
    for (int i = 0; may_choose && !request->tool && i < request->n_pass; i++) {
        if (equals_any(request->pass[i], no_chat)) {
            tool = "llama-completion";
        }
    }
    int length = snprintf(name, size, "%s%s", strncmp(tool, "llama-", 6) == 0 ? "" : "llama-", tool);
    return *tool && !strchr(tool, '/') && length > 0 && (size_t)length < size;
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

static int start(const struct command *self, const char *usual, bool may_choose, struct request *request,
                 char **arguments)
{
    struct place tool, plugin, model;
    char name[64];
    if (!name_tool(request, usual, may_choose, name, sizeof name)) {
        return cli_usage(self->name,
                         "'%s' is not the name of a llama.cpp tool: use one such as cli, completion or "
                         "bench.",
                         request->tool);
    }
    const char *set = environment("TADA_CACHE");
    const char *cache = request->cache ? request->cache : set ? set : "tada";
    tada_spec spec;
    tada_error error = {""};
    if (tada_spec_parse(cache, &spec, &error) != TADA_OK) {
        return cli_usage(self->name, "%s%s", request->cache ? "" : "TADA_CACHE: ", error.text);
    }
    const char *plan = tada_spec_plan_path(cache);
    if (plan && access(plan, R_OK) != 0) {
        return cli_usage(self->name, "The plan %s cannot be read (%s): check its path.", plan,
                         strerror(errno));
    }
    if (!find_tool(name, &tool)) {
        return cli_fail("%s", tool.why);
    }
    if (!spec.stock && !find_plugin(&plugin)) {
        return cli_fail("%s To run without it, add --cache f16.", plugin.why);
    }
    if (spec.stock ? !unset_plugin() : !set_plugin(cache, plugin.path)) {
        return cli_fail("The environment could not be set: free some memory and try again.");
    }
    int n = 0;
    arguments[n++] = tool.path;
    /* Ours come first: llama.cpp lets a later option win, so the user's own -ctk does. */
    if (spec.stock) {
        arguments[n++] = "-ctk";
        arguments[n++] = spec.stock_k;
        arguments[n++] = "-ctv";
        arguments[n++] = spec.stock_v;
    }
    if (!names_model(request) && find_default_model(&model)) {
        arguments[n++] = "-m";
        arguments[n++] = model.path;
    }
    memcpy(arguments + n, request->pass, (size_t)request->n_pass * sizeof *arguments);
    arguments[n + request->n_pass] = NULL;
    execv(tool.path, arguments);
    return cli_fail("%s could not be started (%s): check that it was built for this computer.", tool.path,
                    strerror(errno));
}

int launch(const struct command *self, const char *tool, bool may_choose, int argc, char **argv)
{
    enum { MORE = 8 }; /* tool, -ctk K -ctv V, -m MODEL, NULL */
    struct request request = {.pass = calloc((size_t)argc, sizeof *argv)};
    char **arguments = calloc((size_t)argc + MORE, sizeof *arguments);
    int status;
    if (!request.pass || !arguments) {
        status = cli_fail("Memory is short: close other programs and try again.");
    } else {
        status = parse(self, may_choose, argc, argv, &request);
    }
    if (status == 0 && request.help) {
        fputs(self->help, stdout);
    } else if (status == 0) {
        status = start(self, tool, may_choose, &request, arguments);
    }
    free(arguments);
    free(request.pass);
    return status;
}

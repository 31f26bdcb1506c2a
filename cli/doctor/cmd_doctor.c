/* tada doctor: looks at everything that a run needs and says what to do about what is wrong. */
#include "commands.h"
#include "find/host.h"
#include "find/memory.h"
#include "find/paths.h"
#include "options/options.h"
#include "options/rows.h"
#include "output/lines.h"
#include "output/note.h"
#include "tada.h"
#ifdef TADA_MEASURES
#include "engine/outlook.h"
#include "engine/probe.h"
#endif

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int doctor_main(const struct command *self, int argc, char **argv);

struct request {
    bool json;
    const char *model; /* NULL: none is looked at */
};

static const struct option_row options[] = {
#ifdef TADA_MEASURES
    {.names = "-m, --model",
     .value = "MODEL",
     .help = "tell what of this model's KV cache is compressed, too",
     .field = offsetof(struct request, model),
     .kind = OPTION_FILE,
     .in_usage = true},
#endif
    {.names = "--json",
     .help = "print {\"ok\", \"version\", \"checks\": [{\"name\", \"status\", \"value\", \"fix\"}]}; status "
             "is ok, warning "
             "or problem",
     .field = offsetof(struct request, json),
     .kind = OPTION_SWITCH,
     .in_usage = true},
    ROW_HELP,
    {0},
};

const struct command doctor_command = {
    .name = "doctor",
    .summary = "check this computer, llama.cpp and the plug-in",
    .about = "Checks the CPU, memory, the llama.cpp tools, the plug-in, whether the two fit and work "
             "together, and "
             "the environment. Each problem comes with what to do about it. Changes nothing.\n",
    .options = options,
    .notes = "exit status: 0 nothing is wrong (warnings are allowed), 1 there is a problem, 2 wrong usage.\n",
    .run = doctor_main,
};

enum verdict { FINE, WARNING, PROBLEM };

struct check {
    const char *name;
    enum verdict verdict;
    char value[PATH_MAX + 512];
    char fix[PATH_MAX + 1024]; /* empty when fine */
};

enum { MAX_CHECKS = 20, COLUMN = 24 /* of values */ };

struct report {
    struct check checks[MAX_CHECKS];
    int n;
};

/* Appends a check; its fix is set with set_fix. */
__attribute__((format(printf, 4, 5))) static struct check *add(struct report *report, const char *name,
                                                               enum verdict verdict, const char *format, ...)
{
    struct check *check = &report->checks[report->n];
    report->n += report->n < MAX_CHECKS - 1;
    check->name = name;
    check->verdict = verdict;
    check->fix[0] = '\0';
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(check->value, sizeof check->value, format, arguments);
    va_end(arguments);
    return check;
}

__attribute__((format(printf, 2, 3))) static void set_fix(struct check *check, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(check->fix, sizeof check->fix, format, arguments);
    va_end(arguments);
}

/* ---- checks ---- */

static void check_cpu(struct report *report)
{
    const char *features = tada_cpu_features(), *kernels = tada_kernels_name();
    add(report, "cpu", FINE, "%s", *features ? features : "no vector instructions that TaDA uses");
    const char *wanted = environment("TADA_KERNELS");
    if (wanted && strcmp(wanted, kernels) != 0) {
        set_fix(add(report, "kernels", WARNING, "%s", kernels),
                "TADA_KERNELS=%s is not available here and is ignored: set it to a set that this CPU has, "
                "such as scalar, or unset it.",
                wanted);
        return;
    }
    struct check *check = add(report, "kernels", FINE, "%s", kernels);
    if (!wanted && strcmp(kernels, "scalar") == 0) {
        check->verdict = WARNING;
        set_fix(check, "Works, but slowly: a CPU with AVX2, FMA and F16C is several times as fast.");
    }
}

static void check_memory(struct report *report)
{
    static const double mib = 1024 * 1024, little = 512;
    double available = memory_available();
    if (available < 0) {
        set_fix(add(report, "memory", WARNING, "unknown"),
                "Mount /proc to let tada see how much memory is free.");
        return;
    }
    struct check *check = add(report, "memory", FINE, "%.0f MiB available", available / mib);
    if (available / mib < little) {
        check->verdict = WARNING;
        set_fix(check, "Little for a model: close other programs, or use a smaller model or context (-c).");
    }
}

static void check_environment(struct report *report)
{
    const char *cache = environment("TADA_CACHE");
    tada_spec spec;
    tada_error error = {""};
    if (!cache) {
        add(report, "cache", FINE, "tada (TADA_CACHE is not set)");
    } else if (tada_spec_parse(cache, &spec, &error) != TADA_OK) {
        set_fix(add(report, "cache", PROBLEM, "TADA_CACHE=%s", cache), "%s Correct or unset TADA_CACHE.",
                error.text);
    } else {
        add(report, "cache", FINE, "TADA_CACHE=%s%s", cache,
            spec.stock ? " (a type of llama.cpp, without TaDA)" : "");
    }
    const char *backend = environment("GGML_BACKEND_PATH");
    if (backend && !strstr(backend, PLUGIN_FILE)) {
        set_fix(add(report, "environment", WARNING, "GGML_BACKEND_PATH=%s", backend),
                "llama.cpp loads one such plug-in, and tada replaces this one: unset GGML_BACKEND_PATH if "
                "that is not wanted.");
    }
}

/* True and its path in place when the tool is there; missing: how bad that is. */
static bool check_tool(struct report *report, const char *tool, enum verdict missing, struct place *place)
{
    bool found = find_tool(tool, place);
    struct check *check = add(report, tool, found ? FINE : missing, "%s", found ? place->path : "not found");
    if (!found) {
        set_fix(check, "%s", place->why);
    }
    return found;
}

static void check_fit(struct report *report, const struct host *host)
{
    if (!*host->ggml || !*host->built_for) {
        return; /* said already */
    }
    if (host->fits) {
        add(report, "fit", FINE, "the plug-in fits this llama.cpp");
        return;
    }
    set_fix(
        add(report, "fit", PROBLEM, "the plug-in is for %s, llama.cpp has %s; it will not compress",
            host->built_for, host->ggml),
        "Build TaDA with -DTADA_LLAMA_DIR=<source of this llama.cpp>, or set TADA_LLAMA_BIN to a folder with "
        "tools of %s.",
        host->built_for);
}

/* What the two do together, once they fit. */
static void check_work(struct report *report, const char *tool, const char *plugin)
{
#ifdef TADA_MEASURES
    char why[PATH_MAX + 128], gpus[256];
    enum probe_answer answer = probe_plugin(tool, plugin, why, sizeof why);
    struct check *check = add(report, "hooks",
                              answer == PROBE_HOOKED    ? FINE
                              : answer == PROBE_UNKNOWN ? WARNING
                                                        : PROBLEM,
                              "%s",
                              answer == PROBE_HOOKED    ? "a cache in the computer's memory is compressed"
                              : answer == PROBE_UNKNOWN ? "unknown"
                                                        : "a cache is not compressed");
    if (answer != PROBE_HOOKED) {
        set_fix(check, "%s", why);
    }
    probe_gpus(tool, gpus, sizeof gpus);
    if (*gpus) {
        add(report, "gpu", FINE,
            "%s: layers that llama.cpp puts there keep an uncompressed cache; -nkvo keeps it in RAM, "
            "compressed",
            gpus);
    }
#else
    (void)report;
    (void)tool;
    (void)plugin;
#endif
}

/* Before this process loads llama.cpp's back-ends, which the process that looks has to load itself. */
static void check_model(struct report *report, const char *path)
{
#ifdef TADA_MEASURES
    const struct size_options sizes = {.model_path = path,
                                       .n_ctx = 4096,
                                       .parallel = 1,
                                       .n_ubatch = 512,
                                       .n_threads = 1,
                                       .n_gpu_layers = -1};
    struct outlook outlook;
    char why[OUTLOOK_TEXT];
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    if (!outlook_look(&sizes, "tada", &outlook)) {
        set_fix(add(report, "model", WARNING, "%s: unknown", name),
                "llama.cpp or the plug-in does not take it: 'tada size -m' says why.");
        return;
    }
    outlook_tell(&outlook, why);
    add(report, "model", FINE, "%s: %s", name, *why ? why : "100 % of the KV cache is compressed.");
#else
    (void)report;
    (void)path;
#endif
}

/* The tools of llama.cpp, or its library alone: one of them as *place. False: there is neither. */
static bool check_tools(struct report *report, struct place *place)
{
    struct place library, server;
    bool has_library = find_llama_library(&library);
    enum verdict missing = has_library ? WARNING : PROBLEM; /* measuring needs no tools */
    bool has_cli = check_tool(report, "llama-cli", missing, place);
    bool has_server = check_tool(report, "llama-server", missing, &server);
    char version[256] = "";
    if (!has_cli && has_server) {
        *place = server;
    }
    if (!has_cli && !has_server && has_library) {
        *place = library;
        add(report, "libllama", FINE, "%s", library.path);
    }
    if (!has_cli && !has_server) {
        return has_library;
    }
    host_ask_version(place->path, version, sizeof version);
    if (*version) {
        add(report, "llama.cpp", FINE, "%s", version);
    } else {
        set_fix(add(report, "llama.cpp", PROBLEM, "no version"),
                "'%s --version' does not work: run it to see why, and install llama.cpp anew.", place->path);
    }
    return true;
}

static bool check_plugin(struct report *report, struct place *plugin)
{
    bool found = find_plugin(plugin);
    struct check *check =
        add(report, "plug-in", found ? FINE : PROBLEM, "%s", found ? plugin->path : "not found");
    if (!found) {
        set_fix(check, "%s", plugin->why);
    }
    return found;
}

/* Which ggml llama.cpp has, and which one the plug-in was built for. */
static void check_versions(struct report *report, const struct host *host, bool has_host, bool has_plugin)
{
    if (has_host && *host->ggml) {
        add(report, "ggml", FINE, "%s", host->ggml);
    } else if (has_host) {
        set_fix(
            add(report, "ggml", PROBLEM, "%s", host->why_ggml),
            "TaDA needs a llama.cpp with shared libraries (cmake -DBUILD_SHARED_LIBS=ON) and libggml-base.so "
            "beside its tools.");
    }
    if (has_plugin && *host->built_for) {
        add(report, "built for", FINE, "%s", host->built_for);
    } else if (has_plugin && has_host) {
        set_fix(add(report, "built for", PROBLEM, "%s", host->why_plugin),
                "The plug-in does not load into this llama.cpp: build TaDA against it.");
    } else if (has_plugin) {
        set_fix(add(report, "built for", WARNING, "unknown"),
                "It can be checked once the llama.cpp tools are found.");
    }
}

static void check_host(struct report *report, const char *model)
{
    struct place tool, plugin;
    struct host host;
    bool has_host = check_tools(report, &tool), has_plugin = check_plugin(report, &plugin);
    host_probe(has_host ? tool.path : NULL, has_plugin ? plugin.path : NULL, &host);
    check_versions(report, &host, has_host, has_plugin);
    check_fit(report, &host);
    if (host.fits && model) {
        check_model(report, model);
    }
    if (host.fits) {
        check_work(report, tool.path, plugin.path);
    }
}

/* ---- output ---- */

static const char *verdict_name(enum verdict verdict)
{
    return verdict == FINE ? "ok" : verdict == WARNING ? "warning" : "problem";
}

/* A path stays in one line, so that it can be copied. */
static void print_value(const char *value)
{
    if (*value == '/') {
        puts(value);
    } else {
        line_print(stdout, COLUMN, COLUMN, value);
    }
}

static void print_text(const struct report *report, int problems)
{
    int warnings = 0;
    printf("tada %s\n", tada_version());
    for (int i = 0; i < report->n; i++) {
        const struct check *check = &report->checks[i];
        warnings += check->verdict == WARNING;
        printf("%-8s  %-12s  ", verdict_name(check->verdict), check->name);
        print_value(SHOWN(check->value));
        if (*check->fix) {
            printf("%*s-> ", COLUMN, "");
            line_print(stdout, COLUMN + 3, COLUMN + 3, SHOWN(check->fix));
        }
    }
    if (problems) {
        printf("%d problem%s: do what the lines with '->' say.\n", problems, plural(problems));
    } else if (warnings) {
        printf("No problem, but %d warning%s: see the lines with '->'.\n", warnings, plural(warnings));
    } else {
        puts("Nothing is wrong.");
    }
}

static void print_json_string(const char *string)
{
    char *text = malloc(2 * strlen(string) + 1), *end = text;
    for (; text && *string; string++) {
        if (strchr("\"\\\n\t", *string)) {
            *end++ = '\\';
        }
        *end++ = *string == '\n' ? 'n' : *string == '\t' ? 't' : *string;
    }
    putchar('"');
    if (text) {
        *end = '\0';
        printable_json(text, stdout);
    }
    putchar('"');
    free(text);
}

static void print_json(const struct report *report, int problems)
{
    printf("{\n  \"ok\": %s,\n  \"version\": ", problems ? "false" : "true");
    print_json_string(tada_version());
    fputs(",\n  \"checks\": [", stdout);
    for (int i = 0; i < report->n; i++) {
        const struct check *check = &report->checks[i];
        fputs(i ? ",\n    {\"name\": " : "\n    {\"name\": ", stdout);
        print_json_string(check->name);
        printf(", \"status\": \"%s\", \"value\": ", verdict_name(check->verdict));
        print_json_string(check->value);
        fputs(", \"fix\": ", stdout);
        if (*check->fix) {
            print_json_string(check->fix);
        } else {
            fputs("null", stdout);
        }
        putchar('}');
    }
    fputs("\n  ]\n}\n", stdout);
}

static int doctor_main(const struct command *self, int argc, char **argv)
{
    struct request request = {.json = false};
    int status;
    if (!options_parse(self, argc, argv, &request, &status)) {
        return status;
    }
    struct report *report = calloc(1, sizeof *report);
    if (!report) {
        return cli_fail("Memory is short: close other programs and try again.");
    }
    check_cpu(report);
    check_memory(report);
    check_environment(report);
    check_host(report, request.model);
    int problems = 0;
    for (int i = 0; i < report->n; i++) {
        problems += report->checks[i].verdict == PROBLEM;
    }
    (request.json ? print_json : print_text)(report, problems);
    free(report);
    return problems ? EXIT_PROBLEM : 0;
}

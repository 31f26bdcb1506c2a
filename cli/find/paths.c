/* Where the llama.cpp tools, the plug-in and the default model are. */
#include "paths.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char default_model[] = "tada/smollm2-135m-instruct-q4_1.gguf";

const char *environment(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

bool join_path(char *path, size_t size, const char *folder, const char *rest)
{
    int length = snprintf(path, size, "%s/%s", folder, rest);
    return length >= 0 && (size_t)length < size;
}

static bool is_file(const char *path, int access_mode)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISREG(status.st_mode) && access(path, access_mode) == 0;
}

/* The folder of this program, whatever link it was started through. */
static bool own_folder(char *folder, size_t size)
{
    ssize_t length = readlink("/proc/self/exe", folder, size - 1);
    if (length <= 0) {
        return false;
    }
    folder[length] = '\0';
    char *slash = strrchr(folder, '/');
    if (!slash) {
        return false;
    }
    *slash = '\0';
    return true;
}

static bool find_in(const char *folder, const char *file, int access_mode, struct place *place)
{
    return join_path(place->path, sizeof place->path, folder, file) && is_file(place->path, access_mode);
}

static bool find_in_path(const char *tool, struct place *place)
{
    const char *list = environment("PATH");
    while (list && *list) {
        size_t length = strcspn(list, ":");
        char folder[PATH_MAX];
        if (length < sizeof folder) {
            memcpy(folder, list, length);
            folder[length] = '\0';
            if (find_in(length ? folder : ".", tool, X_OK, place)) {
                return true;
            }
        }
        list += length + (list[length] == ':');
    }
    return false;
}

bool find_tool(const char *tool, struct place *place)
{
    char folder[PATH_MAX];
    const char *chosen = environment("TADA_LLAMA_BIN");
    if (chosen) {
        if (find_in(chosen, tool, X_OK, place)) {
            return true;
        }
        snprintf(
            place->why, sizeof place->why,
            "%s is not in TADA_LLAMA_BIN=%s: set TADA_LLAMA_BIN to the folder with the llama.cpp tools, or "
            "unset it.",
            tool, chosen);
        return false;
    }
    if ((own_folder(folder, sizeof folder) && find_in(folder, tool, X_OK, place)) ||
        find_in_path(tool, place)) {
        return true;
    }
    snprintf(
        place->why, sizeof place->why,
        "%s was not found: put it beside tada or into PATH, or set TADA_LLAMA_BIN to the folder with the "
        "llama.cpp tools.",
        tool);
    return false;
}

/* A library of ours, from where this program was built or installed: TADA_MODULES is where the build puts
 * them, seen from the folder of this program. */
static bool find_library(const char *file, struct place *place)
{
    static const char *const beside[] = {".", TADA_MODULES, "../lib", "../lib64", NULL};
    char own[PATH_MAX], folder[PATH_MAX];
    for (int i = 0; own_folder(own, sizeof own) && beside[i]; i++) {
        if (join_path(folder, sizeof folder, own, beside[i]) && find_in(folder, file, R_OK, place)) {
            char resolved[PATH_MAX];
            return realpath(place->path, resolved) && strcpy(place->path, resolved);
        }
    }
    return false;
}

bool find_plugin(struct place *place)
{
    const char *chosen = environment("TADA_PLUGIN");
    if (chosen) {
        /* ggml takes only a path it can open from any folder. */
        if (realpath(chosen, place->path) && is_file(place->path, R_OK)) {
            return true;
        }
        snprintf(place->why, sizeof place->why,
                 "TADA_PLUGIN=%s is not a readable file: set it to the path of " PLUGIN_FILE ", or unset it.",
                 chosen);
        return false;
    }
    if (find_library(PLUGIN_FILE, place)) {
        return true;
    }
    snprintf(place->why, sizeof place->why,
             "The plug-in " PLUGIN_FILE
             " was not found: put it beside tada or into ../lib, or set TADA_PLUGIN to "
             "its path.");
    return false;
}

static bool find_preloaded(const char *file, struct place *place)
{
    bool found = find_library(file, place);
    snprintf(place->why, sizeof place->why, "%s was not found: put it beside tada or into ../lib.", file);
    return found;
}

bool find_sessions_library(struct place *place)
{
    return find_preloaded(SESSIONS_FILE, place);
}

bool find_prompts_library(struct place *place)
{
    return find_preloaded(PROMPTS_FILE, place);
}

bool find_llama_library(struct place *place)
{
    const char *folder = environment("TADA_LLAMA_LIB");
    return folder && find_in(folder, "libllama.so", R_OK, place);
}

bool find_default_model(struct place *place)
{
    char folder[PATH_MAX];
    const char *cache = environment("XDG_CACHE_HOME"), *home = environment("HOME");
    if (cache && *cache == '/') {
        snprintf(folder, sizeof folder, "%s", cache);
    } else if (!home || !join_path(folder, sizeof folder, home, ".cache")) {
        return false;
    }
    return find_in(folder, default_model, R_OK, place);
}

/* What the installed llama.cpp and the plug-in say of themselves. */
#include "host.h"

#include "ggml_version.h"
#include "paths.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

typedef const char *(*text_function)(void);

/* ISO C has no cast from an object pointer to a function pointer; POSIX promises that the bits are the same.
 */
bool host_find_symbol(void *library, const char *name, void *function)
{
    void *symbol = dlsym(library, name);
    memcpy(function, &symbol, sizeof symbol);
    return symbol != NULL;
}

static text_function find_function(void *library, const char *name)
{
    text_function function;
    return host_find_symbol(library, name, &function) ? function : NULL;
}

/* Releases differ in whether the line with the version goes to stdout or to stderr. */
void host_ask_version(const char *tool, char *version, size_t size)
{
    enum { PATIENCE_S = 30 };
    int ends[2];
    *version = '\0';
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return;
    }
    pid_t child = fork();
    if (child == 0) {
        int null = open("/dev/null", O_RDONLY);
        /* The plug-in is checked on its own; here it could only hide what the host says. */
        unsetenv("GGML_BACKEND_PATH");
        dup2(null, STDIN_FILENO);
        dup2(ends[1], STDOUT_FILENO);
        dup2(ends[1], STDERR_FILENO);
        alarm(PATIENCE_S);
        execl(tool, tool, "--version", (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    FILE *output = child > 0 ? fdopen(ends[0], "r") : NULL;
    if (output) {
        char text[256];
        while (fgets(text, sizeof text, output)) {
            text[strcspn(text, "\r\n")] = '\0';
            if (strncmp(text, "version:", 8) == 0 && !*version) {
                snprintf(version, size, "%s", text + 8 + strspn(text + 8, " "));
            }
        }
        fclose(output);
    } else {
        close(ends[0]);
    }
    if (child > 0) {
        waitpid(child, NULL, 0);
    }
}

/* Opens a library of the host by its path near the tool, else by the name that the loader knows. */
static void *open_near(const char *folder, const char *name, char *why, size_t size)
{
    static const char *const places[] = {
        ".", "../lib", "../lib64", "../lib/x86_64-linux-gnu", "../lib/aarch64-linux-gnu", NULL};
    static const char *const endings[] = {".so", ".so.0", NULL};
    char path[PATH_MAX], file[PATH_MAX];
    for (int place = 0; places[place]; place++) {
        for (int ending = 0; endings[ending]; ending++) {
            snprintf(file, sizeof file, "%s/%s%s", places[place], name, endings[ending]);
            if (join_path(path, sizeof path, folder, file) && access(path, R_OK) == 0) {
                void *library = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
                if (!library) {
                    snprintf(why, size, "%s", dlerror());
                }
                return library;
            }
        }
    }
    snprintf(file, sizeof file, "%s.so.0", name);
    void *library = dlopen(file, RTLD_NOW | RTLD_GLOBAL);
    if (!library) {
        snprintf(why, size, "%s", dlerror());
    }
    return library;
}

/* "ggml 0.25.3 (abc)" -> version and commit. */
static bool split_version(const char *text, char version[64], char commit[64])
{
    return sscanf(text, "ggml %63s (%63[^)])", version, commit) == 2;
}

static void compare_versions(struct host *host)
{
    char version[2][64], commit[2][64];
    /* The rule of the plug-in itself: its vtables must be those of the host. */
    host->fits = split_version(host->ggml, version[0], commit[0]) &&
                 split_version(host->built_for, version[1], commit[1]) &&
                 ggml_version_fits(version[0], commit[0], version[1], commit[1]);
}

/* Distributions and our build folder link to the tools; the libraries are beside the real file. */
static const char *libraries_of(const char *tool, char resolved[PATH_MAX])
{
    return dirname(realpath(tool, resolved) ? resolved : strcpy(resolved, tool));
}

void *host_open_library(const char *tool, const char *name, char *why, size_t size)
{
    char resolved[PATH_MAX];
    return open_near(libraries_of(tool, resolved), name, why, size);
}

/* Libraries stay open: ggml keeps threads and state that do not survive a dlclose. */
void host_probe(const char *tool, const char *plugin, struct host *host)
{
    char resolved[PATH_MAX];
    memset(host, 0, sizeof *host);
    void *base = NULL;
    if (tool) {
        const char *folder = libraries_of(tool, resolved);
        base = open_near(folder, "libggml-base", host->why_ggml, sizeof host->why_ggml);
        text_function version = base ? find_function(base, "ggml_version") : NULL;
        text_function commit = base ? find_function(base, "ggml_commit") : NULL;
        if (version && commit) {
            snprintf(host->ggml, sizeof host->ggml, "ggml %s (%s)", version(), commit());
        } else if (base) {
            snprintf(host->why_ggml, sizeof host->why_ggml, "libggml-base does not tell its version");
        }
        /* The plug-in may need it; what is missing shows when the plug-in is opened. */
        char ignored[1024];
        open_near(folder, "libggml", ignored, sizeof ignored);
    }
    if (plugin) {
        void *library = dlopen(plugin, RTLD_NOW | RTLD_LOCAL);
        text_function built_for = library ? find_function(library, "tada_plugin_built_for") : NULL;
        if (built_for) {
            snprintf(host->built_for, sizeof host->built_for, "%s", built_for());
        } else {
            snprintf(host->why_plugin, sizeof host->why_plugin, "%s",
                     library ? "it does not tell what it was built for" : dlerror());
        }
    }
    if (*host->ggml && *host->built_for) {
        compare_versions(host);
    }
}

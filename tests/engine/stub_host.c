/*
 * A host of which nothing is real but what the plug-in asks of it at first: would it run here?
 *     stub_host PLUGIN same|version|commit|longer|ops    prints what the plug-in says: 1 yes, 0 no, or why it
 * is not loaded; 'commit?' when it does not know its commit
 */
#include "ggml.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static char version[100], commit[100];
static int shift; /* of the numbers of all operations */

void ggml_log_internal(enum ggml_log_level level, const char *format, ...);

const char *ggml_version(void)
{
    return version;
}

const char *ggml_commit(void)
{
    return commit;
}

const char *ggml_op_name(enum ggml_op op)
{
    switch ((int)op + shift) {
    case GGML_OP_NONE:
        return "NONE";
    case GGML_OP_SET_ROWS:
        return "SET_ROWS";
    case GGML_OP_FLASH_ATTN_EXT:
        return "FLASH_ATTN_EXT";
    case GGML_OP_VIEW:
        return "VIEW";
    case GGML_OP_RESHAPE:
        return "RESHAPE";
    case GGML_OP_PERMUTE:
        return "PERMUTE";
    case GGML_OP_TRANSPOSE:
        return "TRANSPOSE";
    case GGML_OP_MUL_MAT:
        return "MUL_MAT";
    case GGML_OP_ROPE:
        return "ROPE";
    case GGML_OP_MUL:
        return "MUL";
    case GGML_OP_CUSTOM:
        return "CUSTOM";
    default:
        return "another";
    }
}

/* What the plug-in says goes the way of all that ggml says. */
void ggml_log_internal(enum ggml_log_level level, const char *format, ...)
{
    va_list arguments;
    (void)level;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
}

int main(int argc, char **argv)
{
    const char *(*built_for)(void);
    int (*score)(void);
    void *plugin = argc == 3 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
    if (!plugin) {
        printf("%s\n", argc == 3 ? dlerror() : "usage: stub_host PLUGIN same|version|commit|ops");
        return 0;
    }
    *(void **)&built_for = dlsym(plugin, "tada_plugin_built_for");
    *(void **)&score = dlsym(plugin, "ggml_backend_score");
    if (!built_for || !score || sscanf(built_for(), "ggml %99s (%99[^)])", version, commit) != 2) {
        printf("no plug-in\n");
        return 1;
    }
    if (strcmp(argv[2], "version") == 0) {
        strcpy(version, "99.9.9");
    } else if (strcmp(argv[2], "commit") == 0 && strcmp(commit, "unknown") == 0) {
        printf("commit?\n");
        return 0;
    } else if (strcmp(argv[2], "commit") == 0) {
        strcpy(commit, "0123456");
    } else if (strcmp(argv[2], "longer") == 0) {
        strcat(commit, "89");
    } else if (strcmp(argv[2], "ops") == 0) {
        shift = 1;
    }
    printf("%d\n", score());
    return 0;
}

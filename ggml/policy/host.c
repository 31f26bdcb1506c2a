/* Version, commit and operation numbers of the host are compared with those of the headers. */
#include "host.h"

#include "base/log.h"

#include "ggml-backend-impl.h"
#include "ggml_version.h"

#include <string.h>

/*
 * GGML_BACKEND_API_VERSION does not change when vtables or op numbers do, so the version and the commit must
 * be those of the headers that we were compiled with, and the ops must have the numbers that we know them by.
 */
bool host_fits(void)
{
    static const struct {
        enum ggml_op op;
        const char *name;
    } ops[] = {{GGML_OP_NONE, "NONE"},
               {GGML_OP_SET_ROWS, "SET_ROWS"},
               {GGML_OP_FLASH_ATTN_EXT, "FLASH_ATTN_EXT"},
               {GGML_OP_VIEW, "VIEW"},
               {GGML_OP_RESHAPE, "RESHAPE"},
               {GGML_OP_PERMUTE, "PERMUTE"},
               {GGML_OP_TRANSPOSE, "TRANSPOSE"},
               {GGML_OP_MUL, "MUL"},
               {GGML_OP_CUSTOM, "CUSTOM"},
               {GGML_OP_ROPE, "ROPE"}};
    bool fits = ggml_version_fits(ggml_version(), ggml_commit(), TADA_GGML_VERSION, TADA_GGML_COMMIT);
    for (size_t i = 0; fits && i < sizeof ops / sizeof ops[0]; i++) {
        fits = strcmp(ggml_op_name(ops[i].op), ops[i].name) == 0;
    }
    if (!fits) {
        log_line(GGML_LOG_LEVEL_WARN,
                 "this llama.cpp has ggml %s (%s), the plug-in was built for ggml %s (%s): rebuild "
                 "the plug-in with "
                 "-DTADA_LLAMA_DIR=<its source>; going on without compression",
                 ggml_version(), ggml_commit(), TADA_GGML_VERSION, TADA_GGML_COMMIT);
    }
    return fits;
}

GGML_BACKEND_API const char *tada_plugin_built_for(void);
const char *tada_plugin_built_for(void)
{
    return "ggml " TADA_GGML_VERSION " (" TADA_GGML_COMMIT ")";
}

/* How a node of ggml is made to call a function of the plug-in. */
#include "custom.h"

#include "ggml-impl.h"

#include <string.h>

void custom_make(struct ggml_tensor *node, const struct ggml_tensor *like, ggml_custom_op_t function,
                 void *context)
{
    /* A node without a result has to have elements, and is left out without this flag. */
    *node = like ? *like
                 : (struct ggml_tensor){.type = GGML_TYPE_F32,
                                        .ne = {1, 1, 1, 1},
                                        .nb = {4, 4, 4, 4},
                                        .flags = GGML_TENSOR_FLAG_COMPUTE};
    memset(node->src, 0, sizeof node->src);
    memset(node->op_params, 0, sizeof node->op_params);
    node->op = GGML_OP_CUSTOM;
    struct ggml_custom_op_params params = {function, GGML_N_TASKS_MAX, context};
    memcpy(node->op_params, &params, sizeof params);
}

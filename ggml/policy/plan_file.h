/* Plan files (doc/reference/plan.md): GGUF, read and written with ggml. */
#ifndef PLUGIN_POLICY_PLAN_FILE_H
#define PLUGIN_POLICY_PLAN_FILE_H

#include "tada.h"

/* The caller frees *plan with tada_plan_free. */
enum tada_status plan_file_read(const char *path, tada_plan **plan, tada_error *error);
/* To a descriptor that is open for writing, and stays open. */
enum tada_status plan_file_write(const tada_plan *plan, int to, tada_error *error);

#endif

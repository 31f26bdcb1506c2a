/* The CPU device of the host as it was before it was hooked: what our own graphs are computed with. */
#ifndef PLUGIN_BASE_CPU_H
#define PLUGIN_BASE_CPU_H

#include "ggml-backend-impl.h"
#include "ggml-backend.h"

/* Finds the device and keeps its functions. False: the host has loaded none yet, or one that lacks a function
 * that we need. Once, before it is hooked. */
bool cpu_find(void);
ggml_backend_dev_t cpu_device(void);
const struct ggml_backend_device_i *cpu_device_functions(void);
const struct ggml_backend_buffer_type_i *cpu_buffer_functions(void);

/* A backend that is not hooked; NULL: memory is short. cpu_backend_free frees it. */
ggml_backend_t cpu_backend_make(int n_threads);
void cpu_backend_free(ggml_backend_t backend);
/* Computes a graph as the device would without us. */
enum ggml_status cpu_compute(ggml_backend_t backend, struct ggml_cgraph *graph);

#endif

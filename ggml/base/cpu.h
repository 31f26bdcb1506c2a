/* The CPU device of the host as it was before it was hooked: what our own graphs are computed with. */
#ifndef PLUGIN_BASE_CPU_H
#define PLUGIN_BASE_CPU_H

#include "ggml-backend-impl.h"
#include "ggml-backend.h"

/* Finds the device and copies its tables of functions. Must be called before the device is hooked, and not
 * again once it has returned true. False: the host has loaded no CPU device yet, or it lacks a function that
 * the plug-in needs. */
bool cpu_find(void);
ggml_backend_dev_t cpu_device(void);
/* The functions of the device and of its buffer type as they were before they were hooked. */
const struct ggml_backend_device_i *cpu_device_functions(void);
const struct ggml_backend_buffer_type_i *cpu_buffer_functions(void);

/* Makes a backend whose functions are ggml's own. NULL: memory is short. cpu_backend_free frees it. */
ggml_backend_t cpu_backend_make(int n_threads);
void cpu_backend_free(ggml_backend_t backend);
/* Computes a graph with that backend. */
enum ggml_status cpu_compute(ggml_backend_t backend, struct ggml_cgraph *graph);

#endif

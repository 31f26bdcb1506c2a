/* The functions that the CPU device of the host had before hooks.c replaced them. */
#include "cpu.h"

static ggml_backend_dev_t device;
static struct ggml_backend_device_i device_functions;
static struct ggml_backend_buffer_type_i buffer_functions;

bool cpu_find(void)
{
    device = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
    ggml_backend_buffer_type_t type = device ? ggml_backend_dev_buffer_type(device) : NULL;
    if (!type || !device->iface.init_backend || !device->iface.supports_buft || !device->iface.supports_op ||
        !type->iface.alloc_buffer) {
        device = NULL;
        return false;
    }
    device_functions = device->iface;
    buffer_functions = type->iface;
    return true;
}

ggml_backend_dev_t cpu_device(void)
{
    return device;
}

const struct ggml_backend_device_i *cpu_device_functions(void)
{
    return &device_functions;
}

const struct ggml_backend_buffer_type_i *cpu_buffer_functions(void)
{
    return &buffer_functions;
}

ggml_backend_t cpu_backend_make(int n_threads)
{
    ggml_backend_t backend = device_functions.init_backend(device, NULL);
    ggml_backend_set_n_threads_t set = (ggml_backend_set_n_threads_t)ggml_backend_reg_get_proc_address(
        ggml_backend_dev_backend_reg(device), "ggml_backend_set_n_threads");
    if (backend && set) {
        set(backend, n_threads);
    }
    return backend;
}

void cpu_backend_free(ggml_backend_t backend)
{
    ggml_backend_free(backend);
}

enum ggml_status cpu_compute(ggml_backend_t backend, struct ggml_cgraph *graph)
{
    return backend->iface.graph_compute(backend, graph);
}

/*
 * A GPU for tests: a backend of ggml with one device, "FAKE0", whose memory no other backend may touch, and
 * which lets the CPU's backend compute. The host loads it like any other.
 */
#include "ggml-backend-impl.h"
#include "ggml-backend.h"
#include "ggml.h"

#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 128 };

static struct ggml_backend_buffer_type fake_type;
static struct ggml_backend_device fake_device;
static struct ggml_backend_reg fake_registry;

static ggml_backend_dev_t cpu(void)
{
    return ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
}

/* ---- memory ---- */

static void buffer_free(ggml_backend_buffer_t buffer)
{
    free(buffer->context);
}

static void *buffer_base(ggml_backend_buffer_t buffer)
{
    return buffer->context;
}

static void buffer_memset(ggml_backend_buffer_t buffer, struct ggml_tensor *tensor, uint8_t value,
                          size_t offset, size_t size)
{
    (void)buffer;
    memset((char *)tensor->data + offset, value, size);
}

static void buffer_set(ggml_backend_buffer_t buffer, struct ggml_tensor *tensor, const void *data,
                       size_t offset, size_t size)
{
    (void)buffer;
    memcpy((char *)tensor->data + offset, data, size);
}

static void buffer_get(ggml_backend_buffer_t buffer, const struct ggml_tensor *tensor, void *data,
                       size_t offset, size_t size)
{
    (void)buffer;
    memcpy(data, (const char *)tensor->data + offset, size);
}

/* As a real one does it: what comes from the host's memory or from its own is copied as it is, and it knows
 * that memory by its type alone. */
static bool buffer_copy(ggml_backend_buffer_t buffer, const struct ggml_tensor *from, struct ggml_tensor *to)
{
    (void)buffer;
    const struct ggml_tensor *owner = from->view_src ? from->view_src : from;
    if (owner->buffer->buft != &fake_type) {
        return false;
    }
    memcpy(to->data, from->data, ggml_nbytes(from));
    return true;
}

static void buffer_clear(ggml_backend_buffer_t buffer, uint8_t value)
{
    memset(buffer->context, value, buffer->size);
}

static const struct ggml_backend_buffer_i buffer_functions = {
    .free_buffer = buffer_free,
    .get_base = buffer_base,
    .memset_tensor = buffer_memset,
    .set_tensor = buffer_set,
    .get_tensor = buffer_get,
    .cpy_tensor = buffer_copy,
    .clear = buffer_clear,
};

static const char *name_of_type(ggml_backend_buffer_type_t type)
{
    (void)type;
    return "FAKE0";
}

static ggml_backend_buffer_t type_alloc(ggml_backend_buffer_type_t type, size_t size)
{
    void *memory = aligned_alloc(ALIGNMENT, (size / ALIGNMENT + 1) * ALIGNMENT);
    return memory ? ggml_backend_buffer_init(type, buffer_functions, memory, size) : NULL;
}

static size_t type_alignment(ggml_backend_buffer_type_t type)
{
    (void)type;
    return ALIGNMENT;
}

/* ---- computing ---- */

static const char *name_of_backend(ggml_backend_t backend)
{
    (void)backend;
    return "FAKE0";
}

static void backend_free(ggml_backend_t backend)
{
    ggml_backend_free(backend->context);
    free(backend);
}

static enum ggml_status backend_compute(ggml_backend_t backend, struct ggml_cgraph *graph)
{
    return ggml_backend_graph_compute(backend->context, graph);
}

static ggml_backend_t device_backend(ggml_backend_dev_t device, const char *params)
{
    static ggml_guid guid = {0xfa, 0x4e};
    ggml_backend_t backend = calloc(1, sizeof *backend), helper = ggml_backend_dev_init(cpu(), params);
    if (!backend || !helper) {
        free(backend);
        if (helper) {
            ggml_backend_free(helper);
        }
        return NULL;
    }
    backend->guid = &guid;
    backend->device = device;
    backend->context = helper;
    backend->iface.get_name = name_of_backend;
    backend->iface.free = backend_free;
    backend->iface.graph_compute = backend_compute;
    return backend;
}

/* ---- the device ---- */

static const char *name_of_device(ggml_backend_dev_t device)
{
    (void)device;
    return "FAKE0";
}

static void device_memory(ggml_backend_dev_t device, size_t *available, size_t *total)
{
    (void)device;
    *available = *total = (size_t)8 << 30;
}

static enum ggml_backend_dev_type device_type(ggml_backend_dev_t device)
{
    (void)device;
    return GGML_BACKEND_DEVICE_TYPE_GPU;
}

static void device_props(ggml_backend_dev_t device, struct ggml_backend_dev_props *props)
{
    memset(props, 0, sizeof *props);
    props->name = props->description = name_of_device(device);
    props->type = device_type(device);
    device_memory(device, &props->memory_free, &props->memory_total);
}

static ggml_backend_buffer_type_t device_buffer_type(ggml_backend_dev_t device)
{
    (void)device;
    return &fake_type;
}

static bool device_supports_op(ggml_backend_dev_t device, const struct ggml_tensor *op)
{
    (void)device;
    return ggml_backend_dev_supports_op(cpu(), op);
}

static bool device_supports_type(ggml_backend_dev_t device, ggml_backend_buffer_type_t type)
{
    (void)device;
    return type == &fake_type;
}

static struct ggml_backend_buffer_type fake_type = {
    .iface = {.get_name = name_of_type, .alloc_buffer = type_alloc, .get_alignment = type_alignment},
    .device = &fake_device,
};

static struct ggml_backend_device fake_device = {
    .iface =
        {
            .get_name = name_of_device,
            .get_description = name_of_device,
            .get_memory = device_memory,
            .get_type = device_type,
            .get_props = device_props,
            .init_backend = device_backend,
            .get_buffer_type = device_buffer_type,
            .supports_op = device_supports_op,
            .supports_buft = device_supports_type,
        },
    .reg = &fake_registry,
};

/* ---- the registry ---- */

static const char *name_of_registry(ggml_backend_reg_t registry)
{
    (void)registry;
    return "FAKE";
}

static size_t count_devices(ggml_backend_reg_t registry)
{
    (void)registry;
    return 1;
}

static ggml_backend_dev_t get_device(ggml_backend_reg_t registry, size_t index)
{
    (void)registry;
    return index == 0 ? &fake_device : NULL;
}

static void *get_function(ggml_backend_reg_t registry, const char *name)
{
    (void)registry;
    (void)name;
    return NULL;
}

static struct ggml_backend_reg fake_registry = {
    .api_version = GGML_BACKEND_API_VERSION,
    .iface = {name_of_registry, count_devices, get_device, get_function},
};

static ggml_backend_reg_t fake_init(void)
{
    return &fake_registry;
}

GGML_BACKEND_DL_IMPL(fake_init)

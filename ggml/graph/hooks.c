/* The functions that replace those of the host. hooks.h lists them. */
#include "hooks.h"

#include "cache/buffer.h"
#include "base/cpu.h"
#include "graph.h"
#include "base/log.h"
#include "base/probe.h"
#include "remote.h"

#include "ggml-impl.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_DEVICES = 64 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* ---- memory ---- */

/*
 * The host asks for the size of each tensor of a cache, one after the other, and then for a buffer of their
 * sum: that buffer is theirs. It asks for sizes at other times, too, so the sum may be that of the last of
 * them.
 */
typedef struct asked {
    size_t *sizes; /* padded */
    int n, room;
    int last_f16; /* of sizes [0, last_f16) one at least is of a tensor that may become a plane */
} asked;

static _Thread_local asked sizes;

static void asked_reset(asked *a)
{
    a->n = a->last_f16 = 0;
}

static void asked_add(asked *a, size_t size, bool may_become_plane)
{
    if (a->n == a->room) {
        int room = a->room ? 2 * a->room : 256;
        size_t *more = realloc(a->sizes, (size_t)room * sizeof *more);
        if (!more) {
            asked_reset(a);
            return; /* the cache stays as it is */
        }
        a->sizes = more;
        a->room = room;
    }
    a->sizes[a->n++] = size;
    a->last_f16 = may_become_plane ? a->n : a->last_f16;
}

/* How many of the last tensors make up a buffer of that size; 0: it is not theirs. */
static int asked_match(const asked *a, size_t size)
{
    size_t sum = 0;
    for (int i = a->n - 1; i >= 0 && sum < size; i--) {
        sum += a->sizes[i];
        if (sum == size) {
            return i < a->last_f16 ? a->n - i : 0;
        }
    }
    return 0;
}

static size_t hooked_get_alloc_size(ggml_backend_buffer_type_t type, const struct ggml_tensor *tensor)
{
    const struct ggml_backend_buffer_type_i *original = cpu_buffer_functions();
    size_t size = original->get_alloc_size ? original->get_alloc_size(type, tensor) : ggml_nbytes(tensor);
    if (strncmp(tensor->name, "cache_", 6) != 0) {
        asked_reset(&sizes);
        return size;
    }
    tada_shape shape;
    tada_spec spec;
    int layer;
    bool fits, is_plane = cache_shape(policy_now(), tensor, &shape, &spec, &layer, &fits);
    if (tensor->buffer && !tensor->data) {
        /* The host only simulates an allocation. */
        const probe *p = probe_get();
        if (is_plane && p && p->plane) {
            p->plane(tensor, &spec, &shape);
        }
        return is_plane ? tada_plane_bytes(&spec, &shape) : size;
    }
    asked_add(&sizes, GGML_PAD(size, original->get_alignment(type)), is_plane);
    return size;
}

static ggml_backend_buffer_t hooked_alloc_buffer(ggml_backend_buffer_type_t type, size_t size)
{
    int n = asked_match(&sizes, size);
    free(sizes.sizes);
    sizes = (asked){NULL, 0, 0, 0};
    const cache_policy *policy = policy_now();
    if (size > 0 && !policy->spec.stock && (n > 0 || remote_is_on())) {
        return buffer_make(size, n, policy);
    }
    return cpu_buffer_functions()->alloc_buffer(type, size);
}

/* ---- the device ---- */

static bool hooked_supports_buft(ggml_backend_dev_t device, ggml_backend_buffer_type_t type)
{
    return type == &cache_buffer_type || cpu_device_functions()->supports_buft(device, type);
}

static bool hooked_supports_op(ggml_backend_dev_t device, const struct ggml_tensor *op)
{
    const probe *p = probe_get();
    if (p && p->operation) {
        p->operation(op);
    }
    return cpu_device_functions()->supports_op(device, op);
}

/* ---- other devices ---- */

typedef bool (*supports_op_function)(ggml_backend_dev_t, const struct ggml_tensor *);

static struct {
    ggml_backend_dev_t device;
    supports_op_function original;
} others[MOST_DEVICES];
static atomic_int n_others;

/* Logs, once in a process, that a cache is in the memory of another device and stays uncompressed. */
static void tell_elsewhere(ggml_backend_dev_t device, const struct ggml_tensor *root)
{
    static atomic_flag told = ATOMIC_FLAG_INIT;
    enum tada_kind kind;
    int layer;
    if (root->buffer && !ggml_backend_buffer_is_host(root->buffer) && root->type == GGML_TYPE_F16 &&
        cache_name(root->name, &kind, &layer) && !policy_now()->spec.stock &&
        !atomic_flag_test_and_set(&told)) {
        log_line(GGML_LOG_LEVEL_WARN,
                 "the KV cache of layer %d and others is in the memory of %s and stays uncompressed: with "
                 "-nkvo (--no-kv-offload) it is kept in RAM, compressed",
                 layer, ggml_backend_dev_name(device));
    }
}

static bool hooked_other_supports_op(ggml_backend_dev_t device, const struct ggml_tensor *op)
{
    if (op->op == GGML_OP_FLASH_ATTN_EXT && op->src[1]) {
        /* Attention over our caches is the CPU's, or they would be decoded and copied each time. */
        if (cache_buffer_of(op->src[1])) {
            return false;
        }
        tell_elsewhere(device, cache_root(op->src[1]));
    }
    supports_op_function original = NULL;
    /* The last one that was hooked: a device may lie at the address of one that is gone. */
    for (int i = n_others - 1; i >= 0 && !original; i--) {
        original = others[i].device == device ? others[i].original : NULL;
    }
    return original && original(device, op);
}

/* Devices come later, too: those of other machines, when a program has named them. */
static void hook_others(void)
{
    for (size_t i = 0; i < ggml_backend_dev_count(); i++) {
        ggml_backend_dev_t device = ggml_backend_dev_get(i);
        if (device == cpu_device() || !device->iface.supports_op ||
            device->iface.supports_op == hooked_other_supports_op || n_others == MOST_DEVICES) {
            continue;
        }
        others[n_others].device = device;
        others[n_others].original = device->iface.supports_op;
        n_others++;
        device->iface.supports_op = hooked_other_supports_op;
    }
}

/* ---- backends ---- */

typedef struct hooked_backend {
    ggml_backend_t backend;
    graph *graph;
    void (*free)(ggml_backend_t);
    graph_original original;
    struct hooked_backend *next;
} hooked_backend;

static hooked_backend *backends;

static hooked_backend *find_backend(ggml_backend_t backend)
{
    pthread_mutex_lock(&lock);
    hooked_backend *h = backends;
    while (h && h->backend != backend) {
        h = h->next;
    }
    pthread_mutex_unlock(&lock);
    return h;
}

static enum ggml_status hooked_graph_compute(ggml_backend_t backend, struct ggml_cgraph *cgraph)
{
    hooked_backend *h = find_backend(backend);
    return cache_any() ? graph_compute(h->graph, cgraph) : h->original(backend, cgraph);
}

static void hooked_free(ggml_backend_t backend)
{
    pthread_mutex_lock(&lock);
    hooked_backend **at = &backends;
    while ((*at)->backend != backend) {
        at = &(*at)->next;
    }
    hooked_backend *h = *at;
    *at = h->next;
    pthread_mutex_unlock(&lock);
    graph_free(h->graph);
    h->free(backend);
    free(h);
}

static ggml_backend_t hooked_init_backend(ggml_backend_dev_t device, const char *params)
{
    ggml_backend_t backend = cpu_device_functions()->init_backend(device, params);
    hooked_backend *h = backend ? calloc(1, sizeof *h) : NULL;
    graph *g = h ? graph_make(backend, backend->iface.graph_compute) : NULL;
    if (!g) {
        /* A back-end without hooks would touch the memory of planes, which is closed. */
        if (backend) {
            log_line(GGML_LOG_LEVEL_ERROR, "out of memory for a backend: free some and try again");
            backend->iface.free(backend);
        }
        free(h);
        return NULL;
    }
    *h = (hooked_backend){backend, g, backend->iface.free, backend->iface.graph_compute, NULL};
    backend->iface.graph_compute = hooked_graph_compute;
    backend->iface.free = hooked_free;
    pthread_mutex_lock(&lock);
    h->next = backends;
    backends = h;
    hook_others();
    pthread_mutex_unlock(&lock);
    return backend;
}

/* ---- setting them ---- */

bool hooks_set(void)
{
    static bool done;
    pthread_mutex_lock(&lock);
    if (!done && cpu_find()) {
        ggml_backend_dev_t device = cpu_device();
        ggml_backend_buffer_type_t type = ggml_backend_dev_buffer_type(device);
        buffer_type_init(device);
        device->iface.init_backend = hooked_init_backend;
        device->iface.supports_buft = hooked_supports_buft;
        device->iface.supports_op = hooked_supports_op;
        type->iface.get_alloc_size = hooked_get_alloc_size;
        type->iface.alloc_buffer = hooked_alloc_buffer;
        done = true;
    }
    if (done) {
        hook_others();
    }
    bool is_set = done;
    pthread_mutex_unlock(&lock);
    return is_set;
}

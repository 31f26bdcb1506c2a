/* The plug-in's parts know each other through this header; nothing here is arithmetic, that is libtada's. */
#ifndef TADA_PLUGIN_H
#define TADA_PLUGIN_H

#include "tada.h"

#include "ggml-backend-impl.h"
#include "ggml-backend.h"
#include "ggml.h"

struct tada_backend;

/* A cache tensor of llama.cpp and its plane; hangs on the root tensor's `extra`. */
typedef struct cache_plane {
    tada_plane *plane;
    int layer;
    int64_t width, n_cells, n_streams;
    size_t bytes;
    int n_sinks;                       /* that its spec asks for */
    struct tada_backend *unsettled_in; /* the backend that has yet to settle it */
    tada_pool *pool;                   /* the buffer's: for writes from outside a graph */
    struct read_tile *last_read;       /* the buffer's */
    const char *base;                  /* where the f16 tensor is that it stands for */
    void *memory;                      /* its own (mmap); NULL: it lies where the tensor is */
    struct cache_plane *next;
    enum tada_kind kind;
    struct counted_cache *counted_in; /* metrics.c; NULL without metrics */
    struct cache_plane *counted_next;
} cache_plane;

/* The tile that was read last from outside: sequences that were decoded side by side are saved cell by cell,
 * and would have each tile decoded once a cell. */
typedef struct read_tile {
    const cache_plane *cache; /* NULL: none yet */
    int64_t first, n;         /* its cells */
    uint64_t touches;         /* of all planes, when it was read */
    uint16_t *rows;
    size_t bytes;
} read_tile;

/* The context of a buffer of ours; one of no bytes has none. */
typedef struct cache_buffer {
    void *base;
    size_t size;
    cache_plane *planes;
    tada_pool *pool;
    read_tile last_read;
    bool told; /* why a cache in it is not compressed */
} cache_buffer;

/* The spec of this process, from its environment unless a program that measures sets others; problem: why
 * TADA_CACHE cannot be used, or "". */
typedef struct plugin_spec {
    tada_spec spec;
    const tada_plan *plan; /* NULL: all planes follow the spec */
    char problem[256];
    char text[512];  /* as it was given, perhaps cut off */
    bool by_program; /* one that measures, and makes contexts with a cache of llama.cpp on purpose */
} plugin_spec;

/* device.c */
const plugin_spec *tada_plugin_spec(void);
/* The spec that a plane follows, by its kind and width; sets the head size when a plan knows it. One that the
 * plan does not have gets the spec "tada", and the context is refused, unless the plan's model was seen. */
tada_spec tada_plugin_spec_of(int layer, tada_shape *shape);
/* Why the next compute buffer is to be refused; NULL: it is not. The text must live on. */
void tada_plugin_refuse(const char *reason);
const char *tada_plugin_refusal(void);
/* Notes which model a graph belongs to, and whether the plan is for it. */
void tada_plugin_see_model(const struct ggml_tensor *op);
void tada_plugin_log(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A variable of the environment is set to something other than 0: TADA_LOG, TADA_DEBUG. */
bool tada_plugin_wants(const char *variable);
/* Pools are counted, because their memory belongs in every figure that we report. */
tada_pool *tada_plugin_pool_create(void);
void tada_plugin_pool_free(tada_pool *pool);
/* What all pools hold now. */
size_t tada_plugin_scratch_bytes(void);
/* Logs the most that all pools together were seen to hold. */
void tada_plugin_log_scratch(void);

/* buffer.c */
ggml_backend_buffer_type_t tada_buffer_type(ggml_backend_dev_t device);
/* The tensor that owns the memory. */
const struct ggml_tensor *tada_root(const struct ggml_tensor *tensor);
/* Lives in a buffer of ours. */
bool tada_is_ours(const struct ggml_tensor *tensor);
/* Lives in a buffer of ours that outlasts a graph; false for intermediate results, whatever they are made of.
 */
bool tada_is_kept(const struct ggml_tensor *tensor);
/* Is one of them and a cache by its name: not a weight that llama.cpp offers, nor part of an adapter. */
bool tada_is_cache(const struct ggml_tensor *tensor);
/* Is, or is a view of, a compressed cache tensor, going by name and type (also before anything is allocated).
 */
bool tada_is_plane(const struct ggml_tensor *tensor);
/* The shape and spec of the plane that the owner of some memory gets; false: none. */
bool tada_plane_shape(const struct ggml_tensor *tensor, tada_shape *shape, tada_spec *spec, int *layer);
/* A plane has been made in this process. */
bool tada_has_planes(void);
/* What all planes occupy now. */
size_t tada_cache_bytes(void);
/* Its plane, or NULL. */
cache_plane *tada_plane_of(const struct ggml_tensor *tensor);
/* Where a tensor starts in the f16 tensor that its plane stands for, in bytes. */
size_t tada_plane_offset(const cache_plane *cache, const struct ggml_tensor *tensor);
/* Bytes of that tensor. */
size_t tada_plane_bytes_f16(const cache_plane *cache);
/* Makes one for a tensor that is no view; NULL: memory is short, and the log says so. */
cache_plane *tada_buffer_add_plane(cache_buffer *buffer, const struct ggml_tensor *tensor, int layer,
                                   const tada_spec *spec, const tada_shape *shape, void *memory,
                                   size_t bytes);
/* Warns, once, when rows with values that are not finite have been written to it. */
void tada_plane_warn(const cache_plane *cache);
/* Rows of some plane may have changed. */
void tada_planes_touch(void);
/* Bytes [offset, offset + size) of the f16 tensor that the plane stands for. */
bool tada_plane_get_bytes(cache_plane *cache, size_t offset, void *data, size_t size, int n_threads);
bool tada_plane_set_bytes(cache_plane *cache, size_t offset, const void *data, size_t size, int n_threads);

/* ops.c */
ggml_backend_t tada_backend_make(ggml_backend_dev_t device);
void tada_backend_set_threads(ggml_backend_t backend, int n_threads);
bool tada_supports_op(ggml_backend_dev_t device, const struct ggml_tensor *op);
bool tada_is_view_op(enum ggml_op op);
/* What an operation of attention over K and V that have planes reads and writes, but for the planes
 * themselves; before anything is allocated, the sizes. False: the library cannot do it as it is. */
bool tada_attention_of(const struct ggml_tensor *op, tada_attention *attention);
/* A plane that goes away must not be settled any more. */
void tada_backend_forget(cache_plane *cache);
/* Compresses what a plane holds beyond its window. */
enum tada_status tada_backend_encode(cache_plane *cache, int n_threads);
/* Compresses what a graph has left uncompressed. */
void tada_backend_settle(cache_plane *cache);

void tada_cpu_set_threads(ggml_backend_t cpu, int n_threads);

/* shift.c: a ROPE in place on all of K. */
bool tada_shift_fits(const struct ggml_tensor *op);
enum tada_status tada_shift_run(const struct ggml_tensor *op, int n_threads, tada_error *error);

/* plan_file.c: the caller frees *plan with tada_plan_free. */
enum tada_status tada_plan_read(const char *path, tada_plan **plan, tada_error *error);
/* Under a temporary name first. */
enum tada_status tada_plan_write(const tada_plan *plan, const char *path, tada_error *error);

/* statistics.c: of one layer, for calibration */
typedef struct tada_layer_statistics {
    int k_width, v_width, head_dim;
    double *q_squares; /* [k_width]: squares of all queries that read the channel */
    /* What attention was given last, but for the planes: of the last 64 queries every other one, with their
     * masks, which stay the plug-in's and change with the next batch. n_queries 0: it cannot be told. */
    tada_attention attention;
} tada_layer_statistics;
/* From now on attention is watched, or no longer; forgets what was seen. For programs that measure, while
 * nothing computes. */
void tada_statistics_watch(bool on);
/* False: nothing was seen of the layer. q_squares stay the plug-in's, until tada_statistics_watch. */
bool tada_statistics_get(int layer, tada_layer_statistics *statistics);
/* Rows of the plane that attention read last, as tada_plane_read; false: it is gone. */
bool tada_statistics_rows(int layer, enum tada_kind kind, int64_t first, int64_t n, uint16_t *rows,
                          int n_threads);
void tada_statistics_add(cache_plane *k, cache_plane *v, const tada_attention *attention);
/* A plane goes away. */
void tada_statistics_forget(const cache_plane *cache);

/* whole.c: TADA_DEVICE=all, the device runs all of a model. */
/* Reads the environment. Why that cannot be used, or NULL. */
const char *tada_whole_init(void);
bool tada_whole(void);
/* Threads for what is read and written outside a graph. */
void tada_whole_set_threads(int n_threads);
int tada_whole_threads(void);
/* Goes by the address of a tensor. */
cache_plane *tada_whole_plane_of(const struct ggml_tensor *tensor);
/* Makes the planes of the caches that attention reads in a graph that is about to run. */
void tada_whole_prepare(const struct ggml_cgraph *graph);
/* How many nodes from `first` on have nothing to do with a plane. */
int tada_whole_run(const struct ggml_cgraph *graph, int first);
enum ggml_status tada_whole_compute(ggml_backend_t cpu, struct ggml_cgraph *graph, int first, int n);
/* What an op on planes reads and writes lies within its tensors and their planes; else the log names it. */
bool tada_whole_allows(const struct ggml_tensor *op);
/* measure.c: for programs that ask for sizes before anything is allocated */
/* From now on attention that llama.cpp asks about counts, with so many threads, and after tada_measure_planes
 * the planes do: each time that it asks for the size of one. */
void tada_measure_begin(int n_threads);
void tada_measure_planes(void);
/* Ends it: the parts of all planes, and the scratch at its most. NULL, or why such a cache would be refused.
 */
const char *tada_measure_end(tada_plane_parts *parts, size_t *scratch);
bool tada_measure_is_on(void);
void tada_measure_add_plane(const tada_spec *spec, const tada_shape *shape);
void tada_measure_add_attention(const struct ggml_tensor *op);

/* generic.c: runs any op on cache tensors through the CPU backend, on decoded rows. */
enum ggml_status tada_generic_compute(ggml_backend_t cpu, struct ggml_tensor *op, int n_threads);

#endif

/*
 * Caches: a buffer that holds the K and V tensors of a context, and their planes.
 *
 * The host lays its f16 tensors out in the buffer's address space, of which no page is touched for a tensor
 * that has a plane: whoever reads or writes it gets the rows that it stands for. A tensor gets its plane when
 * the first attention is about to read it, as only that tells that attention can; until then, and for good
 * where no attention reads it so (flash attention is off, indexers), it is plain memory.
 *
 * A plane is known by the addresses of the tensor that it stands for: tensors come anew with each graph, and
 * with each request of an RPC client.
 */
#ifndef PLUGIN_CACHE_CACHE_H
#define PLUGIN_CACHE_CACHE_H

#include "base/lost.h"
#include "metrics/metrics.h"
#include "policy/policy.h"
#include "base/ranges.h"
#include "base/scratch.h"

#include "ggml-backend-impl.h"
#include "ggml.h"

#include <stdatomic.h>

/* The type of all of these buffers, by whose address they are told from others; buffer.c fills it. */
extern struct ggml_backend_buffer_type cache_buffer_type;

typedef struct cache_buffer cache_buffer;

typedef struct cache_plane {
    tada_plane *plane;
    cache_buffer *buffer;
    enum tada_kind kind;
    int layer;
    int64_t width, n_cells, n_streams;
    int n_sinks;              /* that its spec asks for */
    const char *base;         /* where the f16 tensor is that it stands for; */
    size_t bytes_f16;         /* of that tensor */
    void *memory;             /* its own (mmap) */
    size_t bytes;             /* of that */
    struct cache_plane *next; /* of the buffer */
    /* Of the graph that is being prepared (graph.c): its nodes that last wrote it, attended to it, and read
     * its decoded rows; -1: none did. */
    int written_at, attended_at, read_at;
    bool enlarged; /* its memory has large pages */
    bool awaited;  /* rows were written that their own attention has not seen: they stay exact until then */
    lost_cells lost;
    counted_plane counted;
} cache_plane;

/* The tile that was read last from outside: sequences that were decoded side by side are saved cell by cell,
 * and would have each tile decoded once a cell. */
typedef struct read_tile {
    const cache_plane *cache; /* NULL: none yet */
    int64_t first, n;         /* its cells */
    uint64_t touches;         /* of the buffer, when it was read */
    scratch rows, decoding;   /* of any tile of its planes: a state that is read cannot fail */
} read_tile;

struct cache_buffer {
    char *base; /* of the address space; NULL: of no bytes */
    size_t size;
    const cache_policy *policy; /* in force when it was sized */
    tada_pool *pool;            /* of all its planes */
    cache_plane *planes;
    uint64_t touches; /* rows may have changed so often */
    read_tile last_read;
    int n_tensors;  /* that are to come; 0: unknown, as with RPC */
    int n_come;     /* of these */
    size_t becomes; /* bytes that those that came will occupy, as far as can be told */
    size_t stays;   /* the same if none becomes a plane */
    bool is_mixed;  /* K or V has another type than f16, so none will */
    /* Of the planes that its tensors may become, until the first one is made; 0: none will be. */
    size_t expected, expected_f16;
    int told_planes;    /* so many are in the log */
    bool told_plain;    /* why tensors are not compressed */
    bool told_plan;     /* that the plan is for another model */
    ranges restored;    /* what was set at once before there was a plane, of the address space */
    cache_buffer *next; /* of all */
};

/* ---- buffers ---- */

/* n_tensors: cache tensors that the host is about to put into it, or 0. NULL: memory is short, and the log
 * says so. */
cache_buffer *cache_buffer_make(size_t size, int n_tensors, const cache_policy *policy);
void cache_buffer_free(cache_buffer *buffer);
/* All rows are gone, and their pages are the system's again. What has no plane gets `value` in each byte. */
void cache_buffer_clear(cache_buffer *buffer, uint8_t value);
/* What the tensor's buffer is if it is one of ours, or NULL. */
cache_buffer *cache_buffer_of(const struct ggml_tensor *tensor);

/* Whether there is any. */
bool cache_any(void);
/* A tensor has come that may become a plane. */
void cache_buffer_expect(cache_buffer *buffer, size_t bytes, size_t bytes_f16);
/* None will. */
void cache_buffer_expect_none(cache_buffer *buffer);
/* Notes that some or all of its tensors stay as they are. False: that was known, and has been told. */
bool cache_buffer_plain(cache_buffer *buffer);
/* Bytes of all buffers: what their planes may occupy (also before there are any, as far as can be told), what
 * of it is in memory now, and in f16. */
void cache_bytes(size_t *reserved, size_t *used, size_t *f16);
/* What they hold beside: pools, and scratch of graphs. */
size_t cache_scratch_bytes(void);

/* ---- planes ---- */

/* The tensor that owns the memory. */
static inline const struct ggml_tensor *cache_root(const struct ggml_tensor *tensor)
{
    return tensor->view_src ? tensor->view_src : tensor;
}

/* "cache_k_l12": K or V of layer 12. False: another name. */
bool cache_name(const char *name, enum tada_kind *kind, int *layer);
/* The shape and spec of the plane that a tensor by that name and of that type may become, whatever buffer it
 * is in; false: none. *fits: the policy's plan knows it. */
bool cache_shape(const cache_policy *policy, const struct ggml_tensor *tensor, tada_shape *shape,
                 tada_spec *spec, int *layer, bool *fits);
/* The bytes of that plane, or 0. */
size_t cache_shape_bytes(const cache_policy *policy, const struct ggml_tensor *tensor);

/* Makes the plane of a tensor that owns its memory and is read in heads of that size; NULL: it stays plain
 * memory, and the log says why. fits: whether the plan of the policy is for the model. */
cache_plane *cache_plane_make(const struct ggml_tensor *root, int64_t head_dim, bool fits);
/* The plane that stands for a part of [from, from + size), or NULL. */
cache_plane *cache_plane_at(const cache_buffer *buffer, const char *from, size_t size);
/* How many have been made in this process: a graph that was looked at before may touch one that came since.
 */
uint64_t cache_planes_made(void);
/* Its plane, or NULL. */
cache_plane *cache_plane_of(const struct ggml_tensor *tensor);
/* Where a tensor starts in the tensor that its plane stands for, in bytes. */
size_t cache_plane_offset(const cache_plane *cache, const struct ggml_tensor *tensor);

/* Rows of its planes may have changed. */
void cache_touch(cache_buffer *buffer);
/* Compresses what is beyond the window, if that is still to be done. False: memory is short; it will be done
 * the next time. */
bool cache_settle(cache_plane *cache);
/* Large pages for a plane once it is half full: attention reads all of it for every token, and is held up by
 * the translation of addresses, but before they would take memory for cells that may never be written. */
void cache_enlarge(cache_plane *cache);
/* Says, once, that rows with values that are not finite have been written. */
void cache_warn_nonfinite(const cache_plane *cache);

/* Gets the memory that reading needs, as reading cannot fail: when the plane is made, and again when its head
 * size has changed. False: memory is short. */
bool cache_read_ready(cache_plane *cache);
/* Bytes [offset, offset + size) of the tensor that the plane stands for. */
void cache_get(cache_plane *cache, size_t offset, void *data, size_t size);
/* False: memory is short. */
bool cache_set(cache_plane *cache, size_t offset, const void *data, size_t size);
/* The same of a tensor without a plane, which may get one later. */
void cache_set_plain(cache_buffer *buffer, char *to, const void *data, size_t size);
/* All of a stream of the plane to another one, as codes. */
bool cache_copy_stream(cache_plane *cache, int64_t from, int64_t to);

#endif

/*
 * Caches: a cache buffer holds the K and V tensors of a context, and the planes that stand for them.
 *
 * The host lays its f16 tensors out in the address space of the buffer. When a tensor has a plane, no page of
 * that address space is touched: whoever reads or writes the tensor gets or changes the rows of the plane. A
 * tensor gets its plane just before the first flash attention reads it (graph/model.c), as only then it is
 * known that attention can. Until then the tensor is plain memory. It stays so where no flash attention reads
 * it: flash attention is off, or the tensor belongs to an indexer.
 *
 * A plane is found by the addresses of the tensor that it stands for, as the host makes new tensors for each
 * graph and an RPC client for each request.
 *
 * Planes are made and freed, and rows written, on one thread of the host at a time. The sums over all buffers
 * (cache_bytes, cache_scratch_bytes) may be asked for from any thread.
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

/* The type of all cache buffers. Its address tells them from other buffers. buffer.c fills it. */
extern struct ggml_backend_buffer_type cache_buffer_type;

typedef struct cache_buffer cache_buffer;

typedef struct cache_plane {
    tada_plane *plane;
    cache_buffer *buffer;
    enum tada_kind kind;
    int layer;
    int64_t width, n_cells, n_streams;
    int n_sinks;              /* first cells of a sequence that its spec keeps exact */
    const char *base;         /* address of the f16 tensor that the plane stands for */
    size_t bytes_f16;         /* bytes of that tensor */
    void *memory;             /* the plane's own memory (mmap), owned */
    size_t bytes;             /* bytes of `memory` */
    struct cache_plane *next; /* the next plane of the buffer */
    /* Numbers of the nodes in the graph that is being prepared (graph.c) that last write the plane, attend to
     * it, and read its decoded rows; -1: no node does. */
    int written_at, attended_at, read_at;
    bool enlarged; /* `memory` has large pages */
    bool awaited;  /* rows were written whose own attention is still to come: they stay exact until then */
    lost_cells lost;
    counted_plane counted;
} cache_plane;

/* The tile that was read last from outside of graphs. Sequences that were decoded side by side are saved cell
 * by cell; without this each cell would decode its tile again. */
typedef struct read_tile {
    const cache_plane *cache; /* NULL: none yet */
    int64_t first, n;         /* its cells */
    uint64_t touches;         /* the buffer's `touches` when it was read */
    scratch rows, decoding;   /* large enough for any tile of the buffer, as reading a state cannot fail */
} read_tile;

struct cache_buffer {
    char *base; /* the address space; NULL: the buffer has no bytes */
    size_t size;
    const cache_policy *policy; /* the one in force when the buffer was sized */
    tada_pool *pool;            /* shared by all planes of the buffer, owned */
    cache_plane *planes;
    uint64_t touches; /* rises whenever rows may have changed */
    read_tile last_read;
    int n_tensors;  /* tensors that the host will put into it; 0: unknown, as with RPC */
    int n_come;     /* tensors that it has put into it */
    size_t becomes; /* bytes that these tensors will occupy as planes, as far as can be told */
    size_t stays;   /* bytes that they occupy if none becomes a plane */
    bool is_mixed;  /* K or V has another type than f16, so no tensor becomes a plane */
    /* Bytes of the planes that its tensors may become, and of these tensors, until the first plane is made.
     * 0: no tensor will become a plane. */
    size_t expected, expected_f16;
    int told_planes; /* planes that the log has named */
    bool told_plain; /* the log has said why tensors stay uncompressed */
    bool told_plan;  /* the log has said that the plan is for another model */
    ranges restored; /* ranges of the address space that were set, each at once, before there was a plane */
    cache_buffer *next; /* the next buffer of the process */
};

/* ---- buffers ---- */

/* Makes a buffer of `size` bytes. n_tensors: cache tensors that the host is about to put into it; 0: unknown.
 * The policy must live until the process ends. NULL: memory is short, and the log says so. */
cache_buffer *cache_buffer_make(size_t size, int n_tensors, const cache_policy *policy);
/* Frees the buffer and its planes. */
void cache_buffer_free(cache_buffer *buffer);
/* Forgets all rows and gives their pages back to the system. Each byte of a tensor without a plane becomes
 * `value`. */
void cache_buffer_clear(cache_buffer *buffer, uint8_t value);
/* The cache buffer that a tensor is in. NULL: it is in another kind of buffer. */
cache_buffer *cache_buffer_of(const struct ggml_tensor *tensor);

/* Whether there is a cache buffer in the process. */
bool cache_any(void);
/* A tensor of bytes_f16 bytes has come that may become a plane of `bytes`. */
void cache_buffer_expect(cache_buffer *buffer, size_t bytes, size_t bytes_f16);
/* No tensor of the buffer will become a plane. */
void cache_buffer_expect_none(cache_buffer *buffer);
/* Notes that tensors of the buffer stay uncompressed. True: the log has not said so yet, and the caller
 * should. */
bool cache_buffer_plain(cache_buffer *buffer);
/* Sums over all buffers, in bytes: what their planes may occupy (before they are made: what is expected), how
 * much of that is in memory now, and the f16 tensors that they stand for. Any pointer may be NULL. */
void cache_bytes(size_t *reserved, size_t *used, size_t *f16);
/* Bytes of all pools, and of the scratch of graphs. */
size_t cache_scratch_bytes(void);

/* ---- planes ---- */

/* The tensor that owns the memory of a tensor: the one that it is a view of, or itself. */
static inline const struct ggml_tensor *cache_root(const struct ggml_tensor *tensor)
{
    return tensor->view_src ? tensor->view_src : tensor;
}

/* Reads a name such as "cache_k_l12", K of layer 12. False: it is no such name. */
bool cache_name(const char *name, enum tada_kind *kind, int *layer);
/* The shape and the spec of the plane that a tensor may become, by its name, type and size; its buffer does
 * not matter. False: it cannot become one. *fits: the plan of the policy has this plane, or there is no plan.
 */
bool cache_shape(const cache_policy *policy, const struct ggml_tensor *tensor, tada_shape *shape,
                 tada_spec *spec, int *layer, bool *fits);
/* The bytes of that plane; 0: the tensor cannot become one. */
size_t cache_shape_bytes(const cache_policy *policy, const struct ggml_tensor *tensor);

/*
 * Makes the plane of a tensor that owns its memory and that attention reads in heads of head_dim values. Rows
 * that the tensor already holds go into the plane. fits: the plan of the policy is for this model. The buffer
 * owns the plane. NULL: the tensor stays plain memory, and the log says why.
 */
cache_plane *cache_plane_make(const struct ggml_tensor *root, int64_t head_dim, bool fits);
/* The plane that stands for any byte of [from, from + size); NULL: none does. */
cache_plane *cache_plane_at(const cache_buffer *buffer, const char *from, size_t size);
/* Bytes of a row of the f16 tensor. */
static inline size_t cache_row_bytes(const cache_plane *cache)
{
    return (size_t)cache->width * 2;
}
/* How many planes this process has made. A list that was prepared for a graph is stale when it has changed.
 */
uint64_t cache_planes_made(void);
/* The plane that stands for a tensor, or for what it is a view of; NULL: there is none. */
cache_plane *cache_plane_of(const struct ggml_tensor *tensor);
/* The offset in bytes of a tensor in the tensor that its plane stands for. */
size_t cache_plane_offset(const cache_plane *cache, const struct ggml_tensor *tensor);

/* Says that rows of planes of the buffer may have changed. */
void cache_touch(cache_buffer *buffer);
/* Settles the plane: compresses the tiles that have left the window. False: memory is short, and the next
 * call tries again. */
bool cache_settle(cache_plane *cache);
/* Gives a plane large pages once it is half full. Attention reads all of a plane for every token, and waits
 * for address translation (TLB misses). Before that, large pages would take memory for cells that may never
 * be written. */
void cache_enlarge(cache_plane *cache);
/* Logs, once in a process, that rows with values that are not finite have been written. */
void cache_warn_nonfinite(const cache_plane *cache);

/* Allocates what cache_get needs, as cache_get cannot fail. Called when a plane is made, and again when its
 * head size has changed. False: memory is short. */
bool cache_read_ready(cache_plane *cache);

/* The f16 rows of the cells from `cell` to the end of its tile, decoded. They are valid until another tile of
 * the buffer is read, or one of its planes changes. */
const uint16_t *cache_read_tile(cache_plane *cache, int64_t cell);
/* Copies bytes [offset, offset + size) of the tensor that the plane stands for. */
void cache_get(cache_plane *cache, size_t offset, void *data, size_t size);
/* Writes bytes [offset, offset + size) of that tensor. False: memory is short; the cells that were not
 * written are noted as lost. */
bool cache_set(cache_plane *cache, size_t offset, const void *data, size_t size);
/* Writes to a tensor without a plane, which may get one later. */
void cache_set_plain(cache_buffer *buffer, char *to, const void *data, size_t size);
/* Copies stream `from` of the plane to stream `to`, codes as codes. False: memory is short, and the cells of
 * stream `to` are noted as lost. */
bool cache_copy_stream(cache_plane *cache, int64_t from, int64_t to);

#endif

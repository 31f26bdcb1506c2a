/*
 * TaDA: a compressed key-value cache for language models.
 *
 * One layer's K or V cache is a plane: rows (one per cell) of n_heads x head_dim values. A plane is cut into
 * tiles of 64 consecutive cells of one stream. A tile is hot (rows in f16) or cold (compressed; a recipe says
 * how). A cold tile has codes and, while memory that is not needed for codes is left, a refinement: what they
 * lack of about 8 bits. The method follows TaDA (arXiv 2506.04642): centre, quantise the deviations, keep the
 * recent tokens exact.
 *
 * Unless a function says otherwise: no argument may be NULL, pointers stay owned by the caller, one plane may
 * be used by one thread at a time, and different planes may be used at once. f16 is IEEE binary16 held in
 * uint16_t. The library starts no threads: it works on those of its caller (tada_threads, or the jobs).
 * Numbers may be any: where one is out of range or a size beyond all memory, a function returns an error, 0
 * or false, or does nothing.
 *
 * The library is for Linux on little-endian machines of 64 bits. This header is C11 or C++11. Rows, masks and
 * all other arrays are aligned as their type is (f16: 2 bytes, f32: 4 bytes) unless a function asks for more;
 * strides are multiples of that. Numbers of enumerators never change, as plan files hold some of them.
 */
#ifndef TADA_H
#define TADA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__) || defined(__clang__)
#define TADA_API __attribute__((visibility("default")))
#else
#define TADA_API
#endif

/* The version of this header: of the library, see tada_version. */
#define TADA_VERSION_MAJOR 0
#define TADA_VERSION_MINOR 1
#define TADA_VERSION_PATCH 0
#define TADA_VERSION "0.1.0"
/* One number that rises with the version, so that it can be compared. */
#define TADA_VERSION_NUMBER (TADA_VERSION_MAJOR * 1000000 + TADA_VERSION_MINOR * 1000 + TADA_VERSION_PATCH)

/* Cells of one tile. */
enum { TADA_TILE_CELLS = 64 };

enum tada_status {
    TADA_OK = 0,
    TADA_E_ARGUMENT = 1,    /* a value is out of its range; the error says which */
    TADA_E_MEMORY = 2,      /* an allocation failed; nothing changed */
    TADA_E_UNSUPPORTED = 3, /* well-formed, but this version cannot do it */
    TADA_E_FILE = 4,        /* a file cannot be read or written, or is not what it should be */
};

/* One sentence that says what is wrong and what to do. Functions that take one accept NULL. */
typedef struct tada_error {
    char text[256];
} tada_error;

/* TADA_VERSION and TADA_VERSION_NUMBER of the library: another one than the header's was loaded where they
 * differ. */
TADA_API const char *tada_version(void);
TADA_API int tada_version_number(void);
TADA_API const char *tada_status_name(enum tada_status status);

/* The instruction sets of this CPU that matter here, separated by blanks; static storage. */
TADA_API const char *tada_cpu_features(void);
/* The selected kernel set: "scalar", "avx2", "avxvnni", "avx512", "avx512vnni", "neon", "neondot"
 * or "neoni8mm". TADA_KERNELS in the environment can only lower it. */
TADA_API const char *tada_kernels_name(void);
/* Selects a kernel set by name. TADA_E_UNSUPPORTED when this CPU or build lacks it. Not while other calls
 * run. */
TADA_API enum tada_status tada_kernels_select(const char *name);

/* ---- Threads ---- */

/* One thread's part of some work: thread is 0 to n_threads - 1. */
typedef void (*tada_work)(void *context, int thread, int n_threads);

/*
 * The threads that a caller lends to one call. run(pool, work, context) calls work(context, i, n) once for
 * each i from 0 to n - 1, side by side or one after the other, and returns when all of these calls have
 * returned. Where a function takes a pointer to one, NULL stands for the calling thread alone; n below 1 or
 * no run is TADA_E_ARGUMENT. Results never depend on n.
 */
typedef struct tada_threads {
    int n;
    void (*run)(void *pool, tada_work work, void *context);
    void *pool; /* handed to run; NULL if run needs none */
} tada_threads;

/* ---- Recipe: how one plane is compressed ---- */

enum tada_kind { TADA_K = 0, TADA_V = 1 };

enum tada_centring {
    TADA_CENTRE_NONE = 0,
    TADA_CENTRE_TOKENS = 1,  /* mean of each channel over the cells of a tile, kept in 8 bits (1-5-2) */
    TADA_CENTRE_HEADS16 = 2, /* mean of each row over its heads, kept in f16: the paper, section 3.1 */
    TADA_CENTRE_HEADS8 = 3,  /* the same mean kept in 8 bits (1-5-2); the deviations absorb its error */
};

enum tada_rotation { TADA_ROTATE_NONE = 0, TADA_ROTATE_HADAMARD = 1 };

enum tada_axis {
    TADA_AXIS_CHANNEL = 0, /* one scale per channel and `group` cells of a tile */
    TADA_AXIS_TOKEN = 1,   /* one scale per cell and `group` channels */
};

enum tada_scale {
    /* 16 bits a group: scale of 5-2 bits, integer zero point of 9 bits; re-encodes bit for bit */
    TADA_SCALE_16 = 0,
    /* 32 bits a group: scale and zero in f16, as in the paper; a second encoding may differ */
    TADA_SCALE_32 = 1,
    /* 8 bits a group, relative to the largest scale of a tile's head: for axis token */
    TADA_SCALE_8 = 2,
};

enum tada_search { TADA_SEARCH_MINMAX = 0, TADA_SEARCH_ERROR = 1 };

typedef struct tada_recipe {
    int bits;  /* 2, 3, 4, 5, 6, 8; 16 keeps the plane in f16 */
    int group; /* 16, 32 or 64 cells (axis channel); 16 to 256 channels (axis token) */
    enum tada_centring centring;
    enum tada_rotation rotation;
    enum tada_axis axis;
    enum tada_scale scale;
    enum tada_search search;
    /* 0: all codes have `bits`. Else widths adapt: each 8 channels of a head have codes of 2 to 6 or 8 bits,
     * the more the further they vary within a tile, on average so many quarters of a bit (8 to 32), of which
     * `bits` is the whole part. Only for K with axis channel, groups of 64 and 16-bit scales. */
    int quarters;
    /* With adaptive widths: what an error in each 8 channels of a row counts for, [width / 8], finite and at
     * least 0; NULL: all the same. Not copied: it must outlive the planes. Only encoding needs it. */
    const float *weights;
} tada_recipe;

enum tada_refine {
    TADA_REFINE_ON = 0,  /* as many cold tiles are refined as memory is left for, those written last */
    TADA_REFINE_OFF = 1, /* only those of the window are */
};

/* What a cache spec string names. */
typedef struct tada_spec {
    tada_recipe k, v;
    int window; /* recent cells per stream that are kept in full, or nearly so, a multiple of 64 */
    /* How: 16 (or 0), in f16; or 8, in codes with their refinement, but for the tile that is being written.
     * Recipes without a refinement (those with centring, scales of 32 bits, or 8 bits) have theirs in f16. */
    int window_bits;
    enum tada_refine refine;
    int sinks;  /* first cells of each stream that stay f16, up to 64: tokens that most others attend to (see
                   tada_plane_mark_sinks for those of other sequences) */
    bool stock; /* a stock cache type (f16, q8_0, ...): nothing here applies, llama.cpp does it */
    char stock_k[16], stock_v[16];
    bool plan; /* each plane has its own: see tada_spec_plan_path; the rest is that of "tada" */
} tada_spec;

/*
 * Parses a cache spec: "tada" (or "tada:balanced"), "tada:high", "tada:compact", "tada:paper", "tada:BITS",
 * "tada:K/V" (average bits of K, in quarters, and bits of V), "kivi:2", "kivi:4", or a stock type "f16",
 * "q8_0", "q8_0/q4_0", or "tada:@FILE", a plan. All but plans and stock types may end in options
 * ":window=128", ":window_bits=8|16", ":refine=on|off", ":sinks=4",
 * ":k.widths=equal|adaptive",
 * ":[k.|v.]rotate=none|hadamard", ":[k.|v.]axis=channel|token", ":[k.|v.]centre=none|tokens|heads16|heads8",
 * ":[k.|v.]scale=8|16|32", ":[k.|v.]search=minmax|error", ":[k.|v.]group=N", ":[k.|v.]bits=N", each once; one
 * for both planes may come before one for K or V. Numbers are digits, with a point in every locale. On an
 * error *spec is unchanged and error->text says what is accepted.
 */
TADA_API enum tada_status tada_spec_parse(const char *text, tada_spec *spec, tada_error *error);

/* FILE of "tada:@FILE", a part of `text`; NULL: another spec. */
TADA_API const char *tada_spec_plan_path(const char *text);

/* ---- Plan: how each plane of one model is compressed (doc/reference/plan.md) ---- */

/* A plan is sound at all times, as what is set is checked. Several threads may read one while nobody changes
 * it. */
typedef struct tada_plan tada_plan;

enum { TADA_PLAN_LAYERS = 1024, TADA_PLAN_WIDTH = 1 << 16 };

/* What a plan says of itself. */
typedef struct tada_plan_info {
    char model[128];      /* its name, for people */
    char method[32];      /* how the plan was found: "tada" or "paper" */
    uint64_t fingerprint; /* of the model (tada_model_fingerprint); 0: unknown */
    int sinks;            /* first cells of each stream that stay f16, up to 64 */
    int n_ctx;            /* context at which the points were measured */
} tada_plan_info;

/* K or V of one layer. */
typedef struct tada_plan_plane {
    int width;          /* values of a row; 0: the layer has no such cache, and the rest means nothing */
    int head_dim;       /* a multiple of 16 that divides the width; 0: unknown */
    tada_recipe recipe; /* its weights are copied by the plan */
    int window;         /* recent cells per stream that are not compressed by it, a multiple of 64 */
    int window_bits;    /* of these: 16 (or 0) or 8, as in a spec */
    float sensitivity;  /* nats: what this plane adds to the mean KL divergence, as calibration expects */
} tada_plan_plane;

/* What was measured of a cache when the plan was made, all of them on the same text: finite numbers. */
typedef struct tada_plan_point {
    char cache[64];     /* a spec, or "plan": this plan */
    double memory;      /* bytes of the cache over those of f16, everything counted; from 0 */
    double kld, kld_se; /* mean KL divergence from f16 in nats and its standard error */
} tada_plan_point;

/* A plan for n_layers (1 to TADA_PLAN_LAYERS) layers without caches. NULL when memory is short. */
TADA_API tada_plan *tada_plan_create(int n_layers);
/* A copy with its own weights. NULL when memory is short. */
TADA_API tada_plan *tada_plan_copy(const tada_plan *plan);
/* After all planes that follow its specs, as they read its weights. NULL is allowed. */
TADA_API void tada_plan_free(tada_plan *plan);

TADA_API int tada_plan_layers(const tada_plan *plan);
/* Pointers that the functions `get` return are the plan's, and what they point to changes with it. Functions
 * `set` and `add` copy what they are given. Where it is not sound they say why, and the plan stays as it was.
 */
TADA_API const tada_plan_info *tada_plan_get_info(const tada_plan *plan);
TADA_API enum tada_status tada_plan_set_info(tada_plan *plan, const tada_plan_info *info, tada_error *error);
/* layer: 0 to tada_plan_layers - 1; NULL: there is no such plane. */
TADA_API const tada_plan_plane *tada_plan_get_plane(const tada_plan *plan, int layer, enum tada_kind kind);
TADA_API enum tada_status tada_plan_set_plane(tada_plan *plan, int layer, enum tada_kind kind,
                                              const tada_plan_plane *plane, tada_error *error);
/* How many points there are. */
TADA_API int tada_plan_points(const tada_plan *plan);
/* NULL: there is no such point. */
TADA_API const tada_plan_point *tada_plan_get_point(const tada_plan *plan, int i);
TADA_API enum tada_status tada_plan_add_point(tada_plan *plan, const tada_plan_point *point,
                                              tada_error *error);

/* The spec that the plane of a layer follows, for tada_plane_create. Its weights are the plan's, which must
 * outlive the planes. For a layer that the plan does not have: zeros, which tada_plane_create refuses. */
TADA_API tada_spec tada_plan_spec(const tada_plan *plan, int layer, enum tada_kind kind);

/* Reads a plan file, or its bytes in memory. *plan is the caller's to free, and NULL on an error. */
TADA_API enum tada_status tada_plan_load(const char *path, tada_plan **plan, tada_error *error);
TADA_API enum tada_status tada_plan_load_memory(const void *bytes, size_t size, tada_plan **plan,
                                                tada_error *error);
/* Writes a plan to a file descriptor, which stays open; or to *bytes, which the caller frees with free. */
TADA_API enum tada_status tada_plan_save(const tada_plan *plan, int file, tada_error *error);
TADA_API enum tada_status tada_plan_save_memory(const tada_plan *plan, void **bytes, size_t *size,
                                                tada_error *error);

/* The fingerprint of a model whose tensor blk.0.attn_norm.weight has these bytes in f32: FNV-1a of 64 bits.
 */
TADA_API uint64_t tada_model_fingerprint(const void *norm, size_t size);

/* ---- Plane ---- */

typedef struct tada_plane tada_plane;
typedef struct tada_pool tada_pool;

typedef struct tada_shape {
    enum tada_kind kind;
    int width;         /* values of a row: n_heads x head_dim */
    int64_t n_cells;   /* cells of one stream */
    int64_t n_streams; /* cell numbers run over all streams: stream * n_cells + cell */
    int head_dim;      /* 0: not known yet; memory is then reserved for the smallest number of heads */
} tada_shape;

/* A shape of one stream whose head size is not known, for planes of which the rest is usual. */
TADA_API void tada_shape_init(tada_shape *shape, enum tada_kind kind, int width, int64_t n_cells);

/* Bytes of memory that a plane of this shape needs: codes, scales, hot tiles, sinks, tile table, all of it.
 * 0: bad shape. */
TADA_API size_t tada_plane_bytes(const tada_spec *spec, const tada_shape *shape);

/* The same, part by part, each with what aligns it: their sum is tada_plane_bytes. */
typedef struct tada_plane_parts {
    size_t codes;  /* of cold tiles, with their scales, means and widths, and refinements */
    size_t window; /* of hot tiles; or all rows of a plane that is not compressed */
    size_t sinks;
    size_t table; /* of tiles */
    bool compressed;
} tada_plane_parts;

/* False: bad shape, and all parts are 0. */
TADA_API bool tada_plane_measure(const tada_spec *spec, const tada_shape *shape, tada_plane_parts *parts);

/*
 * Bytes that tada_plane_write borrows from the pool for n_rows rows at once, evenly from all streams and to
 * consecutive cells of each, when the plane's own hot tiles are taken: the usual case. Rows that are
 * scattered need more, a tile for each at worst. 0: bad shape, or a plane that is not compressed.
 */
TADA_API size_t tada_plane_batch_bytes(const tada_spec *spec, const tada_shape *shape, int64_t n_rows);

/*
 * Makes a plane in `memory` (64-byte aligned, at least tada_plane_bytes; owned by the caller; need not be
 * zeroed, is not touched beyond the tile table). All cells start unwritten and read as zeros. Free with
 * tada_plane_free.
 */
TADA_API enum tada_status tada_plane_create(const tada_spec *spec, const tada_shape *shape, void *memory,
                                            size_t bytes, tada_plane **plane, tada_error *error);
TADA_API void tada_plane_free(tada_plane *plane); /* NULL is fine */

/*
 * Tells the head size, which rotation, head means and scale groups follow. Effective only before the first
 * tile is compressed; later, for a size that does not divide the width, or for one whose means over heads
 * need more memory than the shape's head_dim reserved, returns TADA_E_UNSUPPORTED and the plane goes on as it
 * was (attention with another head size is then slower, never wrong). Unset: that of the shape, or else the
 * row counts as one head.
 */
TADA_API enum tada_status tada_plane_set_head_dim(tada_plane *plane, int head_dim);

enum tada_type { TADA_F32 = 0, TADA_F16 = 1 };

/*
 * Writes rows to cells, in order (a later row for the same cell wins). rows: n rows of `width` values of
 * `type`, `stride` bytes apart. A row of zeros makes its cell unwritten. A cold tile that is written
 * into is reopened. Rows stay exact until tada_plane_settle, those of sinks until they are written again.
 * Tiles beyond the plane's own hot tiles borrow memory from `pool` until then. A cell out of range:
 * TADA_E_ARGUMENT, nothing written.
 *
 * Values that are not finite in f16 (NaN, infinities, what is too large) stay as they are while their row is
 * exact; compressed, each becomes an average value of its channel (doc/reference/format.md), so that other
 * rows lose nothing.
 */
TADA_API enum tada_status tada_plane_write(tada_plane *plane, tada_pool *pool, const void *rows,
                                           enum tada_type type, size_t stride, const int64_t *cells,
                                           int64_t n, tada_error *error);

/*
 * Makes cells sinks, like the first ones of each stream: their rows stay exact until they are written again.
 * For the first cells of sequences that begin elsewhere in a stream (tada_attention_sinks). Only cells of hot
 * tiles become sinks; of a plane without sinks, or when they take more memory than 1/64 of the cells (and 64
 * cells) do in f16, none. The plane takes the memory from malloc; it counts in tada_plane_get_stats.
 */
TADA_API void tada_plane_mark_sinks(tada_plane *plane, const int64_t *cells, int64_t n);

/* True when tiles have become hot since tada_plane_settle was called last. */
TADA_API bool tada_plane_unsettled(const tada_plane *plane);

/* Compresses the least recently written tiles of each stream until no more than its window (and the tile that
 * is being written) are hot, and none is borrowed. With a window in 8 bits, only the tile that is being
 * written is hot. Each tile is compressed with its refinement if there is room; where there is not, the tiles
 * of its stream that attention does not see (tada_attention_tell) give theirs up, then layers are merged if
 * that leaves all others theirs, else those that were written longest ago give theirs up. Rows that stay in a
 * tile keep their codes; the others become layers of their own, as rows of quite another size do from the
 * start, while there is room. What a stream keeps does not depend on the others, nor, where there is room for
 * all layers, on how its rows came in batches. Short of memory, the plane stays as it was, unsettled. */
TADA_API enum tada_status tada_plane_settle(tada_plane *plane, const tada_threads *threads,
                                            tada_error *error);

/* Decodes cells [first, first + n) to f16 rows of `width` values, densely packed. Unwritten cells read as
 * zeros. Several threads may read a plane at once while nobody changes it. */
TADA_API enum tada_status tada_plane_read(const tada_plane *plane, int64_t first, int64_t n, uint16_t *rows,
                                          const tada_threads *threads, tada_error *error);

/* The same by the calling thread alone, with memory of the caller, so that it cannot be short: bytes of
 * scratch, 64-byte aligned, which may be 0. Also once the head size has been told. */
TADA_API size_t tada_plane_read_scratch(const tada_plane *plane);
TADA_API enum tada_status tada_plane_read_in(const tada_plane *plane, int64_t first, int64_t n,
                                             uint16_t *rows, void *scratch, tada_error *error);

/* Changes rows [n][width] of the given cells (in order, all of one tile) where they are. thread: 0 to
 * threads->n - 1, or 0. False: it could not. */
typedef bool (*tada_edit)(void *context, int thread, const int64_t *cells, int n, uint16_t *rows);

/*
 * Lets `edit` change the written cells for which chosen [n_cells * n_streams] is not 0, tile by tile, on
 * all threads at once: hot tiles stay hot, cold ones cold, refined or not, and those without a chosen cell
 * keep their bytes. Other cells of a cold tile that is changed are compressed again with it. A row that
 * becomes zeros makes its cell unwritten. When `edit` could not, some of the tiles have been changed.
 */
TADA_API enum tada_status tada_plane_edit(tada_plane *plane, const uint8_t *chosen, tada_edit edit,
                                          void *context, const tada_threads *threads, tada_error *error);

/* Rotary positions, with the parameters that ggml's ROPE has. */
enum tada_rope_pairs {
    TADA_ROPE_NEIGHBOURS = 0, /* values 0 and 1, 2 and 3, ... of a head turn together ("normal") */
    TADA_ROPE_HALVES = 1,     /* values 0 and n_dims / 2, 1 and n_dims / 2 + 1, ... ("NeoX") */
};

enum { TADA_ROPE_DIMS = 1024 };

typedef struct tada_rope {
    int column;      /* of the first value of head 0 that is turned */
    int n_dims;      /* values of a head that are turned: even, at most TADA_ROPE_DIMS */
    int n_heads;     /* that are turned */
    int head_stride; /* from one to the next, in values */
    enum tada_rope_pairs pairs;
    int n_ctx_orig; /* this and beta_*: where YaRN begins and ends; ext_factor 0: no YaRN */
    float freq_base, freq_scale, ext_factor, attn_factor, beta_fast, beta_slow;
    const float *factors; /* [n_dims / 2] that divide the frequencies, or NULL */
} tada_rope;

/*
 * Turns the row of each written cell by its distance, deltas [n_cells * n_streams], as ROPE would: a shift of
 * positions. A cold tile of K whose cells (but sinks) all move by the same distance keeps its codes and
 * remembers the distance, so that nothing is rounded, however often it is shifted: attention turns queries
 * instead. This takes the rope to turn a part of each coding head (or of some), to be the same at each shift
 * of the plane, and not to stretch. Otherwise as tada_plane_edit. The plane keeps a copy of the rope. What
 * such a tile reads as does not encode to its codes again, as other rows of cold tiles do.
 */
TADA_API enum tada_status tada_plane_shift(tada_plane *plane, const tada_rope *rope, const int32_t *deltas,
                                           const tada_threads *threads, tada_error *error);

/* Copies all cells of a stream to another one of the same plane. Codes are copied as they are. Settles
 * first. Short of memory, `to` is left without any row. */
TADA_API enum tada_status tada_plane_copy_stream(tada_plane *plane, tada_pool *pool, int64_t from, int64_t to,
                                                 const tada_threads *threads, tada_error *error);

/*
 * Saving cells as they are: codes, scales, layers, refinements, shifts, and rows in f16
 * (doc/reference/session.md, "Cells of a plane"). cells [n] may be in any order and of several streams;
 * ascending ones take the least. state_bytes: what they take now, 0 where a cell is out of range. export:
 * size must be that.
 */
TADA_API size_t tada_plane_state_bytes(const tada_plane *plane, const int64_t *cells, int64_t n);
TADA_API enum tada_status tada_plane_export(const tada_plane *plane, const int64_t *cells, int64_t n,
                                            void *state, size_t size, tada_error *error);

/*
 * Restores saved cells, in their order, to the given ones, here or in another plane of the same recipe, kind,
 * width and head size (else TADA_E_UNSUPPORTED). Where all cells of a tile that were saved come to lie in one
 * tile, each at its place, and the other cells of that one are unwritten, it becomes what that was, bit for
 * bit: nothing is decoded or encoded. Else its rows are decoded and written; with scales for tokens or for
 * 64 cells, their codes go with them to layers of their tiles, while there is room for these: what was cut
 * from one layer comes together in one again. Refinements come back as far as there is room,
 * before those of tiles that were written earlier. As tada_plane_write, it borrows tiles from `pool`, and
 * leaves the plane unsettled; it may settle rows that were written before.
 *
 * The state may be any bytes: each number is checked, and a damaged one is TADA_E_FILE, nothing changed.
 * TADA_E_MEMORY: the cells hold rows of before, of the state, or none.
 */
TADA_API enum tada_status tada_plane_import(tada_plane *plane, tada_pool *pool, const int64_t *cells,
                                            int64_t n, const void *state, size_t size, tada_error *error);

/* Makes every cell unwritten. */
TADA_API void tada_plane_clear(tada_plane *plane);

typedef struct tada_plane_stats {
    int64_t cells;   /* of all streams */
    int64_t written; /* cells that hold a row */
    int64_t tiles;   /* of all streams; those that are neither hot nor cold are empty */
    int64_t hot;     /* tiles with written cells that are in f16 */
    int64_t cold;    /* tiles with written cells that are compressed, but for sinks */
    int64_t refined; /* cold tiles with a refinement of all their codes */
    int64_t layered; /* cold tiles with rows that were encoded at two times */
    /* Counters since the plane was made: */
    int64_t compressions; /* tiles that were encoded */
    int64_t reopens;      /* cold tiles that were decoded to be written to */
    int64_t merges;       /* tiles of which rows were encoded a second time */
    int64_t nonfinite;    /* rows that were written with a value that is not finite in f16 */
    /* Bytes: */
    size_t bytes;                                           /* of the plane */
    size_t bytes_f16;                                       /* of the same cells in f16 */
    size_t bytes_cold, bytes_hot, bytes_sinks, bytes_table; /* the parts of `bytes`, with their padding */
} tada_plane_stats;
/* Costs the same for any number of tiles. Also while another thread uses the plane: each number is then of
 * some moment of that use, not all of the same one. Not while it is freed. */
TADA_API void tada_plane_get_stats(const tada_plane *plane, tada_plane_stats *stats);

/*
 * Settling that the caller schedules, of several planes at once: begin and end are called by one thread
 * while nobody else uses the planes or the settling; work by any number of threads at once in between.
 *
 *     begin, work, end
 *
 * tada_plane_settle is this for one plane.
 */
typedef struct tada_settling tada_settling;
TADA_API tada_settling *tada_settling_create(void);        /* NULL when memory is short */
TADA_API void tada_settling_free(tada_settling *settling); /* not between begin and end */
/* planes [n], none twice; those that are settled are left alone. Short of memory: nothing is begun, and all
 * stay as they were. */
TADA_API enum tada_status tada_settling_begin(tada_settling *settling, tada_plane *const *planes, int n,
                                              tada_error *error);
/* Bytes that each call of work needs, until the settling ends; 0: there is nothing to do. */
TADA_API size_t tada_settling_scratch(const tada_settling *settling);
/* Takes tiles until none is left. scratch: 64-byte aligned, of this thread alone; NULL: leaves
 * the tiles to others. Not begun: does nothing. */
TADA_API void tada_settling_work(tada_settling *settling, void *scratch);
/* Does what work left: all planes are settled then. Not begun: does nothing. */
TADA_API void tada_settling_end(tada_settling *settling);

/* Scratch that planes share: borrowed tiles, and the workspace of the attention. Grows when first needed.
 * Several threads may write to and settle planes of one pool at once; attention uses a pool for one call at a
 * time. NULL when memory is short. */
TADA_API tada_pool *tada_pool_create(void);
TADA_API void tada_pool_free(tada_pool *pool); /* after its planes are settled or freed; NULL is fine */
/* Frees what is not borrowed. */
TADA_API void tada_pool_trim(tada_pool *pool);
/* Also while another thread uses the pool. */
TADA_API size_t tada_pool_bytes(const tada_pool *pool);

/* ---- Attention ---- */

/*
 * out = softmax(scale * q k^T [soft-capped] + slope(head) * mask) v, per stream, query and head, over cells
 * [first_cell, first_cell + n_cells) of each of n_streams streams. Strides are in bytes.
 */
typedef struct tada_attention {
    const tada_plane *k, *v; /* the same plane twice when V is a view of K (MLA) */
    int k_column, v_column;  /* first column of head 0 in a row; head h starts head_stride columns further */
    int k_dim, v_dim;        /* values of a head */
    int k_head_stride, v_head_stride; /* in values */
    int n_heads, n_heads_kv;          /* n_heads % n_heads_kv == 0 */
    int64_t first_stream, n_streams;
    int64_t first_cell, n_cells;
    int64_t n_queries; /* of each stream */
    const float *q;    /* k_dim values, contiguous */
    size_t q_query, q_head, q_stream;
    const uint16_t *mask; /* f16 [n_cells], or NULL */
    size_t mask_query, mask_head, mask_stream;
    int mask_heads, mask_streams; /* broadcast: index modulo these */
    const float *sink_logits; /* [n_heads] each takes part in the softmax without a value; NULL: none do */
    float scale, max_bias, softcap; /* max_bias > 0: ALiBi; softcap > 0: softcap * tanh(x / softcap) */
    float *out;                     /* v_dim values, contiguous */
    size_t out_query, out_head, out_stream;
} tada_attention;

/*
 * The usual attention, of n_queries of each stream of the planes over all of their cells: heads that lie side
 * by side in a row, q and out as [stream][query][head][value] without gaps, no mask, a scale of
 * 1 / sqrt(k_dim). What differs is set afterwards, and so are q and out, which are NULL.
 */
TADA_API void tada_attention_init(tada_attention *attention, const tada_plane *k, const tada_plane *v,
                                  int n_heads, int n_heads_kv, int64_t n_queries);

/*
 * Where sequences begin: the cells that queries see which see no more of them than a stream of the planes has
 * sinks. Up to `capacity` go to `cells`, possibly several times; returns how many. None without a mask, or
 * with one for each head. For tada_plane_mark_sinks, between writing and settling.
 */
TADA_API int64_t tada_attention_sinks(const tada_attention *attention, int64_t *cells, int64_t capacity);

/* Runs it. A query with no visible cell: zeros. What a cell holds that is masked out (-infinity) never
 * matters; one that is seen and holds values that are not finite may spoil the output of that query and head,
 * and nothing else. Not twice at once with the same pool, whose workspace belongs to one call at a time. */
TADA_API enum tada_status tada_attention_run(const tada_attention *attention, tada_pool *pool,
                                             const tada_threads *threads, tada_error *error);

/*
 * Attention that the caller schedules. A job is planned once and may be run many times, each time with what
 * then lies at the pointers of `attention` (q, mask, sink_logits, out) and in its planes, all of which must
 * outlive the job:
 *
 *     look (one thread), work (all threads), and then all is done
 */
typedef struct tada_attention_job tada_attention_job;
TADA_API enum tada_status tada_attention_plan(const tada_attention *attention, tada_attention_job **job,
                                              tada_error *error);
TADA_API void tada_attention_job_free(tada_attention_job *job); /* NULL is fine */
/* Bytes of memory that all threads use together while a job runs, and of scratch that each needs for itself,
 * whatever the mask says. Both 64-byte aligned, neither needs to be zeroed, and jobs that do not run at once
 * may share them. shared may be 0. */
TADA_API size_t tada_attention_job_shared(const tada_attention_job *job);
TADA_API size_t tada_attention_job_scratch(const tada_attention_job *job);
/* Looks at the mask, and makes the job ready to run (again). like: another job that was looked at since its
 * mask changed, or NULL; when both have the same mask and sizes, what was seen is taken from it, and neither
 * it nor the one that it took this from may be looked at or freed before this job has run. */
TADA_API void tada_attention_look(tada_attention_job *job, const tada_attention_job *like);
/* Called once by each of n_threads threads (1 at least), at once or one after the other. scratch NULL: leaves
 * the work to others. */
TADA_API void tada_attention_work(tada_attention_job *job, int thread, int n_threads, void *shared,
                                  void *scratch);
/* Whether all of it has been done since it was looked at. */
TADA_API bool tada_attention_is_done(const tada_attention_job *job);
/* When all of it has been done: tells a plane of the job which of its tiles no query has seen. Until they are
 * written or seen again, these give up their refinements, and layers, before the others of their stream. They
 * are likely to hold a sequence that was removed, which nobody else tells a plane. Only what the last job of
 * a stream tells counts. A tile that is only partly within the cells of the attention counts as seen. */
TADA_API void tada_attention_tell(const tada_attention_job *job, tada_plane *plane);
/* What tada_attention_sinks told when it was looked at, at most 256 cells: *cells stay the job's. */
TADA_API int64_t tada_attention_job_sinks(const tada_attention_job *job, const int64_t **cells);

/*
 * Bytes of working memory that tada_attention_run takes from the pool at most for up to n_queries queries of
 * each of up to n_streams streams over up to n_cells cells from first_cell on. 0: it would fail, or there is
 * nothing to do (no query, no stream, no thread). Only sizes count: the planes are given by their specs and
 * shapes (with the head size that they have), and no pointer is looked at but whether there is a mask.
 * v_shape NULL: V is in the plane of K, as in latent attention.
 */
TADA_API size_t tada_attention_bytes(const tada_attention *attention, const tada_spec *k_spec,
                                     const tada_shape *k_shape, const tada_spec *v_spec,
                                     const tada_shape *v_shape, int n_threads);

#ifdef __cplusplus
}
#endif

#endif

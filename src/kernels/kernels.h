/* The seam between the codec and the instruction sets: one table of functions per set, listed in kernels.def.
 */
#ifndef TADA_KERNELS_KERNELS_H
#define TADA_KERNELS_KERNELS_H

#include "tada.h"

/* For functions whose arguments are constants at each call: the loops over them must be unrolled. */
#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* Groups that are quantised side by side. */
enum { TADA_LANES = 16 };

/* Values of a group, at most. */
enum { TADA_GROUP_MAX = 1024 };

/* Values of the largest head that attention reads as codes. */
enum { TADA_CODES_DIM = 512 };

/* Rows (queries x heads of a group) that share one tile, at most; and where they read it as integers. */
enum { TADA_ROWS = 48, TADA_INTEGERS_ROWS = 96 };

/* A block of TADA_LANES groups of n values each: value i of lane l is x[i * stride + l]. */
typedef struct tada_block {
    const float *x;
    size_t stride;
    int n;
    int bits, fine_bits; /* of a code, of its refinement: together at most 8 */
    enum tada_search search;
    uint8_t *codes; /* [n][TADA_LANES], written */
    uint8_t *fine;  /* the refinement, likewise; NULL where it has no bits */
    /* Error that decoded values of a lane may have beyond their own rounding to f16. Rotation spreads the
     * rounding of the whole head over every value. */
    float noise[TADA_LANES];
    uint16_t meta[TADA_LANES];
    bool narrow; /* scale words of 8 bits: meta has index << 3 | number of the zero point, or TADA_ZERO_GROUP
                  */
    int floor;   /* with narrow: the least scale index that may be chosen */
    /* Writes no codes, only meta: the largest code of each group that lies on a grid (the multiples of a
     * scale), or TADA_NO_GRID. */
    bool grid_only;
    /* Written: whether each group lies on the grid of its scale, so that its refinement is the middle. */
    bool on_grid;
} tada_block;

enum { TADA_NO_GRID = 0xffff };

/* Scale words of 8 bits: the word of a group of zeros, how many steps below the base a word can be, and how
 * many zero points there are for each width of codes. */
enum {
    TADA_ZERO_GROUP = 0xffff,
    TADA_STEPS_BELOW = 31,
    TADA_ZERO_POINTS = 8,
    /* The byte of a record that stands for TADA_ZERO_GROUP. */
    TADA_ZERO_BYTE = TADA_STEPS_BELOW * TADA_ZERO_POINTS + 3
};

/* Zero points of scale words of 8 bits, in steps of the scale, for codes of `bits` bits: the distance between
 * two of them, and the least one. */
static inline float tada_zero_step(int bits)
{
    return bits <= 4 ? 0.5f : (float)(1 << (bits - 5));
}

static inline float tada_zero_first(int bits)
{
    return -(float)(1 << (bits - 1)) - 3 * tada_zero_step(bits);
}

/* Scale and offset of the codes of one head: value = scale * code + offset. */
typedef struct tada_factors {
    const float *scale, *offset;
    enum tada_axis axis;
    int group; /* axis channel: cells of a group, index (cell / group) * dim + channel
                  axis token: channels of a group within the head, index (channel / group) * 64 + cell */
} tada_factors;

/*
 * Rows of floats made into integers, for n_tiles tiles with scales of their own: row r of tile j has the
 * values x[j * x_tile + r * ldx + i] * scale[j * factors_tile + i], i < n. What is written for it goes to row
 * j * m + r.
 */
typedef struct tada_fold {
    const float *x;
    size_t ldx, x_tile, factors_tile;
    int n_tiles, m, n;           /* n: a multiple of 16 */
    const float *scale, *offset; /* NULL: 1 */
    int16_t *folded; /* [n_tiles * m][ldf], written: 16 bits a value in an order of the set's own */
    size_t ldf;      /* at least n */
    float *inverse;  /* written: what a unit of a row stands for; not finite when a value is not */
    float *bias;     /* written: sum(x * offset) */
    const uint8_t *next, *next_end; /* bytes to fetch meanwhile */
} tada_fold;

/*
 * Sums over the packed codes of one head: for row r of m and column j of 16 * n_vectors
 *     out[r * ldo + j] += inverse[r] * scale[j] * sum(x[r][i] * code[i][j]) + bias[r] * offset[j]
 * where i is less than 4 * n_fours. Four codes of a column lie side by side and 16 columns make a vector of
 * 64 codes: cells are the columns of K, channels those of V. Vector number first + f * step + g holds four
 * number f of the columns from 16 * g on; how vectors are packed is said in doc/reference/format.md.
 */
typedef struct tada_dot {
    const uint8_t *low, *high; /* bit planes; high: NULL when there is one */
    int bits, first, step;     /* step: vectors of one four */
    int n_fours, n_vectors, m; /* n_fours: even */
    const int16_t *x;          /* from `fold` */
    size_t ldx;
    const float *inverse, *bias;
    const float *scale, *offset; /* NULL: 1 */
    float *out;
    size_t ldo;
    const uint8_t *next, *next_end; /* bytes to fetch meanwhile */
} tada_dot;

/* Prefetch to L1, which has room for most of a batch of tiles and the one after it. */
static inline void tada_fetch_line(const uint8_t *line)
{
    __builtin_prefetch(line, 0, 3);
}

/* Channels of K that share a width, where widths are adaptive; and widths that there are. */
enum { TADA_SPAN = 8, TADA_SECTIONS = 6 };

/* The spans of one width, packed together like a head of their channels. */
typedef struct tada_section {
    int bits, n_spans;
    const uint8_t *low, *high; /* bit planes; high: NULL when there is one */
} tada_section;

/* The codes of a head, cut into sections. Spans are counted over all sections: order[i] is the span of the
 * head that the i-th of them is. With one section alone spans are in order, and `order` is not read. */
typedef struct tada_sections {
    int n;
    tada_section of[TADA_SECTIONS];
    uint8_t order[TADA_CODES_DIM / TADA_SPAN + 8]; /* written by eights, also after the last span */
} tada_sections;

/* The refinement of a head's codes: `bits` (2 to 4) for each code, packed in bit planes as codes of that
 * width are, spans in the head's order. Joined, code and refinement are one byte: the code moves up by
 * `bits`, or by as many as leave it within 8, and the refinement, which never has more bits than that,
 * fills the low ones. */
typedef struct tada_fine {
    int bits;                  /* 0: there is none */
    const uint8_t *low, *high; /* bit planes; high: NULL when there is one */
} tada_fine;

/*
 * Codes of one head, a byte each, as integers of 16 bits, two rows of a column side by side: integers
 * [rows / 2][columns][2]. Rows are what is summed over, channels of K or cells of V, and come in the order of
 * the format: [rows / 4][columns / 16] vectors of 64. A word is
 * code * raise * factor / 2^15, rounded (halves up), + offset.
 */
typedef struct tada_widen {
    const uint8_t *codes;
    int rows, columns,
        group; /* rows: a multiple of 4; columns: of 16; group: columns that share factors, too */
    /* [columns / group][rows]; code * raise fits 15 bits */
    const int16_t *raise, *factor, *offset;
    int16_t *integers;
} tada_widen;

/* out[r][j] = bias[j / group][r], or what is there if bias is NULL, + inverse[r] * unit * sum(x[r][i] *
 * word[i][j]). The sums must fit 32 bits. */
typedef struct tada_integers_dot {
    const int16_t *integers; /* from `widen` */
    int n_pairs, n, m;       /* pairs of rows of `integers`; its columns; rows of x */
    const int16_t *x;        /* [m][ldx] */
    size_t ldx;
    const float *inverse; /* [m] */
    float unit;
    const float *bias; /* [n / group][m] */
    int group;
    float *out; /* [m][ldo] */
    size_t ldo;
} tada_integers_dot;

/* One step of the online softmax for m rows of scores over n cells; row r belongs to query r / group and to
 * head r % group of the group. */
typedef struct tada_softmax {
    int m, group, n;   /* n: a multiple of 64 */
    float softcap;     /* 0: none; else the scores come divided by it */
    float *scores;     /* [m][lds]; become weights */
    const float *mask; /* [m / group][lds], or NULL: all cells count */
    size_t lds;
    const float *slope; /* [group] */
    float *max, *sum;   /* [m] */
    float *cells_sum;   /* [m], written: the sum of the weights of these cells */
    float *out,
        *rotated; /* sums of values so far, [m][ldo], scaled down when a larger score appears; NULL: none */
    int ldo, dim; /* dim: a multiple of 16 */
} tada_softmax;

typedef struct tada_kernels {
    const char *name;
    int codes_rows; /* rows up to which sums over codes are faster than decoding */
    void (*half_to_float)(const uint16_t *from, float *to, int64_t n);
    void (*half_from_float)(const float *from, uint16_t *to, int64_t n);
    /* Walsh-Hadamard transform of each `block` values (a power of two that divides n), orthonormal, in
     * place. */
    void (*hadamard)(float *x, int n, int block);
    /* [rows][columns] to [columns][rows], both multiples of 16. */
    void (*transpose_floats)(const float *from, int rows, int columns, float *to);
    /* Chooses scale and zero point of each group (not TADA_SCALE_32) and writes codes and meta. */
    void (*quantise)(tada_block *block);
    /* Codes of one head, joined with their refinement, as one byte each: spans of eight vectors of 64, in the
     * head's order. */
    void (*unpack)(const tada_sections *sections, const tada_fine *fine, uint8_t *codes);
    /* Scale and offset of n groups from their scale words of 16 bits (TADA_SCALE_16). */
    void (*factors)(const uint8_t *meta, int n, float *scale, float *offset);
    /* The same from scale words of 8 bits (TADA_SCALE_8), for codes of `bits` bits. base: of the
     * unit's words, see doc/reference/format.md. */
    void (*factors_narrow)(const uint8_t *words, int base, int bits, int n, float *scale, float *offset);
    /* Scales and offsets of n values become those of codes that are joined with a refinement of so many bits.
     * widths: half bytes, of the codes of each eight values; NULL: all have `bits`. */
    void (*join_factors)(int fine_bits, const uint8_t *widths, int bits, int n, float *scale, float *offset);
    /* The values of one K head, channel by channel [dim][64], and of one V head, cell by cell [64][dim]. */
    void (*decode_k)(const uint8_t *codes, int dim, const tada_factors *factors, float *out);
    void (*decode_v)(const uint8_t *codes, int dim, const tada_factors *factors, float *out);
    /* Rows [64][stride] in f16 to channels [dim][64] in f32. */
    void (*transpose_halves)(const uint16_t *rows, size_t stride, int dim, float *out);
    /* c [m][n] (+)= a [m][k] * b [k][n]; n is a multiple of 16; lda, ldc in floats, b dense. */
    void (*multiply)(const float *a, size_t lda, const float *b, float *c, size_t ldc, int m, int n, int k,
                     bool accumulate);
    /* For a few queries, straight from f16 rows [n][stride]: scores [m][lds] with queries a [m][dim], and
     * c [m][ldc] += weights [m][lds] * values. */
    void (*scores_rows)(const float *a, int m, int dim, const uint16_t *rows, size_t stride, int n,
                        float *scores, size_t lds);
    void (*values_rows)(const float *weights, size_t lds, int m, int dim, const uint16_t *rows, size_t stride,
                        int n, float *c, size_t ldc);
    void (*fold)(const tada_fold *fold);
    void (*codes_dot)(const tada_dot *dot);
    /* The same over all sections of a head, joined with their refinement; a span is summed with its own
     * values of x. Of the dot, low, high and bits do not count. */
    void (*sections_dot)(const tada_dot *dot, const tada_sections *sections, const tada_fine *fine);
    bool joins_part; /* does so well for a part of a head's vectors, else all are better unpacked once */
    /* What the mask hides gets no weight, whatever its score. */
    void (*softmax)(const tada_softmax *softmax);
    int integers_rows; /* rows from which integers are faster than sums over codes */
    /* The largest codes of each row, tops [columns / group][rows], of codes as above. */
    void (*code_tops)(const uint8_t *codes, int rows, int columns, int group, uint8_t *tops);
    void (*widen)(const tada_widen *widen);
    void (*integers_dot)(const tada_integers_dot *dot);
    /* Weights [m][ldw], 64 each, from 0 to 1, as integers [m][64] whose sum is at most 65536; sums [m]:
     * theirs, or more; inverse [m]: what a unit of each row is, not finite when a sum is not. */
    void (*weights_to_integers)(const float *weights, size_t ldw, int m, const float *sums, int16_t *integers,
                                float *inverse);
    /* out[r] = sum(a[r][i] * b[i]), i < n, a multiple of 16. */
    void (*rows_dot)(const float *a, size_t lda, int m, int n, const float *b, float *out);
} tada_kernels;

/* The selected set; never NULL. */
const tada_kernels *tada_kernels_get(void);

#endif

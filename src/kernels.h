/* The seam between the codec and the instruction sets: one table of functions per set, listed in kernels.def.
 */
#ifndef TADA_KERNELS_H
#define TADA_KERNELS_H

#include "tada.h"

/* Groups that are quantised side by side. */
enum { TADA_LANES = 16 };

/* Values of a group, at most. */
enum { TADA_GROUP_MAX = 1024 };

/* A block of TADA_LANES groups of n values each: value i of lane l is x[i * stride + l]. */
typedef struct tada_block {
    const float *x;
    size_t stride;
    int n;
    int bits;
    enum tada_search search;
    uint8_t *codes; /* [n][TADA_LANES], written */
    /* What decoded values may have suffered since, on top of their own rounding to f16: the rotation spreads
     * that of their whole head over them. */
    float noise[TADA_LANES];
    uint16_t meta[TADA_LANES];
} tada_block;

/* Scale and offset of the codes of one head: value = scale * code + offset. */
typedef struct tada_factors {
    const float *scale, *offset;
    enum tada_axis axis;
    int group; /* axis channel: cells of a group, index (cell / group) * dim + channel
                  axis token: channels of a group within the head, index (channel / group) * 64 + cell */
} tada_factors;

/*
 * Sums of integers over the codes of one head, one byte each: for row r of m and column j of 16 * n_vectors
 *     out[r * ldo + j] += inverse[r] * scale[j] * sum(x[r][i] * code[i][j]) + bias[r] * offset[j],  i < 4 *
 * n_fours. Four codes of a column lie side by side, 16 columns make a vector of 64 bytes, and the next four
 * are `step` bytes further: cells are the columns of K, channels those of V. x: from `fold`.
 */
typedef struct tada_dot {
    const uint8_t *codes;
    size_t step;
    int n_fours, n_vectors, m;
    const int16_t *x;
    size_t ldx;
    const float *inverse, *bias, *scale, *offset;
    float *out;
    size_t ldo;
} tada_dot;

typedef struct tada_kernels {
    const char *name;
    void (*half_to_float)(const uint16_t *from, float *to, int64_t n);
    void (*half_from_float)(const float *from, uint16_t *to, int64_t n);
    /* Walsh-Hadamard transform of each `block` values (a power of two), orthonormal, in place. n % block ==
     * 0. */
    void (*hadamard)(float *x, int n, int block);
    /* Chooses scale and zero point of each group (TADA_SCALE_16) and writes codes and meta. */
    void (*quantise)(tada_block *block);
    /* Codes of one head as one byte each, in the order of the format: dim vectors of 64. */
    void (*unpack)(const uint8_t *packed, int bits, int dim, uint8_t *codes);
    /* Scale and offset of n groups from their words (TADA_SCALE_16). */
    void (*factors)(const uint8_t *meta, int n, float *scale, float *offset);
    /* The values of one K head, channel by channel [dim][64], and of one V head, cell by cell [64][dim]. */
    void (*decode_k)(const uint8_t *codes, int dim, const tada_factors *factors, float *out);
    void (*decode_v)(const uint8_t *codes, int dim, const tada_factors *factors, float *out);
    /* Rows [64][stride] in f16 to channels [dim][64] in f32. */
    void (*transpose)(const uint16_t *rows, size_t stride, int dim, float *out);
    /* c [m][n] (+)= a [m][k] * b [k][n]; n is a multiple of 16; lda, ldc in floats, b dense. */
    void (*multiply)(const float *a, size_t lda, const float *b, float *c, size_t ldc, int m, int n, int k,
                     bool accumulate);
    /* For a few queries, straight from f16 rows [64][stride]: scores [m][64] of the cells [from, to) with
     * queries a [m][dim], and c [m][ldc] += weights [m][64] * values of those cells. */
    void (*scores_rows)(const float *a, int m, int dim, const uint16_t *rows, size_t stride, int from, int to,
                        float *scores);
    void (*values_rows)(const float *weights, int m, int dim, const uint16_t *rows, size_t stride, int from,
                        int to, float *c, size_t ldc);
    /* x * scale as integers of 16 bits, in the order 0 2 1 3 of each four, and bias = sum(x * offset);
     * returns what a unit stands for. n is a multiple of 16. A value that is not finite makes the result NaN.
     */
    float (*fold)(const float *x, const float *scale, const float *offset, int n, int16_t *folded,
                  float *bias);
    void (*codes_dot)(const tada_dot *dot);
    /* x[i] = exp(x[i] - max) for 64 values; returns their sum. */
    float (*exp_sum)(float *x, float max);
    /* x[i] = cap * tanh(x[i]) for 64 values. */
    void (*softcap)(float *x, float cap);
    float (*max64)(const float *x);
    void (*scale)(float *x, float factor, int n);
} tada_kernels;

/* The selected set; never NULL. */
const tada_kernels *tada_kernels_get(void);

#endif

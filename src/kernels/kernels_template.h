/*
 * One source for every instruction set: plain C over short arrays that the compiler turns into vectors, and
 * vector types where it matters. Everything up to "attention only" is elementwise, so that it is the same bit
 * for bit on every set (-ffp-contract=off). The including file defines TADA_SET_NAME and TADA_SET_SYMBOL.
 */
#include "../half.h"
#include "../kernels.h"

#include <math.h>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

enum { LANES = TADA_LANES, CELLS = TADA_TILE_CELLS };

/* 1.5 * 2^23: adding and taking it away rounds |x| < 2^22 to the nearest integer, ties to even. */
static const float round_magic = 12582912.0f;

static inline float round_even(float x)
{
    return (x + round_magic) - round_magic;
}

static void half_to_float(const uint16_t *from, float *to, int64_t n)
{
    int64_t i = 0;
#if defined(__F16C__)
    for (; i + 8 <= n; i += 8) {
        _mm256_storeu_ps(to + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(from + i))));
    }
#endif
    for (; i < n; i++) {
        to[i] = tada_half_to_float(from[i]);
    }
}

static void half_from_float(const float *from, uint16_t *to, int64_t n)
{
    int64_t i = 0;
#if defined(__F16C__)
    for (; i + 8 <= n; i += 8) {
        _mm_storeu_si128((__m128i *)(void *)(to + i),
                         _mm256_cvtps_ph(_mm256_loadu_ps(from + i), _MM_FROUND_TO_NEAREST_INT));
    }
#endif
    for (; i < n; i++) {
        to[i] = tada_half_from_float(from[i]);
    }
}

static void hadamard(float *x, int n, int block)
{
    float norm = 1.0f / sqrtf((float)block);
    for (int start = 0; start < n; start += block) {
        float *y = x + start;
        for (int half = 1; half < block; half *= 2) {
            for (int i = 0; i < block; i += 2 * half) {
                for (int j = i; j < i + half; j++) {
                    float a = y[j], b = y[j + half];
                    y[j] = a + b;
                    y[j + half] = a - b;
                }
            }
        }
        for (int i = 0; i < block; i++) {
            y[i] *= norm;
        }
    }
}

/* ---- quantisation with a scale of 5-2 bits and an integer zero point of 9 bits ---- */

enum { SCALES = 128, ZERO_MIN = -256, ZERO_MAX = 255 };

/* scale(i) = (4 + i % 4) * 2^(i / 4 - 18): from 2^-16 to 57344, enough for the range of f16 at 2 bits. */
static inline float scale_value(int index)
{
    uint32_t bits = (uint32_t)(index + (111 << 2)) << 21;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* The smallest index whose scale is at least y. */
static inline int scale_index(float y)
{
    uint32_t bits;
    if (!(y > 0)) {
        return 0;
    }
    memcpy(&bits, &y, sizeof bits);
    int index = (int)(bits >> 21) - (111 << 2) + ((bits & 0x1fffffu) != 0);
    return index < 0 ? 0 : index > SCALES - 1 ? SCALES - 1 : index;
}

/*
 * The largest scale on whose multiples all values of a lane lie, within what rounding may have done to them;
 * -1 where there is none. Values that were decoded from codes are found again here, which is why encoding
 * them gives the same codes.
 */
static void lattice(const tada_block *b, int *found)
{
    float low[LANES], high[LANES], tolerance[LANES];
    float levels = (float)((1 << b->bits) - 1), top = 0;
    int first[LANES], bottom = SCALES;
    for (int l = 0; l < LANES; l++) {
        low[l] = high[l] = b->x[l];
    }
    for (int i = 1; i < b->n; i++) {
        for (int l = 0; l < LANES; l++) {
            float v = b->x[(size_t)i * b->stride + l];
            low[l] = v < low[l] ? v : low[l];
            high[l] = v > high[l] ? v : high[l];
        }
    }
    for (int l = 0; l < LANES; l++) {
        float size = fmaxf(fabsf(low[l]), fabsf(high[l]));
        /* Rounding to f16: half a unit in the last place, or of the smallest subnormal. */
        tolerance[l] = 0x1.02p-11f * size + 0x1p-25f + b->noise[l];
        top = size > top ? size : top;
        /* Half of the least scale that the search takes, see there. */
        first[l] = scale_index(fmaxf((high[l] - low[l] - 2 * tolerance[l]) / levels, 1.5f * b->noise[l]));
        bottom = first[l] < bottom ? first[l] : bottom;
        found[l] = -1;
    }
    for (int index = scale_index(top); index >= bottom; index--) {
        float inverse = 1.0f / scale_value(index);
        float limit[LANES];
        int fits[LANES], any = 0;
        for (int l = 0; l < LANES; l++) {
            float least = round_even(low[l] * inverse), most = round_even(high[l] * inverse);
            fits[l] = found[l] < 0 && index >= first[l] && most - least <= levels && least >= ZERO_MIN &&
                      least <= ZERO_MAX;
            limit[l] = tolerance[l] * inverse < 0.2f ? tolerance[l] * inverse : 0.2f;
            any |= fits[l];
        }
        for (int i = 0; i < b->n && any; i++) {
            any = 0;
            for (int l = 0; l < LANES; l++) {
                float v = b->x[(size_t)i * b->stride + l] * inverse;
                fits[l] &= fabsf(v - round_even(v)) <= limit[l];
                any |= fits[l];
            }
        }
        for (int l = 0; l < LANES && any; l++) {
            found[l] = fits[l] ? index : found[l];
        }
    }
}

/* Scale index and zero point of each lane with the least squared error among those near the range of its
 * values. */
static void search_scales(const tada_block *b, int *best_index, float *best_zero)
{
    static const int depth[9] = {0, 0, 6, 4, 3, 2, 1, 1, 1};
    float low[LANES], high[LANES], best[LANES];
    int first[LANES], least[LANES];
    float levels = (float)((1 << b->bits) - 1);
    for (int l = 0; l < LANES; l++) {
        low[l] = high[l] = b->x[l];
        best[l] = INFINITY;
    }
    for (int i = 1; i < b->n; i++) {
        for (int l = 0; l < LANES; l++) {
            float v = b->x[(size_t)i * b->stride + l];
            low[l] = v < low[l] ? v : low[l];
            high[l] = v > high[l] ? v : high[l];
        }
    }
    for (int l = 0; l < LANES; l++) {
        first[l] = scale_index((high[l] - low[l]) / levels);
        /* Finer steps would not survive the rounding of the decoded row to f16. */
        least[l] = scale_index(fmaxf(fmaxf(high[l] / ZERO_MAX, low[l] / ZERO_MIN), 3 * b->noise[l]));
        best_index[l] = first[l] + 1 > least[l] ? first[l] + 1 : least[l];
        best_index[l] = best_index[l] < SCALES ? best_index[l] : SCALES - 1;
        best_zero[l] = round_even(low[l] / scale_value(best_index[l]));
    }
    int steps = b->search == TADA_SEARCH_MINMAX ? 0 : depth[b->bits];
    for (int step = 1; step >= -steps; step--) {
        for (int shift = 0; shift < 3; shift++) {
            float scale[LANES], inverse[LANES], zero[LANES], error[LANES] = {0};
            int index[LANES];
            for (int l = 0; l < LANES; l++) {
                index[l] = first[l] + step;
                index[l] = index[l] < least[l] ? least[l] : index[l] < 0 ? 0 : index[l];
                index[l] = index[l] < SCALES ? index[l] : SCALES - 1;
                scale[l] = scale_value(index[l]);
                inverse[l] = 1.0f / scale[l];
                /* Centred on the range, then one level to either side. */
                zero[l] = round_even(0.5f * (low[l] + high[l]) * inverse[l] - 0.5f * levels);
                zero[l] += shift == 0 ? 0.0f : shift == 1 ? 1.0f : -1.0f;
                zero[l] = zero[l] < ZERO_MIN ? ZERO_MIN : zero[l] > ZERO_MAX ? ZERO_MAX : zero[l];
            }
            for (int i = 0; i < b->n; i++) {
                const float *x = b->x + (size_t)i * b->stride;
                for (int l = 0; l < LANES; l++) {
                    float q = round_even(x[l] * inverse[l]) - zero[l];
                    q = q > 0 ? q : 0;
                    q = q < levels ? q : levels;
                    float d = x[l] - scale[l] * (q + zero[l]);
                    error[l] += d * d;
                }
            }
            for (int l = 0; l < LANES; l++) {
                if (error[l] < best[l]) {
                    best[l] = error[l];
                    best_index[l] = index[l];
                    best_zero[l] = zero[l];
                }
            }
        }
    }
}

static void quantise(tada_block *b)
{
    int index[LANES], found[LANES];
    float zero[LANES], inverse[LANES], least[LANES];
    float levels = (float)((1 << b->bits) - 1);
    if (b->n == 0) {
        memset(b->meta, 0, sizeof b->meta);
        return;
    }
    lattice(b, found);
    int missing = 0;
    for (int l = 0; l < LANES; l++) {
        missing |= found[l] < 0;
    }
    if (missing) {
        search_scales(b, index, zero);
    }
    for (int l = 0; l < LANES; l++) {
        index[l] = found[l] >= 0 ? found[l] : index[l];
        inverse[l] = 1.0f / scale_value(index[l]);
        least[l] = INFINITY;
    }
    /* The zero point is the least multiple of the scale that occurs, so that it is found again in the decoded
     * values. */
    for (int i = 0; i < b->n; i++) {
        for (int l = 0; l < LANES; l++) {
            float n = round_even(b->x[(size_t)i * b->stride + l] * inverse[l]);
            least[l] = n < least[l] ? n : least[l];
        }
    }
    for (int l = 0; l < LANES; l++) {
        least[l] = found[l] >= 0 || least[l] > zero[l] ? least[l] : zero[l];
        /* Values that are not finite end up anywhere; the zero point must not leave its field. */
        least[l] = least[l] > ZERO_MIN ? least[l] : ZERO_MIN;
        least[l] = least[l] < ZERO_MAX ? least[l] : ZERO_MAX;
        b->meta[l] = (uint16_t)(index[l] << 9 | ((int)least[l] & 511));
        /* From the zero point of the search on, or from the least value when that is higher. */
        zero[l] = found[l] >= 0 ? levels : zero[l] + levels - least[l];
    }
    for (int i = 0; i < b->n; i++) {
        for (int l = 0; l < LANES; l++) {
            float q = round_even(b->x[(size_t)i * b->stride + l] * inverse[l]) - least[l];
            q = q > 0 ? q : 0;
            q = q < zero[l] ? q : zero[l];
            b->codes[i * LANES + l] = (uint8_t)q;
        }
    }
}

/* ---- codes ---- */

/* The bytes of a line are shifted eight at a time: what crosses into a neighbour is masked away. */
static inline uint64_t line_word(const uint8_t *line, int i)
{
    uint64_t word;
    memcpy(&word, line + 8 * i, sizeof word);
    return word;
}

static void unpack(const uint8_t *packed, int bits, int dim, uint8_t *codes)
{
    /* Main plane: 8, 4 or 2 bits; second plane for 3 = 2 + 1, 5 = 4 + 1, 6 = 4 + 2. */
    int width[2] = {bits == 8 ? 8 : bits >= 4 ? 4 : 2, 0};
    width[1] = bits - width[0];
    for (int p = 0; p < 2 && width[p] > 0; p++) {
        int per_line = 8 / width[p];
        int lines = dim / per_line;
        uint64_t mask = 0x0101010101010101u * ((1u << width[p]) - 1);
        for (int line = 0; line < lines; line++) {
            for (int j = 0; j < per_line; j++) {
                uint8_t *out = codes + ((size_t)line * per_line + j) * 64;
                int shift = j * width[p];
                uint64_t words[8];
                for (int i = 0; i < 8; i++) {
                    words[i] = line_word(packed, i) >> shift & mask;
                }
                if (p == 1) {
                    for (int i = 0; i < 8; i++) {
                        words[i] = words[i] << width[0] | line_word(out, i);
                    }
                }
                memcpy(out, words, sizeof words);
            }
            packed += 64;
        }
    }
}

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* 16 values from byte `byte` of 16 words. uniform: one scale for all; else one each. No fused multiply-add:
 * decoded values are the same on every set. */
ALWAYS_INLINE void decode16(const uint8_t *words, int byte, const float *scale, const float *offset,
                            bool uniform, float *to)
{
#if defined(__AVX512F__)
    __m512i w = _mm512_loadu_si512(words);
    __m512 q = _mm512_cvtepi32_ps(
        _mm512_and_si512(_mm512_srli_epi32(w, (unsigned)byte * 8), _mm512_set1_epi32(255)));
    __m512 s = uniform ? _mm512_set1_ps(*scale) : _mm512_loadu_ps(scale);
    __m512 o = uniform ? _mm512_set1_ps(*offset) : _mm512_loadu_ps(offset);
    _mm512_storeu_ps(to, _mm512_add_ps(_mm512_mul_ps(q, s), o));
#elif defined(__AVX2__)
    for (int i = 0; i < 16; i += 8) {
        __m256i w = _mm256_loadu_si256((const __m256i *)(const void *)(words + 4 * i));
        __m256 q =
            _mm256_cvtepi32_ps(_mm256_and_si256(_mm256_srli_epi32(w, byte * 8), _mm256_set1_epi32(255)));
        __m256 s = uniform ? _mm256_set1_ps(*scale) : _mm256_loadu_ps(scale + i);
        __m256 o = uniform ? _mm256_set1_ps(*offset) : _mm256_loadu_ps(offset + i);
        _mm256_storeu_ps(to + i, _mm256_add_ps(_mm256_mul_ps(q, s), o));
    }
#else
    for (int i = 0; i < 16; i++) {
        to[i] = (float)words[4 * i + byte] * scale[uniform ? 0 : i] + offset[uniform ? 0 : i];
    }
#endif
}

static void decode_k(const uint8_t *codes, int dim, const tada_factors *f, float *out)
{
    for (int d = 0; d < dim; d += 4) {
        for (int t = 0; t < CELLS; t += 16) {
            const uint8_t *in = codes + ((size_t)(d / 4) * 4 + t / 16) * 64;
            float *to = out + (size_t)d * CELLS + t;
            if (f->axis == TADA_AXIS_CHANNEL) {
                size_t at = (size_t)(t / f->group) * dim + d;
                decode16(in, 0, f->scale + at, f->offset + at, true, to);
                decode16(in, 1, f->scale + at + 1, f->offset + at + 1, true, to + CELLS);
                decode16(in, 2, f->scale + at + 2, f->offset + at + 2, true, to + 2 * CELLS);
                decode16(in, 3, f->scale + at + 3, f->offset + at + 3, true, to + 3 * CELLS);
            } else {
                /* A group is a multiple of 16 channels or the whole head, so 4 channels share one. */
                const float *scale = f->scale + (size_t)(d / f->group) * CELLS + t;
                const float *offset = f->offset + (size_t)(d / f->group) * CELLS + t;
                decode16(in, 0, scale, offset, false, to);
                decode16(in, 1, scale, offset, false, to + CELLS);
                decode16(in, 2, scale, offset, false, to + 2 * CELLS);
                decode16(in, 3, scale, offset, false, to + 3 * CELLS);
            }
        }
    }
}

static void decode_v(const uint8_t *codes, int dim, const tada_factors *f, float *out)
{
    size_t row = (size_t)dim;
    for (int t = 0; t < CELLS; t += 4) {
        for (int d = 0; d < dim; d += 16) {
            const uint8_t *in = codes + ((size_t)(t / 4) * (dim / 16) + d / 16) * 64;
            float *to = out + (size_t)t * row + d;
            if (f->axis == TADA_AXIS_TOKEN) {
                size_t at = (size_t)(d / f->group) * CELLS + t;
                decode16(in, 0, f->scale + at, f->offset + at, true, to);
                decode16(in, 1, f->scale + at + 1, f->offset + at + 1, true, to + row);
                decode16(in, 2, f->scale + at + 2, f->offset + at + 2, true, to + 2 * row);
                decode16(in, 3, f->scale + at + 3, f->offset + at + 3, true, to + 3 * row);
            } else {
                const float *scale = f->scale + (size_t)(t / f->group) * dim + d;
                const float *offset = f->offset + (size_t)(t / f->group) * dim + d;
                decode16(in, 0, scale, offset, false, to);
                decode16(in, 1, scale, offset, false, to + row);
                decode16(in, 2, scale, offset, false, to + 2 * row);
                decode16(in, 3, scale, offset, false, to + 3 * row);
            }
        }
    }
}

/* ---- attention only: not the same bit for bit on every set ---- */

static void transpose(const uint16_t *rows, size_t stride, int dim, float *out)
{
    for (int d0 = 0; d0 < dim; d0 += 16) {
        int width = dim - d0 < 16 ? dim - d0 : 16;
        for (int t0 = 0; t0 < CELLS; t0 += 16) {
            float block[16][16];
            for (int t = 0; t < 16; t++) {
                half_to_float(rows + (size_t)(t0 + t) * stride + d0, block[t], width);
            }
            for (int d = 0; d < width; d++) {
                float *to = out + (size_t)(d0 + d) * CELLS + t0;
                for (int t = 0; t < 16; t++) {
                    to[t] = block[t][d];
                }
            }
        }
    }
}

#if defined(__AVX512F__)
typedef __m512 vec;
enum { WIDTH = 16 };
#define VEC_LOAD _mm512_loadu_ps
#define VEC_STORE _mm512_storeu_ps
#define VEC_SET _mm512_set1_ps
#define VEC_FMA _mm512_fmadd_ps
#elif defined(__AVX2__)
typedef __m256 vec;
enum { WIDTH = 8 };
#define VEC_LOAD _mm256_loadu_ps
#define VEC_STORE _mm256_storeu_ps
#define VEC_SET _mm256_set1_ps
#define VEC_FMA _mm256_fmadd_ps
#else
typedef float vec;
enum { WIDTH = 1 };
#define VEC_LOAD(p) (*(p))
#define VEC_STORE(p, v) (*(p) = (v))
#define VEC_SET(x) (x)
#define VEC_FMA(a, b, c) ((a) * (b) + (c))
#endif

/* rows x columns vectors of c in registers; both are constants at every call. */
ALWAYS_INLINE void multiply_block(const float *a, size_t lda, const float *b, size_t ldb, float *c,
                                  size_t ldc, int k, bool accumulate, int rows, int columns)
{
    vec sum[6][4];
    for (int r = 0; r < rows; r++) {
        for (int j = 0; j < columns; j++) {
            sum[r][j] = accumulate ? VEC_LOAD(c + (size_t)r * ldc + j * WIDTH) : VEC_SET(0.0f);
        }
    }
    for (int i = 0; i < k; i++) {
        vec bv[4];
        for (int j = 0; j < columns; j++) {
            bv[j] = VEC_LOAD(b + (size_t)i * ldb + j * WIDTH);
        }
        for (int r = 0; r < rows; r++) {
            vec av = VEC_SET(a[(size_t)r * lda + i]);
            for (int j = 0; j < columns; j++) {
                sum[r][j] = VEC_FMA(av, bv[j], sum[r][j]);
            }
        }
    }
    for (int r = 0; r < rows; r++) {
        for (int j = 0; j < columns; j++) {
            VEC_STORE(c + (size_t)r * ldc + j * WIDTH, sum[r][j]);
        }
    }
}

static void multiply(const float *a, size_t lda, const float *b, float *c, size_t ldc, int m, int n, int k,
                     bool accumulate)
{
    /* AVX-512 has registers for 6 x 4 sums, the others for 6 x 2. */
    enum { WIDE = WIDTH == 16 ? 4 : 2 };
    size_t ldb = (size_t)n;
    for (int j = 0; j < n;) {
        int columns = (n - j) / WIDTH >= WIDE ? WIDE : 1;
        const float *bj = b + j;
        for (int r = 0; r < m;) {
            const float *ar = a + (size_t)r * lda;
            float *cr = c + (size_t)r * ldc + j;
            if (columns == WIDE) {
                if (m - r >= 6) {
                    multiply_block(ar, lda, bj, ldb, cr, ldc, k, accumulate, 6, WIDE);
                    r += 6;
                } else if (m - r >= 3) {
                    multiply_block(ar, lda, bj, ldb, cr, ldc, k, accumulate, 3, WIDE);
                    r += 3;
                } else {
                    multiply_block(ar, lda, bj, ldb, cr, ldc, k, accumulate, 1, WIDE);
                    r += 1;
                }
            } else if (m - r >= 6) {
                multiply_block(ar, lda, bj, ldb, cr, ldc, k, accumulate, 6, 1);
                r += 6;
            } else {
                multiply_block(ar, lda, bj, ldb, cr, ldc, k, accumulate, 1, 1);
                r += 1;
            }
        }
        j += columns * WIDTH;
    }
}

/* exp for x <= 0 and a little above; relative error 2e-7; 0 below -87. Cephes' polynomial on [-ln2/2, ln2/2].
 */
ALWAYS_INLINE float exp_poly(float x)
{
    float clamped = x > -87.0f ? x : -87.0f;
    float n = round_even(clamped * 1.44269504f);
    float r = clamped - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    union {
        int32_t i;
        float f;
    } power = {((int32_t)n + 127) << 23};
    return x > -87.0f ? p * power.f : 0.0f;
}

static float exp_sum(float *x, float max)
{
    float sum[LANES] = {0}, total = 0;
    for (int i = 0; i < CELLS; i += LANES) {
        for (int l = 0; l < LANES; l++) {
            float e = exp_poly(x[i + l] - max);
            x[i + l] = e;
            sum[l] += e;
        }
    }
    for (int l = 0; l < LANES; l++) {
        total += sum[l];
    }
    return total;
}

static void softcap(float *x, float cap)
{
    for (int i = 0; i < CELLS; i++) {
        float size = fabsf(x[i]);
        float e = exp_poly(-2.0f * size);
        float t = cap * ((1.0f - e) / (1.0f + e));
        x[i] = x[i] < 0 ? -t : t;
    }
}

static float max64(const float *x)
{
    float most[LANES], max;
    for (int l = 0; l < LANES; l++) {
        most[l] = x[l];
    }
    for (int i = LANES; i < CELLS; i += LANES) {
        for (int l = 0; l < LANES; l++) {
            most[l] = x[i + l] > most[l] ? x[i + l] : most[l];
        }
    }
    max = most[0];
    for (int l = 1; l < LANES; l++) {
        max = most[l] > max ? most[l] : max;
    }
    return max;
}

static void scale_values(float *x, float factor, int n)
{
    for (int i = 0; i < n; i++) {
        x[i] *= factor;
    }
}

const tada_kernels TADA_SET_SYMBOL = {
    TADA_SET_NAME, half_to_float, half_from_float, hadamard, quantise, unpack, decode_k,
    decode_v,      transpose,     multiply,        exp_sum,  softcap,  max64,  scale_values,
};

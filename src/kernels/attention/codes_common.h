/*
 * What all ways of attention on codes share. Included by set.h, before the way of the set.
 */

/* Largest folded integer: with it the sum over FOLD_CODES codes of 8 bits still fits, and both of its bytes,
 * too. */
static const float fold_top = 32000.0f;
enum { FOLD_CODES = 256 };

/* What a unit stands for, given the largest of n values: so many times more where the sum is over more codes.
 */
ALWAYS_INLINE float fold_unit(float top, int n)
{
    float unit = top * (1.0f / fold_top);
    return n <= FOLD_CODES ? unit : unit * ((float)n * (1.0f / FOLD_CODES));
}

/* What values become integers by, given what a unit stands for; 0 when that is of no use. */
ALWAYS_INLINE float fold_inverse(float unit)
{
    /* Without branches, so that several can be had at once. */
    float inverse = 1.0f / unit;
    inverse = unit > 0x1p-120f ? inverse : 0.0f;
    return unit < 0x1p120f ? inverse : 0.0f;
}

/* Bytes to fetch a turn, in whole lines, when so many turns fetch all; 0 past the end. */
ALWAYS_INLINE size_t fetch_bytes(const uint8_t *next, const uint8_t *end, size_t turns)
{
    return next < end ? ((size_t)(end - next) / turns + 63) / 64 * 64 : 0;
}

/* Fetches so many bytes; where they end. */
ALWAYS_INLINE const uint8_t *fetch(const uint8_t *next, size_t bytes)
{
    for (const uint8_t *end = next + bytes; next < end; next += 64) {
        tada_fetch_line(next);
    }
    return next;
}

/* How codes are packed: two to a byte in pairs of vectors that never part, or as the format says in general;
 * steady (x86 only): so many bits, in fours of vectors that never part. */
enum packing { NIBBLES, BYTES, ONE_PLANE, TWO_PLANES, STEADY_2, STEADY_3, STEADY_5, STEADY_6 };

#if defined(__AVX2__) || defined(TADA_SET_NEON)
/* The way of the set; `packing` is a constant at every call. */
ALWAYS_INLINE void codes_packed(const tada_dot *dot, enum packing packing);

#if defined(__AVX2__)
/* The same of codes in planes of which four vectors never part. */
static void codes_steady(const tada_dot *dot);
#endif
#if defined(__AVX512F__)
/* The same of codes of which four vectors never part. False: they are better summed up otherwise. */
static bool sections_one(const tada_dot *dot);
#endif

static void codes_dot(const tada_dot *a)
{
    if (a->bits == 4 && a->step % 2 == 0 && a->first % 2 == 0 && a->n_vectors % 2 == 0) {
        codes_packed(a, NIBBLES);
    } else if (a->bits == 8) {
        codes_packed(a, BYTES);
#if defined(__AVX2__)
    } else if (a->step % 4 == 0 && a->first % 4 == 0 && a->n_vectors % 4 == 0) {
        codes_steady(a);
#endif
    } else if (a->high) {
        codes_packed(a, TWO_PLANES);
    } else {
        codes_packed(a, ONE_PLANE);
    }
}
#endif

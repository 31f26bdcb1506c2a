/*
 * Codes from their bit planes, joined with their refinement, to a byte each. Included by set.h.
 *
 * A span is eight vectors, and starts at a line in all planes. With its vectors unrolled, all shifts and
 * masks are constants, and each line is read once.
 */

/* How many bits of a joined code are its refinement. */
ALWAYS_INLINE unsigned fine_used(unsigned fine_bits, unsigned code_bits)
{
    return fine_bits < 8 - code_bits ? fine_bits : 8 - code_bits;
}

enum { SPAN_VECTORS = 8 };

#if defined(__AVX2__)
typedef veci piece;
enum { PIECES = PARTS };
#define PIECE_OR INT_OR
#elif defined(TADA_SET_NEON)
typedef uint8x16_t piece;
enum { PIECES = 4 };
#define PIECE_OR vorrq_u8
#else
typedef uint64_t piece;
enum { PIECES = 8 };
#define PIECE_OR(a, b) ((a) | (b))
#endif

/* For half a span, which starts at a line of its own but in planes of one bit: there its bits begin within
 * a line, after `bits` others. `some` is a constant at every call. */
typedef struct skipped {
    bool some;
    int bits;
} skipped;

/* Bits [vector * width, + width) of the bytes of a span in a plane, moved up by `place`. What crosses into a
 * neighbour is masked away. All but plane, skip and part are constants at every call. */
ALWAYS_INLINE piece span_bytes(const uint8_t *plane, unsigned vector, unsigned width, unsigned place,
                               skipped skip, int part)
{
    unsigned at = vector * width, bit = at % 8, mask = ((1u << width) - 1) << place;
    const uint8_t *line = plane + (size_t)(at / 8) * 64 + (size_t)part * sizeof(piece);
#if defined(__AVX2__)
    veci bytes = INT_LOAD(line);
    bytes = skip.some && width == 1 ? INT_RIGHT_BY(bytes, _mm_cvtsi32_si128(skip.bits)) : bytes;
    bytes = bit > place   ? INT_RIGHT(bytes, bit - place)
            : bit < place ? INT_LEFT_IMM(bytes, place - bit)
                          : bytes;
    return width == 8 ? bytes : INT_AND(bytes, INT_BYTES((char)mask));
#elif defined(TADA_SET_NEON)
    uint8x16_t bytes = vld1q_u8(line);
    bytes = skip.some && width == 1 ? vshlq_u8(bytes, vdupq_n_s8((int8_t)-skip.bits)) : bytes;
    bytes = bit == place ? bytes : vshlq_u8(bytes, vdupq_n_s8((int8_t)((int)place - (int)bit)));
    return width == 8 ? bytes : vandq_u8(bytes, vdupq_n_u8((uint8_t)mask));
#else
    uint64_t bytes;
    memcpy(&bytes, line, sizeof bytes);
    bytes = skip.some && width == 1 ? bytes >> skip.bits : bytes;
    return (bit > place ? bytes >> (bit - place) : bytes << (place - bit)) & mask * 0x0101010101010101u;
#endif
}

/* The same of codes in two planes of so many bits. */
ALWAYS_INLINE piece span_codes(const uint8_t *low, const uint8_t *high, unsigned low_bits, unsigned high_bits,
                               unsigned vector, unsigned place, skipped skip, int part)
{
    piece bytes = span_bytes(low, vector, low_bits, place, skip, part);
    return high_bits ? PIECE_OR(bytes, span_bytes(high, vector, high_bits, place + low_bits, skip, part))
                     : bytes;
}

/* Where the codes of a span start, and their refinement. */
typedef struct packed_span {
    const uint8_t *low, *high, *fine_low, *fine_high;
    skipped skip;
} packed_span;

/* The bits of both planes of a refinement. */
ALWAYS_INLINE unsigned fine_low_bits(unsigned fine_bits)
{
    return fine_bits == 3 ? 2 : fine_bits;
}

/* Span number `span` of the head. fine_bits is a constant at every call. */
ALWAYS_INLINE packed_span packed_span_make(const uint8_t *low, const uint8_t *high, const tada_fine *fine,
                                           size_t span, unsigned fine_bits)
{
    return (packed_span){low,
                         high,
                         fine_bits ? fine->low + span * fine_low_bits(fine_bits) * 64 : NULL,
                         fine_bits == 3 ? fine->high + span * 64 : NULL,
                         {false, 0}};
}

/* Four vectors of a section from number v on, a multiple of four; the section is the only one. Bits are
 * constants at every call. */
ALWAYS_INLINE packed_span packed_half_make(const tada_section *section, const tada_fine *fine, size_t v,
                                           unsigned low_bits, unsigned high_bits, unsigned fine_bits)
{
    return (packed_span){section->low + v * low_bits / 8 * 64,
                         high_bits ? section->high + v * high_bits / 8 * 64 : NULL,
                         fine_bits ? fine->low + v * fine_low_bits(fine_bits) / 8 * 64 : NULL,
                         fine_bits == 3 ? fine->high + v / 8 * 64 : NULL,
                         {true, (int)(v % 8)}};
}

/* Codes of a span, joined: those of one vector. All but planes and part are constants at every call. */
ALWAYS_INLINE piece span_joined(const packed_span *s, unsigned low_bits, unsigned high_bits,
                                unsigned fine_bits, unsigned vector, int part)
{
    unsigned used = fine_used(fine_bits, low_bits + high_bits), fine_low = fine_low_bits(fine_bits);
    piece code = span_codes(s->low, s->high, low_bits, high_bits, vector, used, s->skip, part);
    return used == 0 ? code
                     : PIECE_OR(code, span_codes(s->fine_low, s->fine_high, fine_low, fine_bits - fine_low,
                                                 vector, 0, s->skip, part));
}

/* DO(low bits, high bits, bits of refinement) for a section, with constants; codes of 8 bits have no use for
 * any. FOR_WIDTH: the last is a constant here; FOR_FINE: it is 2 to 4. */
#define FOR_WIDTH(bits, fine_bits, DO)                                                                       \
    switch (bits) {                                                                                          \
    case 2:                                                                                                  \
        DO(2, 0, fine_bits);                                                                                 \
        break;                                                                                               \
    case 3:                                                                                                  \
        DO(2, 1, fine_bits);                                                                                 \
        break;                                                                                               \
    case 4:                                                                                                  \
        DO(4, 0, fine_bits);                                                                                 \
        break;                                                                                               \
    case 5:                                                                                                  \
        DO(4, 1, fine_bits);                                                                                 \
        break;                                                                                               \
    case 6:                                                                                                  \
        DO(4, 2, fine_bits);                                                                                 \
        break;                                                                                               \
    default:                                                                                                 \
        DO(8, 0, 0);                                                                                         \
    }
#define FOR_FINE(bits, fine_bits, DO)                                                                        \
    switch (fine_bits) {                                                                                     \
    case 2:                                                                                                  \
        FOR_WIDTH(bits, 2, DO)                                                                               \
        break;                                                                                               \
    case 3:                                                                                                  \
        FOR_WIDTH(bits, 3, DO)                                                                               \
        break;                                                                                               \
    default:                                                                                                 \
        FOR_WIDTH(bits, 4, DO)                                                                               \
    }

/* A section to its places; order: NULL when it is the only one. All bits are constants at every call. */
ALWAYS_INLINE void unpack_section(const tada_section *section, const uint8_t *order, const tada_fine *fine,
                                  unsigned low_bits, unsigned high_bits, unsigned fine_bits, uint8_t *bytes)
{
    const uint8_t *low = section->low, *high = section->high;
    for (int i = 0; i < section->n_spans; i++) {
        size_t span = order ? order[i] : (size_t)i;
        uint8_t *to = bytes + span * SPAN_VECTORS * 64;
        packed_span packed = packed_span_make(low, high, fine, span, fine_bits);
        UNROLL
        for (unsigned v = 0; v < SPAN_VECTORS; v++) {
            for (int p = 0; p < PIECES; p++) {
                piece code = span_joined(&packed, low_bits, high_bits, fine_bits, v, p);
                memcpy(to + v * 64 + (size_t)p * sizeof code, &code, sizeof code);
            }
        }
        low += low_bits * 64;
        high = high_bits ? high + high_bits * 64 : NULL;
    }
}

static void unpack(const tada_sections *s, const tada_fine *fine, uint8_t *bytes)
{
    const uint8_t *order = s->n > 1 ? s->order : NULL;
    for (int i = 0; i < s->n; i++) {
#define UNPACK(low_bits, high_bits, fine_bits)                                                               \
    unpack_section(&s->of[i], order, fine, low_bits, high_bits, fine_bits, bytes)
        if (fine->bits) {
            FOR_FINE(s->of[i].bits, fine->bits, UNPACK)
        } else {
            FOR_WIDTH(s->of[i].bits, 0, UNPACK)
        }
#undef UNPACK
        order = order ? order + s->of[i].n_spans : NULL;
    }
}

static void join_factors(int fine_bits, const uint8_t *widths, int code_bits, int n, float *scale,
                         float *offset)
{
    typedef float eight __attribute__((vector_size(8 * sizeof(float))));
    static const float parts[] = {1, 0x1p-1f, 0x1p-2f, 0x1p-3f, 0x1p-4f};
    for (int i = 0; i < n / TADA_SPAN; i++, scale += TADA_SPAN, offset += TADA_SPAN) {
        unsigned used =
            fine_used((unsigned)fine_bits, (unsigned)(widths ? widths[i / 2] >> i % 2 * 4 & 15 : code_bits));
        eight s, o;
        memcpy(&s, scale, sizeof s);
        memcpy(&o, offset, sizeof o);
        /* The middle of a refinement is the code's own value. */
        o -= s * (used > 0 ? 0.5f : 0.0f);
        s *= parts[used];
        memcpy(scale, &s, sizeof s);
        memcpy(offset, &o, sizeof o);
    }
}

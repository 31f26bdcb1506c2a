/*
 * Codes from their bit planes, joined with their refinement, to a byte each. Included by kernels_template.h.
 *
 * A span is eight vectors, and starts at a line in all planes. With its vectors unrolled, all shifts and
 * masks are constants, and each line is read once.
 */

/* The part of a joined code that is its refinement. */
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

/* Bits [vector * width, + width) of the bytes of a span in a plane, moved up by `place`. What crosses into a
 * neighbour is masked away. All but plane and part are constants at every call. */
ALWAYS_INLINE piece span_bytes(const uint8_t *plane, unsigned vector, unsigned width, unsigned place,
                               int part)
{
    unsigned at = vector * width, bit = at % 8, mask = ((1u << width) - 1) << place;
    const uint8_t *line = plane + (size_t)(at / 8) * 64 + (size_t)part * sizeof(piece);
#if defined(__AVX2__)
    veci bytes = INT_LOAD(line);
    bytes = bit > place   ? INT_RIGHT(bytes, bit - place)
            : bit < place ? INT_LEFT_IMM(bytes, place - bit)
                          : bytes;
    return width == 8 ? bytes : INT_AND(bytes, INT_BYTES((char)mask));
#elif defined(TADA_SET_NEON)
    uint8x16_t bytes = vld1q_u8(line);
    bytes = bit == place ? bytes : vshlq_u8(bytes, vdupq_n_s8((int8_t)((int)place - (int)bit)));
    return width == 8 ? bytes : vandq_u8(bytes, vdupq_n_u8((uint8_t)mask));
#else
    uint64_t bytes;
    memcpy(&bytes, line, sizeof bytes);
    return (bit > place ? bytes >> (bit - place) : bytes << (place - bit)) & mask * 0x0101010101010101u;
#endif
}

/* The same of codes in two planes of so many bits. */
ALWAYS_INLINE piece span_codes(const uint8_t *low, const uint8_t *high, unsigned low_bits, unsigned high_bits,
                               unsigned vector, unsigned place, int part)
{
    piece bytes = span_bytes(low, vector, low_bits, place, part);
    return high_bits ? PIECE_OR(bytes, span_bytes(high, vector, high_bits, place + low_bits, part)) : bytes;
}

/* DO(low bits, high bits) for a section, with constants. */
#define FOR_WIDTH(bits, DO)                                                                                  \
    switch (bits) {                                                                                          \
    case 2:                                                                                                  \
        DO(2, 0);                                                                                            \
        break;                                                                                               \
    case 3:                                                                                                  \
        DO(2, 1);                                                                                            \
        break;                                                                                               \
    case 4:                                                                                                  \
        DO(4, 0);                                                                                            \
        break;                                                                                               \
    case 5:                                                                                                  \
        DO(4, 1);                                                                                            \
        break;                                                                                               \
    case 6:                                                                                                  \
        DO(4, 2);                                                                                            \
        break;                                                                                               \
    default:                                                                                                 \
        DO(8, 0);                                                                                            \
    }

/* A section to its places; order: NULL when it is the only one. All bits are constants at every call. */
ALWAYS_INLINE void unpack_section(const tada_section *section, const uint8_t *order, const tada_fine *fine,
                                  unsigned low_bits, unsigned high_bits, unsigned fine_bits, uint8_t *bytes)
{
    const unsigned fine_low = fine_bits == 3 ? 2 : fine_bits, fine_high = fine_bits - fine_low;
    const unsigned place = fine_used(fine_bits, low_bits + high_bits);
    const uint8_t *low = section->low, *high = section->high;
    for (int i = 0; i < section->n_spans; i++) {
        size_t span = order ? order[i] : (size_t)i;
        uint8_t *to = bytes + span * SPAN_VECTORS * 64;
        const uint8_t *more = fine_low ? fine->low + span * fine_low * 64 : NULL;
        const uint8_t *most = fine_high ? fine->high + span * fine_high * 64 : NULL;
        UNROLL
        for (unsigned v = 0; v < SPAN_VECTORS; v++) {
            for (int p = 0; p < PIECES; p++) {
                piece code = span_codes(low, high, low_bits, high_bits, v, place, p);
                if (place) {
                    code = PIECE_OR(code, span_codes(more, most, fine_low, fine_high, v, 0, p));
                }
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
#define UNPACK(low_bits, high_bits)                                                                          \
    switch (fine->bits) {                                                                                    \
    case 0:                                                                                                  \
        unpack_section(&s->of[i], order, fine, low_bits, high_bits, 0, bytes);                               \
        break;                                                                                               \
    case 2:                                                                                                  \
        unpack_section(&s->of[i], order, fine, low_bits, high_bits, 2, bytes);                               \
        break;                                                                                               \
    case 3:                                                                                                  \
        unpack_section(&s->of[i], order, fine, low_bits, high_bits, 3, bytes);                               \
        break;                                                                                               \
    default:                                                                                                 \
        unpack_section(&s->of[i], order, fine, low_bits, high_bits, 4, bytes);                               \
    }
        FOR_WIDTH(s->of[i].bits, UNPACK)
#undef UNPACK
        order = order ? order + s->of[i].n_spans : NULL;
    }
}

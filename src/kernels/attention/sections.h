/*
 * Attention on codes of adaptive widths: all sections of a head in one go, so that its sums stay in registers
 * from the first to the last. Included by set.h.
 */

static void sections_unpacked(const tada_dot *all, const tada_sections *s, const tada_fine *fine)
{
    uint8_t bytes[CELLS * TADA_CODES_DIM];
    unpack(s, fine, bytes);
    tada_dot one = *all;
    one.bits = 8;
    one.low = bytes;
    one.high = NULL;
    codes_dot(&one);
}

#if !defined(__AVX2__)

/* One section after the other, with x in their order. */
static void sections_apart(const tada_dot *all, const tada_sections *s)
{
    enum { BYTES_OF_SPAN = TADA_SPAN * sizeof(int16_t) };
    static const float no_bias[TADA_ROWS];
    int16_t sorted[TADA_ROWS * TADA_CODES_DIM];
    size_t spans = 0;
    for (int i = 0; i < s->n; i++) {
        spans += (size_t)s->of[i].n_spans;
    }
    for (size_t r = 0; r < (size_t)all->m; r++) {
        for (size_t i = 0; i < spans; i++) {
            size_t span = s->n > 1 ? s->order[i] : i;
            memcpy(sorted + (r * spans + i) * TADA_SPAN, all->x + r * all->ldx + span * TADA_SPAN,
                   BYTES_OF_SPAN);
        }
    }
    tada_dot one = *all;
    one.x = sorted;
    one.ldx = spans * TADA_SPAN;
    for (int i = 0; i < s->n; i++) {
        one.bits = s->of[i].bits;
        one.low = s->of[i].low;
        one.high = s->of[i].high;
        one.n_fours = s->of[i].n_spans * TADA_SPAN / 4;
        codes_dot(&one);
        one.x += s->of[i].n_spans * TADA_SPAN;
        one.bias = no_bias;
        one.next = one.next_end;
    }
}

#endif

#if defined(__AVX512F__)

/* Vectors of a four, when there are as many as a tile of K has; all of a section are summed up then. */
enum { FOUR_VECTORS = CELLS / 16 };

static bool sections_can(const tada_dot *a)
{
    return a->first == 0 && a->step == FOUR_VECTORS && a->n_vectors == FOUR_VECTORS;
}

static bool is_whole(const tada_dot *a, const tada_sections *s)
{
    return sections_can(a) && (s->n > 1 || 2 * s->of[0].n_spans == a->n_fours);
}

/* Sums over one section whose vectors never part by fours, refined as recipes of one width are. */
static bool fours_can(const tada_dot *a, const tada_sections *s, const tada_fine *fine)
{
    static const int8_t usual[] = {-1, -1, 2, 3, 4, 3, 2, -1, -1};
    return s->n == 1 && fine->bits == usual[s->of[0].bits] && a->first % 4 == 0 && a->step % 4 == 0 &&
           a->n_vectors % 4 == 0;
}

/* What is left to fetch, and how much of it a turn. */
typedef struct fetching {
    const uint8_t *next, *end;
    size_t ahead;
} fetching;

ALWAYS_INLINE void fetch_turn(fetching *f)
{
    if (f->next < f->end) {
        f->next = fetch(f->next, f->ahead);
    }
}

/* Rows from x on and vectors of a block: all four, or one and that `apart` after it. All but x and ldx are
 * constants at every call. */
typedef struct block {
    const char *x;
    size_t ldx; /* in bytes */
    int rows, vector, vectors, apart;
} block;

/* Adds up a four, with its values of x. */
ALWAYS_INLINE void add_four(block b, const char *x, const codes *code, sums sum[4][FOUR_VECTORS])
{
    UNROLL
    for (int r = 0; r < b.rows; r++) {
        const char *both = x + (size_t)r * b.ldx;
        veci pair[2] = {spread(both), spread(both + 4)};
        UNROLL
        for (int j = 0; j < b.vectors; j++) {
            accumulate(&sum[r][j], code[j], pair);
        }
    }
}

/* Adds up the spans of a section. Bits are constants at every call. */
ALWAYS_INLINE void add_spans(const tada_section *section, const tada_fine *fine, const uint8_t *order,
                             block b, unsigned low_bits, unsigned high_bits, unsigned fine_bits,
                             sums sum[4][FOUR_VECTORS], fetching *f)
{
    const uint8_t *low = section->low, *high = section->high;
    for (int i = 0; i < section->n_spans; i++) {
        const char *span = b.x + (size_t)order[i] * TADA_SPAN * sizeof(int16_t);
        packed_span planes = packed_span_make(low, high, fine, order[i], fine_bits);
        UNROLL
        for (int four = 0; four < 2; four++) {
            codes code[FOUR_VECTORS];
            UNROLL
            for (int j = 0; j < b.vectors; j++) {
                unsigned v = (unsigned)(four * FOUR_VECTORS + b.vector + j * b.apart);
                code[j] = split(span_joined(&planes, low_bits, high_bits, fine_bits, v, 0));
            }
            add_four(b, span + (size_t)four * 8, code, sum);
        }
        low += 64 * low_bits;
        high = high_bits ? high + 64 * high_bits : NULL;
        fetch_turn(f);
    }
}

#if BYTE_DOT
/*
 * Codes of up to four bits share bytes: a pair has those of a vector in the lower halves and those of the
 * second one after it in the upper halves. Bytes are multiplied without the upper halves, and whole: from the
 * latter sums, which are kept where those of the second vector belong, the former are taken away at the end,
 * and a factor of 16. So codes in upper halves need not be moved, nor cleared of the lower ones.
 */

/* The pair of vectors p and p + 2 of a four; high: four bits for it in each byte. Bits and p are constants at
 * every call. */
ALWAYS_INLINE veci pair_of(const uint8_t *low, veci high, unsigned bits, int p)
{
    veci first = INT_LOAD(low);
    if (bits == 4) {
        veci second = INT_LOAD(low + 64);
        veci lower = p == 0 ? first : INT_RIGHT(first, 4), upper = p == 0 ? INT_LEFT_IMM(second, 4) : second;
        return (lower & INT_BYTES(15)) | (upper & ~INT_BYTES(15));
    }
    first = p == 0 ? first : INT_RIGHT(first, 2);
    if (bits == 2) {
        return INT_AND(first, INT_BYTES(0x33));
    }
    /* Bits p and p + 2 of a number become bits 2 and 6. */
    veci third = _mm512_broadcast_i32x4(
        p == 0 ? _mm_setr_epi8(0, 4, 0, 4, 64, 68, 64, 68, 0, 4, 0, 4, 64, 68, 64, 68)
               : _mm_setr_epi8(0, 0, 4, 4, 0, 0, 4, 4, 64, 64, 68, 68, 64, 64, 68, 68));
    return (first & INT_BYTES(0x33)) | _mm512_shuffle_epi8(third, high);
}

/* Adds up the pairs of a four, with its values of x. */
ALWAYS_INLINE void add_pairs(block b, const char *x, const uint8_t *low, veci high, unsigned bits,
                             sums sum[4][FOUR_VECTORS])
{
    int n = b.vectors / 2;
    UNROLL
    for (int j = 0; j < n; j++) {
        veci both = pair_of(low, high, bits, b.vectors == FOUR_VECTORS ? j : b.vector);
        veci lower = INT_AND(both, INT_BYTES(15));
        UNROLL
        for (int r = 0; r < b.rows; r++) {
            const char *at = x + (size_t)r * b.ldx;
            veci pair[2] = {spread(at), spread(at + 4)};
            accumulate(&sum[r][j], (codes){lower}, pair);
            accumulate(&sum[r][j + n], (codes){both}, pair);
        }
    }
}

/* Adds up the spans of a section of 2 to 4 bits, a constant at every call. */
ALWAYS_INLINE void add_narrow_spans(const tada_section *section, const uint8_t *order, block b, unsigned bits,
                                    sums sum[4][FOUR_VECTORS], fetching *f)
{
    const uint8_t *low = section->low, *high = section->high;
    for (int i = 0; i < section->n_spans; i++) {
        const char *span = b.x + (size_t)order[i] * TADA_SPAN * sizeof(int16_t);
        veci above = bits == 3 ? INT_LOAD(high) : INT_ZERO();
        UNROLL
        for (int four = 0; four < 2; four++) {
            veci bit = INT_AND(four == 0 ? above : INT_RIGHT(above, 4), INT_BYTES(15));
            add_pairs(b, span + (size_t)four * 8, low, bit, bits, sum);
            low += bits == 4 ? 128 : 64;
        }
        high = bits == 3 ? high + 64 : NULL;
        fetch_turn(f);
    }
}

/* Adds up four vectors of each four, from `column` on. Fours start at the same bit of their line of the high
 * plane. bits (2 or 3) and this bit are constants at every call. */
ALWAYS_INLINE void add_narrow_fours(const tada_dot *a, const tada_section *section, int column, block b,
                                    unsigned bits, unsigned bit, sums sum[4][FOUR_VECTORS], fetching *f)
{
    size_t first = (size_t)(a->first + column), step = (size_t)a->step;
    const uint8_t *low = section->low + first / 4 * 64;
    const uint8_t *high = bits == 3 ? section->high + first / 8 * 64 : NULL;
    const char *x = b.x;
    for (int i = 0; i < a->n_fours; i++) {
        veci above = bits == 3 ? INT_LOAD(high) : INT_ZERO();
        above = INT_AND(bit ? INT_RIGHT(above, 4) : above, INT_BYTES(15));
        add_pairs(b, x, low, above, bits, sum);
        fetch_turn(f);
        x += 8;
        low += step * 16;
        high = bits == 3 ? high + step * 8 : NULL;
    }
}

/* A sum of a second vector as one over whole bytes, given that of the first; and back again. */
ALWAYS_INLINE veci pair_sum(veci second, veci first)
{
    return INT_ADD(_mm512_slli_epi32(second, 4), first);
}

ALWAYS_INLINE veci part_sum(veci both, veci first)
{
    return _mm512_srai_epi32(_mm512_sub_epi32(both, first), 4);
}

/* All sums of second vectors, by one of these functions, a constant at every call. */
ALWAYS_INLINE void change_seconds(block b, veci (*change)(veci, veci), sums sum[4][FOUR_VECTORS])
{
    int n = b.vectors / 2;
    UNROLL
    for (int r = 0; r < b.rows; r++) {
        UNROLL
        for (int j = 0; j < n; j++) {
            const sums *first = &sum[r][j];
            sums *second = &sum[r][j + n];
            second->high = change(second->high, first->high);
            second->low = change(second->low, first->low);
        }
    }
}
#endif

/* Adds up four vectors of each four, from `column` on. Bits are constants at every call. */
ALWAYS_INLINE void add_fours(const tada_dot *a, const tada_section *section, const tada_fine *fine,
                             int column, block b, unsigned low_bits, unsigned high_bits, unsigned fine_bits,
                             sums sum[4][FOUR_VECTORS], fetching *f)
{
    for (int i = 0; i < a->n_fours; i++) {
        size_t v = (size_t)(a->first + column + i * a->step);
        packed_span planes = packed_half_make(section, fine, v, low_bits, high_bits, fine_bits);
        codes code[FOUR_VECTORS];
        UNROLL
        for (int j = 0; j < b.vectors; j++) {
            unsigned in_four = (unsigned)(b.vector + j * b.apart);
            code[j] = split(span_joined(&planes, low_bits, high_bits, fine_bits, in_four, 0));
        }
        add_four(b, b.x + (size_t)i * 8, code, sum);
        fetch_turn(f);
    }
}

/* What is summed up: sections, in spans of this order, joined or not; or the only section in fours of
 * vectors, joined, or of 2 or 3 bits. */
enum way { SPANS, JOINED_SPANS, JOINED_FOURS, NARROW_FOURS };

typedef struct summed {
    const tada_section *of;
    int n;
    const uint8_t *order;
    const tada_fine *fine;
} summed;

/* rows x vectors of sums, from `row` and `vector` of a column on. All but `row` and `column` are constants at
 * every call. */
ALWAYS_INLINE void sections_block(const tada_dot *a, const summed *s, int row, int rows, int column,
                                  int vector, int vectors, int apart, enum way way)
{
    sums sum[4][FOUR_VECTORS];
    block b = {
        (const char *)(a->x + (size_t)row * a->ldx), a->ldx * sizeof *a->x, rows, vector, vectors, apart};
    fetching f = {
        row + column + vector == 0 ? a->next : a->next_end, a->next_end,
        fetch_bytes(a->next, a->next_end, (size_t)(way >= JOINED_FOURS ? a->n_fours : a->n_fours / 2))};
    const uint8_t *order = s->order;
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int j = 0; j < vectors; j++) {
            sum[r][j] = (sums)SUMS_ZERO;
        }
    }
    const tada_section *section = s->of, *end = way >= JOINED_FOURS ? s->of : s->of + s->n;
    /* With four rows, registers for sums are short, and moving codes counts for little. */
    bool pairs = BYTE_DOT && way == SPANS && rows < 4;
    for (; section < end && !(pairs && section->bits <= 4); section++) {
#define ADD_SPANS(low_bits, high_bits, fine_bits)                                                            \
    add_spans(section, s->fine, order, b, low_bits, high_bits, fine_bits, sum, &f)
        if (way == JOINED_SPANS) {
            FOR_FINE(section->bits, s->fine->bits, ADD_SPANS)
        } else {
            FOR_WIDTH(section->bits, 0, ADD_SPANS)
        }
#undef ADD_SPANS
        order += section->n_spans;
    }
#if BYTE_DOT
    /* The widest sections come first. */
    if (pairs && section < end) {
        if (section > s->of) {
            change_seconds(b, pair_sum, sum);
        }
        for (; section < end; order += section->n_spans, section++) {
            switch (section->bits) {
            case 4:
                add_narrow_spans(section, order, b, 4, sum, &f);
                break;
            case 3:
                add_narrow_spans(section, order, b, 3, sum, &f);
                break;
            default:
                add_narrow_spans(section, order, b, 2, sum, &f);
            }
        }
        change_seconds(b, part_sum, sum);
    }
    if (way == NARROW_FOURS && rows < 4) {
        if (s->of->bits == 2) {
            add_narrow_fours(a, s->of, column, b, 2, 0, sum, &f);
        } else if ((a->first + column) % 8 == 0) {
            add_narrow_fours(a, s->of, column, b, 3, 0, sum, &f);
        } else {
            add_narrow_fours(a, s->of, column, b, 3, 4, sum, &f);
        }
        change_seconds(b, part_sum, sum);
    }
    if (way == NARROW_FOURS && rows == 4) {
        if (s->of->bits == 3) {
            add_fours(a, s->of, s->fine, column, b, 2, 1, 0, sum, &f);
        } else {
            add_fours(a, s->of, s->fine, column, b, 2, 0, 0, sum, &f);
        }
    }
#endif
#define ADD_FOURS(low_bits, high_bits, fine_bits)                                                            \
    add_fours(a, s->of, s->fine, column, b, low_bits, high_bits, fine_bits, sum, &f);                        \
    break
    switch (way == JOINED_FOURS ? s->of->bits : 0) {
    case 2:
        ADD_FOURS(2, 0, 2);
    case 3:
        ADD_FOURS(2, 1, 3);
    case 4:
        ADD_FOURS(4, 0, 4);
    case 5:
        ADD_FOURS(4, 1, 3);
    case 6:
        ADD_FOURS(4, 2, 2);
    default:;
    }
#undef ADD_FOURS
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int j = 0; j < vectors; j++) {
            add_sums(a, row + r, column + b.vector + j * b.apart, 0, &sum[r][j]);
        }
    }
}

/* All rows of four vectors from a column on. */
ALWAYS_INLINE void sections_column(const tada_dot *a, const summed *s, int column, enum way way)
{
    for (int r = 0; r < a->m;) {
        switch (block_rows(a->m - r)) {
        case 4:
            sections_block(a, s, r, 4, column, 0, 2, 1, way);
            sections_block(a, s, r, 4, column, 2, 2, 1, way);
            r += 4;
            break;
        case 3:
            sections_block(a, s, r, 3, column, 0, 2, 2, way);
            sections_block(a, s, r, 3, column, 1, 2, 2, way);
            r += 3;
            break;
        case 2:
            sections_block(a, s, r, 2, column, 0, 4, 1, way);
            r += 2;
            break;
        default:
            sections_block(a, s, r, 1, column, 0, 4, 1, way);
            r += 1;
        }
    }
}

static void sections_rows(const tada_dot *a, const summed *s)
{
    sections_column(a, s, 0, SPANS);
}

static void joined_rows(const tada_dot *a, const summed *s)
{
    sections_column(a, s, 0, JOINED_SPANS);
}

ALWAYS_INLINE void all_columns(const tada_dot *a, const summed *s, enum way way)
{
    for (int column = 0; column < a->n_vectors; column += FOUR_VECTORS) {
        sections_column(a, s, column, way);
    }
}

static void fours_rows(const tada_dot *a, const summed *s)
{
    all_columns(a, s, JOINED_FOURS);
}

/* Of one section. */
static const uint8_t in_order[TADA_CODES_DIM / TADA_SPAN] = {
    0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
    22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43,
    44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63};

#if BYTE_DOT
static void narrow_rows(const tada_dot *a, const summed *s)
{
    all_columns(a, s, NARROW_FOURS);
}
#endif

/* As codes_common.h says. */
static bool sections_one(const tada_dot *a)
{
    tada_section section = {a->bits, a->n_fours / 2, a->low, a->high};
    tada_fine none = {0, NULL, NULL};
    summed one = {&section, 1, in_order, &none};
    if (sections_can(a)) {
        sections_rows(a, &one);
        return true;
    }
#if BYTE_DOT
    if (a->bits == 2 || (a->bits == 3 && a->step % 8 == 0)) {
        narrow_rows(a, &one);
        return true;
    }
#endif
    return false;
}

static void sections_dot(const tada_dot *a, const tada_sections *s, const tada_fine *fine)
{
    if (is_whole(a, s)) {
        summed all = {s->of, s->n, s->n > 1 ? s->order : in_order, fine};
        (fine->bits ? joined_rows : sections_rows)(a, &all);
    } else if (fours_can(a, s, fine)) {
        fours_rows(a, &(summed){s->of, 1, NULL, fine});
    } else {
        sections_unpacked(a, s, fine);
    }
}

#elif defined(__AVX2__)

/* With 16 registers, codes become a byte each first. */
static void sections_dot(const tada_dot *a, const tada_sections *s, const tada_fine *fine)
{
    sections_unpacked(a, s, fine);
}

#else

static void sections_dot(const tada_dot *a, const tada_sections *s, const tada_fine *fine)
{
    if (fine->bits) {
        sections_unpacked(a, s, fine);
    } else {
        sections_apart(a, s);
    }
}

#endif

/*
 * Attention on codes of adaptive widths: all sections of a head in one go, so that its sums stay in registers
 * from the first to the last. Included by kernels_template.h.
 */

/* Any set, any vectors: one section after the other, with x in their order. */
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
            memcpy(sorted + (r * spans + i) * TADA_SPAN, all->x + r * all->ldx + s->order[i] * TADA_SPAN,
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

#if defined(__AVX2__)

/* Vectors of a four, when there are as many as a tile of K has. */
enum { FOUR_VECTORS = CELLS / 16 };

static bool sections_can(const tada_dot *a)
{
    return a->first == 0 && a->step == FOUR_VECTORS && a->n_vectors == FOUR_VECTORS;
}

#endif

#if defined(__AVX512F__)

/* What is left to fetch, and how much of it a turn. */
typedef struct fetching {
    const uint8_t *next, *end;
    size_t ahead;
} fetching;

/* Adds up the spans of a section. Bits, rows and vectors are constants at every call. */
ALWAYS_INLINE void add_spans(const tada_section *section, const uint8_t *order, const char *x, size_t ldx,
                             unsigned low_bits, unsigned high_bits, int rows, int vector, int vectors,
                             sums sum[4][FOUR_VECTORS], fetching *f)
{
    const uint8_t *low = section->low, *high = section->high;
    for (int i = 0; i < section->n_spans; i++) {
        const char *span = x + (size_t)order[i] * TADA_SPAN * sizeof(int16_t);
        UNROLL
        for (int four = 0; four < 2; four++) {
            codes code[FOUR_VECTORS];
            UNROLL
            for (int j = 0; j < vectors; j++) {
                unsigned v = (unsigned)(four * FOUR_VECTORS + vector + j);
                code[j] = split(span_codes(low, high, low_bits, high_bits, v, 0, 0));
            }
            UNROLL
            for (int r = 0; r < rows; r++) {
                const char *both = span + (size_t)r * ldx + four * 8;
                veci pair[2] = {spread(both), spread(both + 4)};
                UNROLL
                for (int j = 0; j < vectors; j++) {
                    accumulate(&sum[r][j], code[j], pair);
                }
            }
        }
        low += 64 * low_bits;
        high = high_bits ? high + 64 * high_bits : NULL;
        if (f->next < f->end) {
            f->next = fetch(f->next, f->ahead);
        }
    }
}

/* rows x vectors of sums, from `row` and `vector` on. `rows`, `vector` and `vectors` are constants at every
 * call. */
ALWAYS_INLINE void sections_block(const tada_dot *a, const tada_section *of, int n, const uint8_t *order,
                                  int row, int rows, int vector, int vectors)
{
    sums sum[4][FOUR_VECTORS];
    const char *x = (const char *)(a->x + (size_t)row * a->ldx);
    size_t ldx = a->ldx * sizeof *a->x;
    fetching f = {row + vector == 0 ? a->next : a->next_end, a->next_end,
                  fetch_bytes(a->next, a->next_end, (size_t)a->n_fours / 2)};
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int j = 0; j < vectors; j++) {
            sum[r][j] = (sums)SUMS_ZERO;
        }
    }
    for (const tada_section *section = of; section < of + n; section++) {
#define ADD_SPANS(low_bits, high_bits)                                                                       \
    add_spans(section, order, x, ldx, low_bits, high_bits, rows, vector, vectors, sum, &f)
        FOR_WIDTH(section->bits, ADD_SPANS)
#undef ADD_SPANS
        order += section->n_spans;
    }
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int j = 0; j < vectors; j++) {
            add_sums(a, row + r, vector + j, 0, &sum[r][j]);
        }
    }
}

static void sections_rows(const tada_dot *a, const tada_section *of, int n, const uint8_t *order)
{
    for (int r = 0; r < a->m;) {
        switch (block_rows(a->m - r)) {
        case 4:
            sections_block(a, of, n, order, r, 4, 0, 2);
            sections_block(a, of, n, order, r, 4, 2, 2);
            r += 4;
            break;
        case 3:
            sections_block(a, of, n, order, r, 3, 0, 4);
            r += 3;
            break;
        case 2:
            sections_block(a, of, n, order, r, 2, 0, 4);
            r += 2;
            break;
        default:
            sections_block(a, of, n, order, r, 1, 0, 4);
            r += 1;
        }
    }
}

/* As codes_common.h says. */
static bool sections_one(const tada_dot *a)
{
    if (!sections_can(a)) {
        return false;
    }
    static const uint8_t order[TADA_CODES_DIM / TADA_SPAN] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10,
                                                              11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
                                                              22, 23, 24, 25, 26, 27, 28, 29, 30, 31};
    tada_section section = {a->bits, a->n_fours / 2, a->low, a->high};
    sections_rows(a, &section, 1, order);
    return true;
}

static void sections_dot(const tada_dot *a, const tada_sections *s)
{
    if (sections_can(a)) {
        sections_rows(a, s->of, s->n, s->order);
    } else {
        sections_apart(a, s);
    }
}

#elif defined(__AVX2__)

/* With 16 registers, codes become a byte each first, in the order of x. */
static void sections_dot(const tada_dot *a, const tada_sections *s)
{
    uint8_t bytes[CELLS * TADA_CODES_DIM];
    if (!sections_can(a)) {
        sections_apart(a, s);
        return;
    }
    tada_dot copied = *a;
    unpack(s, &(tada_fine){0, NULL, NULL}, bytes);
    copied.bits = 8;
    copied.low = bytes;
    codes_packed(&copied, BYTES);
}

#else

static void sections_dot(const tada_dot *a, const tada_sections *s)
{
    sections_apart(a, s);
}

#endif

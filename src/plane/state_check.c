/* Reading saved cells: nothing in them is believed before it has been checked. */
#include "state.h"

#include "codec/nonfinite.h"
#include "crc.h"
#include "rope.h"
#include "shift.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CELLS = TADA_TILE_CELLS };

/* The bytes that are still to be read. */
typedef struct reader {
    const uint8_t *at;
    size_t left;
} reader;

/* The next n bytes, or NULL: there are not so many. */
static const uint8_t *take(reader *r, size_t n)
{
    const uint8_t *bytes = r->at;
    if (n > r->left) {
        return NULL;
    }
    r->at += n;
    r->left -= n;
    return bytes;
}

static bool take_into(reader *r, void *to, size_t n)
{
    const uint8_t *bytes = take(r, n);
    if (bytes) {
        memcpy(to, bytes, n);
    }
    return bytes != NULL;
}

static bool fits_plane(const tada_plane *p, const tada_state_header *h)
{
    const tada_recipe *r = &p->codec.recipe;
    if (h->kind != (int)p->shape.kind || h->width != (uint32_t)p->shape.width) {
        return false;
    }
    if (!p->compressed) {
        return h->head_dim == 0;
    }
    return h->head_dim == (uint32_t)p->codec.layout.head_dim && h->group == r->group && h->bits == r->bits &&
           h->centring == (int)r->centring && h->rotation == (int)r->rotation && h->axis == (int)r->axis &&
           h->scale == (int)r->scale && h->quarters == r->quarters;
}

static enum tada_status damaged(tada_error *error)
{
    return tada_fail(error, TADA_E_FILE, "The saved cells are damaged: compute their rows again.");
}

/* Whether what a header does not use is zero: the end of all, and the recipe where there is none. */
static bool unused_zero(const tada_state_header *h)
{
    unsigned used = 0;
    for (size_t i = 0; i < sizeof h->zeros; i++) {
        used |= h->zeros[i];
    }
    if (!h->head_dim) {
        used |= h->group | h->bits | h->centring | h->rotation | h->axis | h->scale | h->quarters;
    }
    return used == 0;
}

/* The header, and the checksum of all. */
static enum tada_status read_header(reader *r, tada_state_header *h, tada_error *error)
{
    const uint8_t *bytes = r->at;
    size_t size = r->left;
    uint32_t sum;
    if (!take_into(r, h, sizeof *h) || r->left < TADA_STATE_SUM || h->bytes != size ||
        memcmp(h->magic, TADA_STATE_MAGIC, sizeof h->magic) != 0) {
        return damaged(error);
    }
    tada_crc crc;
    tada_crc_init(&crc);
    memcpy(&sum, bytes + size - TADA_STATE_SUM, sizeof sum);
    if (tada_crc_add(&crc, 0, bytes, size - TADA_STATE_SUM) != sum) {
        return damaged(error);
    }
    r->left -= TADA_STATE_SUM;
    if (h->version < 1 || h->version > TADA_STATE_VERSION || h->tiles != TADA_STATE_TILES) {
        return tada_fail(error, TADA_E_UNSUPPORTED,
                         "The cells were saved by another version of TaDA: compute their rows again.");
    }
    return unused_zero(h) ? TADA_OK : damaged(error);
}

/* Whether they are the rows of n cells of the plane. */
static enum tada_status check_plane(const tada_plane *p, int64_t n, const tada_state_header *h,
                                    tada_error *error)
{
    if (!fits_plane(p, h)) {
        return tada_fail(error, TADA_E_UNSUPPORTED,
                         "The cells were saved from a plane with another recipe: compute their rows again.");
    }
    return h->rows == (uint64_t)n
               ? TADA_OK
               : tada_fail(error, TADA_E_ARGUMENT, "The rows of %llu cells were saved, not of %lld.",
                           (unsigned long long)h->rows, (long long)n);
}

/* ---- codes ---- */

/* Whether the widths of spans are some that a recipe can have. Attention uses them unchecked. */
static bool widths_possible(const tada_layout *l, const tada_recipe *recipe, const uint8_t *widths)
{
    int budget = l->head_dim / TADA_SPAN * recipe->quarters / 4;
    for (int span = 0; span < l->head_dim / TADA_SPAN; span++) {
        int width = tada_width(widths, span);
        if (width < TADA_WIDTH_MIN || width > TADA_WIDTH_MAX || width == 7) {
            return false;
        }
        budget -= width;
    }
    return budget == 0 || budget == 1;
}

static bool halves_finite(const uint8_t *bytes, size_t n)
{
    bool finite = true;
    for (size_t i = 0; i < n; i++) {
        uint16_t half;
        memcpy(&half, bytes + 2 * i, sizeof half);
        finite = finite && (half & TADA_HALF_INFINITY) != TADA_HALF_INFINITY;
    }
    return finite;
}

/* Whether numbers of 1-5-2 bits are finite. */
static bool bytes_finite(const uint8_t *bytes, size_t n)
{
    bool finite = true;
    for (size_t i = 0; i < n; i++) {
        finite = finite && (bytes[i] & 0x7c) != 0x7c;
    }
    return finite;
}

/* Scales and means that are not finite would spoil even what attends to other cells of the tile. */
static bool codes_sound(const tada_codec *c, const uint8_t *codes)
{
    const tada_layout *l = &c->layout;
    bool sound = true;
    for (int u = 0; u < l->n_units && sound; u++) {
        const uint8_t *record = codes + (size_t)u * l->record_bytes;
        sound = (c->recipe.scale != TADA_SCALE_32 || halves_finite(record, l->base_at / 2)) &&
                (c->recipe.scale != TADA_SCALE_8 || record[l->base_at] < 128) &&
                (c->recipe.centring != TADA_CENTRE_TOKENS ||
                 bytes_finite(record + l->means_at, (size_t)l->unit)) &&
                (!c->recipe.quarters || widths_possible(l, &c->recipe, record + l->widths_at));
    }
    const uint8_t *means = codes + (size_t)l->n_units * l->record_bytes;
    size_t n = l->head_means_bytes;
    return sound &&
           (c->recipe.centring == TADA_CENTRE_HEADS16 ? halves_finite(means, n / 2) : bytes_finite(means, n));
}

/* ---- pieces ---- */

static bool read_layer(const tada_plane *p, reader *r, uint64_t left, bool can_move, tada_state_layer *layer,
                       const uint8_t **codes)
{
    const tada_layout *l = &p->codec.layout;
    if (!take_into(r, layer, sizeof *layer) || !layer->cells || layer->cells & ~left || layer->fine > 1 ||
        (layer->fine && !l->fine_bits) || (layer->shift != 0 && !can_move) ||
        layer->shift < -TADA_SHIFT_FARTHEST || layer->shift > TADA_SHIFT_FARTHEST) {
        return false;
    }
    *codes = take(r, tada_state_codes(l, layer->fine));
    return *codes && codes_sound(&p->codec, *codes);
}

static bool read_rows(const tada_plane *p, reader *r, tada_piece *piece)
{
    size_t row = (size_t)p->shape.width * 2;
    int n = __builtin_popcountll(piece->exact);
    piece->rows = take(r, (size_t)n * row);
    for (int i = 0; piece->rows && i < n; i++) {
        const uint8_t *bytes = piece->rows + (size_t)i * row;
        bool zero = true;
        for (size_t j = 0; j < row && zero; j++) {
            zero = j % 2 ? (bytes[j] & 0x7f) == 0 : bytes[j] == 0;
        }
        if (zero) {
            return false; /* they are never written */
        }
    }
    return piece->rows != NULL;
}

static bool read_piece(const tada_plane *p, reader *r, bool can_move, tada_piece *piece)
{
    const tada_state_piece *h = &piece->head;
    if (!take_into(r, &piece->head, sizeof piece->head) || !h->chosen || h->mask & ~h->chosen ||
        h->sinks & ~h->mask || h->hot > 1 || h->n_layers > (p->compressed ? TADA_LAYERS : 0)) {
        return false;
    }
    uint64_t left = h->mask;
    for (uint32_t i = 0; i < h->n_layers; i++) {
        if (!read_layer(p, r, left & ~h->sinks, can_move, &piece->layers[i], &piece->codes[i])) {
            return false;
        }
        left &= ~piece->layers[i].cells;
    }
    piece->exact = h->hot ? h->mask : left;
    return (h->hot || left == h->sinks) && read_rows(p, r, piece);
}

/* ---- shifts ---- */

static bool numbers_finite(const float *x, size_t n)
{
    bool finite = true;
    for (size_t i = 0; i < n; i++) {
        finite = finite && isfinite(x[i]);
    }
    return finite;
}

/* *rope: NULL when memory is short. False: it is not one that a plane could have remembered. */
static bool read_rope(const tada_plane *p, reader *r, size_t size, tada_rope **rope)
{
    tada_state_rope s;
    float factors[TADA_ROPE_DIMS / 2];
    if (size < sizeof s || !take_into(r, &s, sizeof s) || s.n_factors > TADA_ROPE_DIMS / 2 ||
        size != sizeof s + s.n_factors * sizeof *factors ||
        (s.n_factors && !take_into(r, factors, s.n_factors * sizeof *factors))) {
        return false;
    }
    tada_rope read = {.column = s.column,
                      .n_dims = s.n_dims,
                      .n_heads = s.n_heads,
                      .head_stride = s.head_stride,
                      .pairs = (enum tada_rope_pairs)s.pairs,
                      .n_ctx_orig = s.n_ctx_orig,
                      .freq_base = s.freq_base,
                      .freq_scale = s.freq_scale,
                      .ext_factor = s.ext_factor,
                      .attn_factor = s.attn_factor,
                      .beta_fast = s.beta_fast,
                      .beta_slow = s.beta_slow,
                      .factors = s.n_factors ? factors : NULL};
    const float all[] = {s.freq_base, s.freq_scale, s.ext_factor, s.attn_factor, s.beta_fast, s.beta_slow};
    if (tada_rope_problem(&read, p->shape.width) || !numbers_finite(all, sizeof all / sizeof *all) ||
        !numbers_finite(factors, s.n_factors) || (s.n_factors && (int)s.n_factors != s.n_dims / 2) ||
        !tada_shift_fits(p, &read)) {
        return false;
    }
    /* Its angles may still be no numbers. */
    const int32_t distances[] = {1, TADA_SHIFT_FARTHEST};
    float angles[TADA_ROPE_DIMS];
    for (int i = 0; i < 2; i++) {
        tada_rope_angles(&read, distances[i], angles);
        if (!numbers_finite(angles, (size_t)read.n_dims)) {
            return false;
        }
    }
    *rope = tada_rope_copy(&read);
    return true;
}

/* ---- all of it ---- */

static bool read_pieces(const tada_plane *p, reader *r, tada_state *s)
{
    uint64_t rows = 0;
    for (uint32_t i = 0; i < s->header.pieces; i++) {
        if (!read_piece(p, r, s->rope != NULL, &s->pieces[i])) {
            return false;
        }
        s->pieces[i].at = (int64_t)rows;
        rows += (uint64_t)__builtin_popcountll(s->pieces[i].head.chosen);
    }
    return r->left == 0 && rows == s->header.rows;
}

enum tada_status tada_state_read(const tada_plane *p, int64_t n, const void *bytes, size_t size,
                                 tada_state *s, tada_error *error)
{
    reader r = {bytes, size};
    *s = (tada_state){.rope = NULL};
    enum tada_status status = read_header(&r, &s->header, error);
    status = status == TADA_OK ? check_plane(p, n, &s->header, error) : status;
    if (status != TADA_OK) {
        return status;
    }
    bool sound = s->header.pieces <= r.left / sizeof(tada_state_piece);
    if (sound && s->header.rope) {
        sound = read_rope(p, &r, s->header.rope, &s->rope);
        status = sound && !s->rope ? TADA_E_MEMORY : TADA_OK;
    }
    if (sound && status == TADA_OK) {
        s->pieces = malloc((size_t)s->header.pieces * sizeof *s->pieces + 1);
        status = s->pieces ? TADA_OK : TADA_E_MEMORY;
    }
    if (status == TADA_OK && (!sound || !read_pieces(p, &r, s))) {
        status = damaged(error);
    } else if (status != TADA_OK) {
        status = tada_fail(error, status, "Out of memory for saved cells: free some and try again.");
    }
    if (status != TADA_OK) {
        tada_state_free(s);
    }
    return status;
}

void tada_state_free(tada_state *s)
{
    free(s->rope);
    free(s->pieces);
    *s = (tada_state){.rope = NULL};
}

enum tada_status tada_state_look(const void *bytes, size_t size, tada_state_header *h, tada_error *error)
{
    enum { MANY = 1 << 20 }; /* cells of a plane, so that it is compressed if it can be */
    reader r = {bytes, size};
    enum tada_status status = read_header(&r, h, error);
    if (status != TADA_OK) {
        return status;
    }
    const tada_recipe recipe = {.bits = h->head_dim ? h->bits : 16,
                                .group = h->head_dim ? h->group : 64,
                                .centring = (enum tada_centring)h->centring,
                                .rotation = (enum tada_rotation)h->rotation,
                                .axis = (enum tada_axis)h->axis,
                                .scale = (enum tada_scale)h->scale,
                                .quarters = h->quarters};
    const tada_spec spec = {.k = recipe, .v = recipe};
    const tada_shape shape = {(enum tada_kind)h->kind, (int)h->width, MANY, 1, (int)h->head_dim};
    tada_plane plane;
    tada_state state;
    if (h->width > INT32_MAX || h->head_dim > INT32_MAX || h->rows > INT64_MAX ||
        !tada_plane_describe(&spec, &shape, &plane)) {
        return damaged(error);
    }
    status = tada_state_read(&plane, (int64_t)h->rows, bytes, size, &state, error);
    tada_state_free(&state);
    return status;
}

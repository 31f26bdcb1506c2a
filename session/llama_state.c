/*
 * What llama.cpp's writers put into a file, one after the other (src/llama-context.cpp: state_save_file,
 * state_seq_save_file; src/llama-kv-cache.cpp: state_write and what it calls). A file does not say which kind
 * of memory wrote it, so caches are taken for what they look like, and a wrong guess costs size, nothing
 * else.
 */
#include "llama_state.h"

#include <stdlib.h>
#include <string.h>

enum {
    SESSION_MAGIC = 0x6767736e,
    SEQUENCE_MAGIC = 0x67677371,
    SESSION_VERSION = 10,
    SEQUENCE_VERSION = 3,
    MOST_SEQUENCES = 256,
    MOST_LAYERS = 512,
    MOST_WIDTH = 1 << 16,
    CELL_EXTRA = 12, /* of models whose positions have several dimensions: x, y and the token of a cell */
    TYPE_F16 = 1,    /* of ggml */
};

typedef struct scan {
    source_file *source;
    uint64_t at;
    llama_plane *planes;
    size_t n, capacity;
    uint32_t n_streams; /* with cells, so far */
    tada_error *error;
    enum tada_status status; /* of reading and memory; not that the file goes on otherwise */
} scan;

/* ---- pieces; false: this is something else, or status tells more ---- */

static bool scan_value(scan *s, void *value, size_t n)
{
    if (s->status != TADA_OK || n > s->source->size - s->at) {
        return false;
    }
    s->status = source_read(s->source, s->at, value, n, s->error);
    s->at += n;
    return s->status == TADA_OK;
}

static bool scan_skip(scan *s, uint64_t n)
{
    bool there = n <= s->source->size - s->at;
    s->at += there ? n : 0;
    return there;
}

static bool scan_number(scan *s, uint32_t least, uint32_t most, uint32_t *value)
{
    return scan_value(s, value, sizeof *value) && *value >= least && *value <= most;
}

static bool add_saved_plane(scan *s, uint32_t rows, uint32_t width, bool is_v)
{
    if (s->n == s->capacity) {
        size_t capacity = s->capacity ? 2 * s->capacity : 64;
        llama_plane *planes = realloc(s->planes, capacity * sizeof *planes);
        if (!planes) {
            s->status =
                tada_fail(s->error, TADA_E_MEMORY, "Out of memory for the parts of %.150s.", s->source->path);
            return false;
        }
        s->planes = planes;
        s->capacity = capacity;
    }
    s->planes[s->n++] = (llama_plane){s->at, rows, width, is_v, s->n_streams};
    return true;
}

/* ---- a cache ---- */

static bool scan_cells(scan *s, uint32_t n_cells, uint64_t extra)
{
    for (uint32_t i = 0; i < n_cells; i++) {
        int32_t position;
        uint32_t n_sequences;
        if (!scan_value(s, &position, sizeof position) || position < 0 ||
            !scan_number(s, 0, MOST_SEQUENCES, &n_sequences) ||
            !scan_skip(s, extra + 4 * (uint64_t)n_sequences)) {
            return false;
        }
    }
    return true;
}

/* One layer's rows. */
static bool scan_rows(scan *s, uint32_t n_cells, bool is_v)
{
    uint32_t type;
    uint64_t row_bytes;
    if (!scan_number(s, 0, 255, &type) || !scan_value(s, &row_bytes, sizeof row_bytes) || row_bytes == 0 ||
        row_bytes > (s->source->size - s->at) / n_cells) {
        return false;
    }
    bool packable = type == TYPE_F16 && row_bytes % 32 == 0 && row_bytes / 2 <= MOST_WIDTH;
    if (packable && !add_saved_plane(s, n_cells, (uint32_t)(row_bytes / 2), is_v)) {
        return false;
    }
    return scan_skip(s, row_bytes * n_cells);
}

/* One layer's V where it is stored by channel, without flash attention: no rows. */
static bool scan_transposed(scan *s, uint32_t n_cells)
{
    uint32_t type, value_bytes, width;
    return scan_number(s, 0, 255, &type) && scan_number(s, 1, 8, &value_bytes) &&
           scan_number(s, 1, 1 << 24, &width) && scan_skip(s, (uint64_t)value_bytes * width * n_cells);
}

static bool scan_stream(scan *s, uint32_t n_cells, uint64_t extra)
{
    uint32_t transposed, n_layers;
    if (!scan_cells(s, n_cells, extra) || !scan_number(s, 0, 1, &transposed) ||
        !scan_number(s, 1, MOST_LAYERS, &n_layers)) {
        return false;
    }
    for (uint32_t i = 0; i < n_layers; i++) {
        if (!scan_rows(s, n_cells, false)) {
            return false;
        }
    }
    /* All layers have V, or none has (multi-head latent attention). */
    uint64_t at = s->at;
    size_t n = s->n;
    for (uint32_t i = 0; i < n_layers; i++) {
        if (!(transposed ? scan_transposed(s, n_cells) : scan_rows(s, n_cells, true))) {
            s->at = at;
            s->n = n;
            break;
        }
    }
    return s->status == TADA_OK;
}

/* One cache; what else there is in the file is left as it was. */
static bool scan_cache(scan *s, uint64_t extra)
{
    uint64_t at = s->at;
    size_t n = s->n;
    uint32_t n_streams, n_cells, before = s->n_streams;
    bool good = scan_number(s, 1, MOST_SEQUENCES, &n_streams);
    for (uint32_t i = 0; good && i < n_streams; i++) {
        good = scan_number(s, 0, INT32_MAX, &n_cells);
        if (good && n_cells > 0) {
            good = scan_stream(s, n_cells, extra);
            s->n_streams++;
        }
    }
    if (!good) {
        s->at = at;
        s->n = n;
        s->n_streams = before;
    }
    return good;
}

bool llama_state_begin(const uint8_t bytes[LLAMA_STATE_BEGINNING], bool *is_context, uint32_t *tokens)
{
    uint32_t head[3];
    memcpy(head, bytes, sizeof head);
    *is_context = head[0] == SESSION_MAGIC;
    *tokens = head[2];
    return *is_context ? head[1] == SESSION_VERSION
                       : head[0] == SEQUENCE_MAGIC && head[1] == SEQUENCE_VERSION;
}

enum tada_status llama_state_scan(source_file *source, llama_plane **planes, size_t *n, tada_error *error)
{
    scan s = {.source = source, .error = error};
    uint32_t magic = 0, version = 0, n_tokens, length;
    *planes = NULL;
    *n = 0;
    if (!scan_value(&s, &magic, sizeof magic) || (magic != SESSION_MAGIC && magic != SEQUENCE_MAGIC)) {
        return s.status != TADA_OK
                   ? s.status
                   : tada_fail(error, TADA_E_FILE,
                               "%.150s is not a file that llama.cpp saved a sequence or a session in.",
                               source->path);
    }
    bool is_session = magic == SESSION_MAGIC;
    if (scan_value(&s, &version, sizeof version) &&
        version == (is_session ? SESSION_VERSION : SEQUENCE_VERSION) &&
        scan_value(&s, &n_tokens, sizeof n_tokens) && scan_skip(&s, 4 * (uint64_t)n_tokens) &&
        (!is_session || (scan_number(&s, 0, 256, &length) && scan_skip(&s, length)))) {
        /* Models may have several caches, such as one for sliding windows. */
        while (s.at < source->size && (scan_cache(&s, 0) || scan_cache(&s, CELL_EXTRA))) {
        }
    }
    if (s.status != TADA_OK) {
        free(s.planes);
        return s.status;
    }
    *planes = s.planes;
    *n = s.n;
    return TADA_OK;
}

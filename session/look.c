/* What is in a file: a packed session is unpacked to nowhere, the parts of a prompt's state are read one by
 * one. */
#include "format.h"
#include "llama_state.h"
#include "plane/state.h"
#include "state_file.h"

#include <stdlib.h>
#include <string.h>

static enum tada_status look_into_session(source_file *source, const session_watch *watch,
                                          session_facts *facts, tada_error *error)
{
    session_sizes sizes;
    session_unpacked unpacked;
    bool is_context;
    uint32_t tokens;
    enum tada_status status = session_unpack_to(source, -1, source->path, watch, &sizes, &unpacked, error);
    if (status != TADA_OK) {
        return status;
    }
    if (!llama_state_begin(unpacked.first, &is_context, &tokens)) {
        tokens = 0; /* of another version of llama.cpp: kept as bytes */
    }
    *facts = (session_facts){.kind = is_context ? SESSION_CONTEXT : SESSION_SLOT,
                             .version = unpacked.version,
                             .packed = sizes.packed,
                             .plain = sizes.plain,
                             .tokens = tokens,
                             .cells = sizes.planes ? sizes.rows / sizes.planes : 0,
                             .planes = sizes.planes,
                             .rows = sizes.rows,
                             .raw_rows = sizes.raw_rows};
    return TADA_OK;
}

/* ---- prompts ---- */

static enum tada_status fail_damaged(const source_file *source, tada_error *error)
{
    return tada_fail(error, TADA_E_FILE,
                     "%.150s is damaged or cut off: delete it, and the prompt is computed again.",
                     source->path);
}

static double bits_of(const tada_state_header *cells)
{
    return !cells->head_dim ? 16 : cells->quarters ? cells->quarters / 4.0 : cells->bits;
}

/* What is known of all planes of a kind. */
typedef struct plane_sums {
    uint64_t n[2];
    double bits[2];
} plane_sums;

static bool add_cells(const uint8_t *bytes, size_t n, session_facts *facts, plane_sums *sums)
{
    tada_state_header cells;
    if (tada_state_look(bytes, n, &cells, NULL) != TADA_OK) {
        return false;
    }
    facts->planes++;
    facts->cells = cells.rows > facts->cells ? cells.rows : facts->cells;
    sums->n[cells.kind]++;
    sums->bits[cells.kind] += bits_of(&cells);
    return true;
}

static bool add_label(const uint8_t *bytes, size_t n, session_facts *facts)
{
    facts->tokens = prompt_label_tokens(n);
    if (facts->tokens > 0) {
        facts->kind = SESSION_PROMPT;
        memcpy(&facts->key, bytes, sizeof facts->key);
    }
    return facts->tokens > 0;
}

static enum tada_status look_into_state(const source_file *source, const uint8_t *bytes, session_facts *facts,
                                        tada_error *error)
{
    state_reader r;
    state_part part;
    const uint8_t *at;
    plane_sums sums = {{0}, {0}};
    size_t size = (size_t)source->size;
    bool good = state_begin(&r, bytes, size);
    if (!good && r.head.version != STATE_VERSION) {
        return tada_fail(error, TADA_E_UNSUPPORTED,
                         "%.150s is a stored prompt of version %u: delete it, or use a tada that knows it.",
                         source->path, r.head.version);
    }
    *facts = (session_facts){
        .kind = SESSION_STATE, .version = r.head.version, .packed = size, .plain = r.head.plain};
    while (good && state_next(&r, &part, &at)) {
        good = part.kind == STATE_LABEL  ? add_label(at, (size_t)part.bytes, facts)
               : part.kind == STATE_ROWS ? add_cells(at, (size_t)part.bytes, facts, &sums)
                                         : true;
    }
    if (!good || !state_ended(&r)) {
        return fail_damaged(source, error);
    }
    facts->k_bits = sums.n[TADA_K] ? sums.bits[TADA_K] / (double)sums.n[TADA_K] : 0;
    facts->v_bits = sums.n[TADA_V] ? sums.bits[TADA_V] / (double)sums.n[TADA_V] : 0;
    return TADA_OK;
}

enum tada_status session_look(const char *path, const session_watch *watch, session_facts *facts,
                              tada_error *error)
{
    source_file source;
    uint8_t beginning[sizeof(state_head)];
    enum tada_status status = source_open(path, &source, error);
    if (status != TADA_OK) {
        return status;
    }
    if (source.size < sizeof beginning) {
        status = tada_fail(error, TADA_E_FILE,
                           "%.150s is no packed session and no stored prompt: it is too short.", source.path);
    }
    status = status == TADA_OK ? source_read(&source, 0, beginning, sizeof beginning, error) : status;
    if (status == TADA_OK && state_is_packed(beginning, sizeof beginning)) {
        const uint8_t *bytes;
        status = source_peek(&source, (size_t)source.size, &bytes, error);
        status = status == TADA_OK ? look_into_state(&source, bytes, facts, error) : status;
    } else if (status == TADA_OK && memcmp(beginning, PACKED_MAGIC, 8) != 0) {
        status =
            tada_fail(error, TADA_E_FILE, "%.150s is no packed session and no stored prompt.", source.path);
    } else if (status == TADA_OK) {
        status = look_into_session(&source, watch, facts, error);
    }
    source_close(&source);
    return status;
}

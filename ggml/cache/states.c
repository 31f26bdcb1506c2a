#include "states.h"

#include "base/log.h"
#include "base/pages.h"
#include "base/threads.h"
#include "state_file.h"

#include <stdlib.h>
#include <string.h>

/* Rows that the host got or set. */
typedef struct noted {
    cache_plane *cache;
    size_t offset, size; /* in the plane's tensor */
    size_t at;           /* in the host's state */
} noted;

/* A part while it is saved or restored. */
typedef struct work_part {
    state_part part;
    size_t at;            /* in the host's state */
    int first, n;         /* of what was noted; n = 0: plain bytes */
    uint8_t *to;          /* where it is to be in a packed state; */
    const uint8_t *bytes; /* or where it is */
    bool done;
} work_part;

/* A state on its way: where the host reads or writes it, and what of its rows. */
typedef struct passage {
    uint8_t *memory; /* address space, of which pages are touched for plain bytes alone */
    size_t size;
    const uint8_t *label; /* when it is saved; NULL: it has none */
    bool sets, failed;
    noted *notes;
    int n_notes, room;
    work_part *parts;
    int n_parts, parts_room;
    int64_t *cells; /* of one part, when it is saved */
    int64_t cells_room;
    _Atomic int next;
} passage;

static _Thread_local passage *now; /* that the calling thread works on */
/* Memory that was needed to tell the size of a state: saving it takes as much, and cannot fail for want of
 * it. A host that was told a size may end where it does not get as many bytes. */
static _Thread_local passage spare;

static size_t row_bytes(const cache_plane *c)
{
    return (size_t)c->width * 2;
}

/* ---- what the host does ---- */

/* Of a state that is restored, whether bytes stand for rows. */
static bool are_rows(const passage *p, size_t at)
{
    int low = 0, high = p->n_parts;
    while (high - low > 1) {
        int middle = (low + high) / 2;
        if (p->parts[middle].at <= at) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return p->n_parts > 0 && p->parts[low].part.kind == STATE_ROWS;
}

static bool is_ours(const passage *p, const void *memory, size_t size, size_t *at)
{
    const uint8_t *from = memory;
    if (!p || size == 0 || from < p->memory || from >= p->memory + p->size ||
        size > p->size - (size_t)(from - p->memory)) {
        return false;
    }
    *at = (size_t)(from - p->memory);
    return true;
}

bool states_note(cache_plane *c, size_t offset, const void *memory, size_t size)
{
    passage *p = now;
    size_t at;
    if (!is_ours(p, memory, size, &at) || (p->sets && !are_rows(p, at))) {
        return false;
    }
    if (offset % row_bytes(c) != 0 || size % row_bytes(c) != 0) {
        p->failed = p->failed || p->sets;
        return p->sets;
    }
    if (p->n_notes == p->room) {
        int room = p->room ? 2 * p->room : 256;
        noted *grown = realloc(p->notes, (size_t)room * sizeof *grown);
        if (!grown) {
            p->failed = true;
            return true; /* the host's state is not used then */
        }
        p->notes = grown;
        p->room = room;
    }
    p->notes[p->n_notes++] = (noted){c, offset, size, at};
    return true;
}

bool states_has(const void *memory, size_t size)
{
    passage *p = now;
    size_t at;
    if (is_ours(p, memory, size, &at) && p->sets && are_rows(p, at)) {
        p->failed = true;
        return false;
    }
    return true;
}

static bool passage_make(passage *p, size_t size)
{
    *p = spare;
    spare = (passage){.size = 0};
    if (p->memory && p->size != size) {
        pages_free(p->memory, p->size);
        p->memory = NULL;
    }
    p->size = size;
    p->memory = p->memory || size == 0 ? p->memory : pages_reserve(size);
    return p->memory != NULL;
}

static void passage_keep(passage *p)
{
    (void)pages_drop(p->memory, p->size);
    spare = (passage){.memory = p->memory,
                      .size = p->size,
                      .notes = p->notes,
                      .room = p->room,
                      .parts = p->parts,
                      .parts_room = p->parts_room,
                      .cells = p->cells,
                      .cells_room = p->cells_room};
}

static void passage_done(passage *p)
{
    if (p->memory) {
        pages_free(p->memory, p->size);
    }
    free(p->notes);
    free(p->parts);
    free(p->cells);
}

/* ---- parts ---- */

static bool add_part(passage *p, const work_part *part)
{
    if (p->n_parts == p->parts_room) {
        int room = p->parts_room ? 2 * p->parts_room : 64;
        work_part *grown = realloc(p->parts, (size_t)room * sizeof *grown);
        if (!grown) {
            return false;
        }
        p->parts = grown;
        p->parts_room = room;
    }
    p->parts[p->n_parts++] = *part;
    return true;
}

static int64_t count_cells(const passage *p, const work_part *part)
{
    int64_t n = 0;
    for (int i = part->first; i < part->first + part->n; i++) {
        n += (int64_t)(p->notes[i].size / row_bytes(p->notes[i].cache));
    }
    return n;
}

/* The cells of what was noted. */
static void list_cells(const passage *p, const work_part *part, int64_t *to)
{
    for (int i = part->first; i < part->first + part->n; i++) {
        int64_t first = (int64_t)(p->notes[i].offset / row_bytes(p->notes[i].cache));
        int64_t many = (int64_t)(p->notes[i].size / row_bytes(p->notes[i].cache));
        for (int64_t j = 0; j < many; j++) {
            *to++ = first + j;
        }
    }
}

/* The same, to be freed. NULL: memory is short. */
static int64_t *cells_of(const passage *p, const work_part *part, int64_t *n)
{
    *n = count_cells(p, part);
    int64_t *cells = malloc((size_t)*n * sizeof *cells + 1);
    if (cells) {
        list_cells(p, part, cells);
    }
    return cells;
}

/* The same in `cells` of the passage. False: memory is short. */
static bool take_cells(passage *p, const work_part *part, int64_t *n)
{
    *n = count_cells(p, part);
    if (*n > p->cells_room) {
        int64_t *grown = realloc(p->cells, (size_t)*n * sizeof *grown);
        if (!grown) {
            return false;
        }
        p->cells = grown;
        p->cells_room = *n;
    }
    list_cells(p, part, p->cells);
    return true;
}

/* Runs of notes of one plane, one behind the other in the host's state, and what is between them. */
static bool find_parts(passage *p)
{
    size_t at = 0;
    for (int i = 0; i < p->n_notes;) {
        work_part rows = {.part = {.kind = STATE_ROWS}, .at = p->notes[i].at, .first = i};
        size_t end = rows.at;
        if (rows.at < at) {
            return false; /* not from front to back */
        }
        if (rows.at > at && !add_part(p, &(work_part){{STATE_PLAIN, rows.at - at, rows.at - at}, .at = at})) {
            return false;
        }
        while (i < p->n_notes && p->notes[i].cache == p->notes[rows.first].cache && p->notes[i].at == end) {
            end += p->notes[i++].size;
        }
        rows.n = i - rows.first;
        rows.part.plain = end - rows.at;
        at = end;
        if (!add_part(p, &rows)) {
            return false;
        }
    }
    return at == p->size || add_part(p, &(work_part){{STATE_PLAIN, p->size - at, p->size - at}, .at = at});
}

/* Calls work for each part, side by side where no plane has two. */
static void each_part(passage *p, tada_work work)
{
    bool apart = true;
    for (int i = 0; i < p->n_parts && apart; i++) {
        for (int j = 0; j < i && apart; j++) {
            apart = p->parts[i].n == 0 || p->parts[j].n == 0 ||
                    p->notes[p->parts[i].first].cache != p->notes[p->parts[j].first].cache;
        }
    }
    tada_threads threads = threads_lend();
    p->next = 0;
    if (apart) {
        threads.run(threads.pool, work, p);
    } else {
        work(p, 0, 1);
    }
}

static work_part *next_part(passage *p)
{
    int i = p->next++;
    return i < p->n_parts ? &p->parts[i] : NULL;
}

/* CRC-32 of reference/session.md, of the parts' heads, the label and plain bytes. */
static uint32_t sum_of(const passage *p)
{
    tada_crc crc;
    uint32_t sum = 0;
    tada_crc_init(&crc);
    for (int i = 0; i < p->n_parts; i++) {
        const work_part *w = &p->parts[i];
        sum = tada_crc_add(&crc, sum, &w->part, sizeof w->part);
        if (w->part.kind != STATE_ROWS) {
            sum = tada_crc_add(&crc, sum, w->bytes, (size_t)w->part.bytes);
        }
    }
    return sum;
}

/* ---- saving ---- */

/* Lets the host save its state, and measures the parts of the packed one. 0: it cannot be had, or there are
 * no rows of planes, or it would be no smaller. */
static size_t collect(passage *p, tada_host_get get, void *host, size_t plain, size_t label_bytes)
{
    size_t bytes = sizeof(state_head);
    if (!cache_any() || now || !passage_make(p, plain) ||
        (label_bytes > 0 && !add_part(p, &(work_part){.part = {STATE_LABEL, 0, label_bytes}}))) {
        return 0;
    }
    now = p;
    size_t got = get(host, p->memory, plain);
    now = NULL;
    if (got != plain || p->failed || p->n_notes == 0 || !find_parts(p)) {
        return 0;
    }
    for (int i = 0; i < p->n_parts; i++) {
        work_part *w = &p->parts[i];
        if (w->n > 0) {
            int64_t n;
            bool listed = take_cells(p, w, &n);
            w->part.bytes = listed ? tada_plane_state_bytes(p->notes[w->first].cache->plane, p->cells, n) : 0;
            if (w->part.bytes == 0) {
                return 0;
            }
        }
        bytes += sizeof w->part + w->part.bytes;
    }
    return bytes < plain ? bytes : 0;
}

size_t states_bytes(tada_host_get get, void *host, size_t plain, size_t label_bytes)
{
    passage p = {.size = 0};
    size_t bytes = collect(&p, get, host, plain, label_bytes);
    if (bytes > 0) {
        passage_keep(&p);
    } else {
        passage_done(&p);
    }
    return bytes;
}

static bool save_cells(const passage *p, const work_part *w, const int64_t *cells, int64_t n)
{
    return tada_plane_export(p->notes[w->first].cache->plane, cells, n, w->to, (size_t)w->part.bytes, NULL) ==
           TADA_OK;
}

static void save_parts(void *context, int thread, int n_threads)
{
    passage *p = context;
    (void)thread;
    (void)n_threads;
    for (work_part *w; (w = next_part(p));) {
        w->done = w->n == 0;
        if (w->done) {
            memcpy(w->to, w->part.kind == STATE_LABEL ? p->label : p->memory + w->at, (size_t)w->part.bytes);
        } else {
            int64_t n, *cells = cells_of(p, w, &n);
            w->done = cells && save_cells(p, w, cells, n);
            free(cells);
        }
    }
}

size_t states_save(tada_host_get get, void *host, size_t plain, const void *label, size_t label_bytes,
                   void *to, size_t size)
{
    passage p = {.size = 0};
    size_t bytes = collect(&p, get, host, plain, label_bytes);
    p.label = label;
    bool done = bytes > 0 && size >= bytes;
    uint8_t *at = (uint8_t *)to + sizeof(state_head);
    for (int i = 0; i < p.n_parts && done; i++) {
        memcpy(at, &p.parts[i].part, sizeof p.parts[i].part);
        p.parts[i].to = at + sizeof p.parts[i].part;
        p.parts[i].bytes = p.parts[i].to;
        at += sizeof p.parts[i].part + p.parts[i].part.bytes;
    }
    if (done) {
        each_part(&p, save_parts);
        for (int i = 0; i < p.n_parts; i++) {
            const work_part *w = &p.parts[i];
            int64_t n;
            done = done && (w->done || (take_cells(&p, w, &n) && save_cells(&p, w, p.cells, n)));
        }
        state_head head = {STATE_MAGIC, STATE_VERSION, (uint32_t)p.n_parts, bytes, plain, sum_of(&p), 0};
        memcpy(to, &head, sizeof head);
    }
    passage_done(&p);
    return done ? bytes : 0;
}

/* ---- restoring ---- */

/* The parts. False: damaged, or memory is short. */
static bool find_saved_parts(passage *p, const uint8_t *from, size_t size)
{
    state_reader r;
    work_part w = {.at = 0};
    bool good = state_begin(&r, from, size);
    p->size = (size_t)r.head.plain;
    while (good && state_next(&r, &w.part, &w.bytes)) {
        good = add_part(p, &w);
        w.at = (size_t)r.passed;
    }
    return good && state_ended(&r);
}

/* The parts, and the plain bytes at their places. False: damaged, or memory is short. */
static bool read_parts(passage *p, const uint8_t *from, size_t size)
{
    if (!find_saved_parts(p, from, size)) {
        return false;
    }
    p->memory = pages_reserve(p->size);
    for (int i = 0; p->memory && i < p->n_parts; i++) {
        if (p->parts[i].part.kind == STATE_PLAIN) {
            memcpy(p->memory + p->parts[i].at, p->parts[i].bytes, (size_t)p->parts[i].part.bytes);
        }
    }
    return p->memory != NULL;
}

/* Which rows that the host has set are those of each part. */
static bool match_parts(passage *p)
{
    int at = 0;
    for (int i = 0; i < p->n_parts; i++) {
        work_part *w = &p->parts[i];
        size_t end = w->at;
        if (w->part.kind != STATE_ROWS) {
            continue;
        }
        w->first = at;
        while (at < p->n_notes && p->notes[at].at == end && end < w->at + w->part.plain &&
               p->notes[at].cache == p->notes[w->first].cache) {
            end += p->notes[at++].size;
        }
        w->n = at - w->first;
        if (end != w->at + w->part.plain) {
            return false;
        }
    }
    return at == p->n_notes;
}

static void restore_parts(void *context, int thread, int n_threads)
{
    passage *p = context;
    (void)thread;
    (void)n_threads;
    for (work_part *w; (w = next_part(p));) {
        cache_plane *c = w->n ? p->notes[w->first].cache : NULL;
        tada_error error = {"memory is short"};
        if (!c) {
            w->done = true;
            continue;
        }
        int64_t n, *cells = cells_of(p, w, &n);
        w->done = cells && tada_plane_settle(c->plane, NULL, &error) == TADA_OK &&
                  tada_plane_import(c->plane, c->buffer->pool, cells, n, w->bytes, (size_t)w->part.bytes,
                                    &error) == TADA_OK &&
                  tada_plane_settle(c->plane, NULL, &error) == TADA_OK;
        if (w->done) {
            lost_remove(&c->lost, cells, n);
        } else {
            log_line(GGML_LOG_LEVEL_ERROR, "a saved prompt is not restored: %s", error.text);
        }
        free(cells);
    }
}

/* Cells that the host believes to hold rows. */
static void lose(const passage *p)
{
    for (int i = 0; i < p->n_notes; i++) {
        const noted *n = &p->notes[i];
        lost_add(&n->cache->lost, (int64_t)(n->offset / row_bytes(n->cache)),
                 (int64_t)(n->size / row_bytes(n->cache)));
    }
}

bool states_restore(tada_host_set set, void *host, const void *from, size_t size)
{
    passage p = {.size = 0};
    bool done = !now && read_parts(&p, from, size);
    if (!done) {
        log_line(GGML_LOG_LEVEL_ERROR, "a saved prompt is damaged: it is computed again");
    } else {
        p.sets = true;
        now = &p;
        done = set(host, p.memory, p.size) == p.size;
        now = NULL;
        done = done && !p.failed && match_parts(&p);
        if (done) {
            each_part(&p, restore_parts);
        }
        for (int i = 0; i < p.n_notes; i++) {
            cache_touch(p.notes[i].cache->buffer);
        }
        for (int i = 0; i < p.n_parts && done; i++) {
            done = p.parts[i].done;
        }
        if (!done) {
            lose(&p);
        }
    }
    passage_done(&p);
    return done;
}

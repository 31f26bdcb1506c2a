/* Packing: the planes of a file become runs of rows, and everything else is copied. */
#include "nameless.h"
#include "format.h"
#include "llama_state.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { CELLS = TADA_TILE_CELLS, FEW_ROWS = 16, UNKNOWN = 255 };

/* The runs of the axis channel that earlier planes of a stream have shown. All layers have the same cells,
 * and so the same runs. */
typedef struct run_cuts {
    uint32_t stream;
    uint8_t *length; /* of each row: rows of the run that begins with it; 0: the row is copied; or UNKNOWN */
} run_cuts;

/* One file being packed. */
typedef struct packing {
    source_file *source;
    target_file *target;
    const session_watch *watch;
    session_sizes *sizes;
    tada_error *error;
    thread_team *team;
} packing;

/* What became of up to 64 rows of a batch. */
typedef struct run {
    size_t first;   /* row of the batch */
    int n;          /* how many rows */
    uint64_t fits;  /* bit i: row i lies on a grid, and is coded */
    size_t size;    /* bytes of its coded runs, with their heads */
    uint8_t *bytes; /* these runs */
} run;

/* One plane being packed. */
typedef struct plane {
    const llama_plane *saved;
    grid_shape grid;
    uint64_t raw_from; /* rows [raw_from, row) are still to be written, as they are */
    uint64_t row;      /* the next row */
    const thread_team *team;
    size_t scratch_floats, run_bytes; /* of a thread; of a run at most */
    float *scratch;                   /* [threads][scratch_floats] */
    uint16_t *rows;                   /* the f16 rows of a batch */
    uint8_t *bytes;                   /* [PACKED_BATCH_RUNS][run_bytes], what `runs` point into */
    int n_runs;
    run runs[PACKED_BATCH_RUNS];
    run_cuts *cuts;
} plane;

static enum tada_status pack_bytes(packing *p, uint64_t at, uint64_t n)
{
    enum { CHUNK = 1 << 16 };
    uint8_t chunk[CHUNK];
    enum tada_status status = TADA_OK;
    while (n > 0 && status == TADA_OK) {
        size_t part = n < CHUNK ? (size_t)n : CHUNK;
        status = source_read(p->source, at, chunk, part, p->error);
        status = status == TADA_OK ? target_put(p->target, chunk, part, p->error) : status;
        at += part;
        n -= part;
        if (status == TADA_OK) {
            status = session_step(p->watch, at, p->source->size, p->error);
        }
    }
    return status;
}

/* A record of bytes of the file, as they are. */
static enum tada_status put_bytes_record(packing *p, uint64_t at, uint64_t n)
{
    uint8_t head[PACKED_BYTES_HEAD] = {PACKED_BYTES};
    if (n == 0) {
        return TADA_OK;
    }
    memcpy(head + 1, &n, sizeof n);
    enum tada_status status = target_put(p->target, head, sizeof head, p->error);
    return status == TADA_OK ? pack_bytes(p, at, n) : status;
}

/* ---- planes ---- */

static size_t row_bytes(const plane *pl)
{
    return 2 * (size_t)pl->grid.width;
}

/* Writes the rows that wait, as they are. */
static enum tada_status put_raw(packing *p, plane *pl)
{
    uint32_t n = (uint32_t)(pl->row - pl->raw_from);
    uint8_t head[PACKED_RAW_HEAD] = {PACKED_RAW};
    if (n == 0) {
        return TADA_OK;
    }
    memcpy(head + 1, &n, sizeof n);
    enum tada_status status = target_put(p->target, head, sizeof head, p->error);
    if (status == TADA_OK) {
        status = pack_bytes(p, pl->saved->at + pl->raw_from * row_bytes(pl), n * row_bytes(pl));
    }
    pl->raw_from = pl->row;
    p->sizes->raw_rows += n;
    return status;
}

/* The coded runs of up to 64 rows: those that lie on a grid, and nothing of the others. */
static void make_run(const plane *pl, float *scratch, run *r)
{
    r->fits = grid_fit(&pl->grid, pl->rows + r->first * (size_t)pl->grid.width, r->n, scratch);
    r->size = 0;
    for (int first = 0; first < r->n;) {
        int count = 0;
        while (first + count < r->n && r->fits >> (first + count) & 1) {
            count++;
        }
        if (count > 0) {
            uint8_t *to = r->bytes + r->size;
            to[0] = PACKED_CODED;
            to[1] = (uint8_t)count;
            r->size += PACKED_CODED_HEAD;
            r->size += grid_put(&pl->grid, first, count, scratch, to + PACKED_CODED_HEAD);
        }
        first += count + 1;
    }
}

static void make_one(void *context, int thread, int64_t i)
{
    plane *pl = context;
    make_run(pl, pl->scratch + pl->scratch_floats * (size_t)thread, &pl->runs[i]);
}

/* Makes the runs of a batch, whose rows are in memory. */
static void make_runs(plane *pl)
{
    team_each(pl->team, pl->n_runs, make_one, pl);
}

/* Writes what make_run has made of the next rows. */
static enum tada_status put_run(packing *p, plane *pl, const run *r)
{
    enum tada_status status = TADA_OK;
    const uint8_t *from = r->bytes;
    uint64_t end = pl->row + (uint64_t)r->n;
    while (pl->row < end && status == TADA_OK) {
        if (!(r->fits >> (r->n - (int)(end - pl->row)) & 1)) {
            pl->row++;
            continue;
        }
        size_t size = PACKED_CODED_HEAD + grid_run_bytes(&pl->grid, from[1], from + PACKED_CODED_HEAD);
        status = put_raw(p, pl);
        status = status == TADA_OK ? target_put(p->target, from, size, p->error) : status;
        pl->row += from[1];
        pl->raw_from = pl->row;
        from += size;
    }
    return status;
}

static size_t rows_left(const plane *pl, size_t most)
{
    uint64_t left = pl->saved->rows - pl->row;
    return most < left ? most : (size_t)left;
}

static enum tada_status read_rows(const packing *p, const plane *pl, size_t n)
{
    return source_read(p->source, pl->saved->at + pl->row * row_bytes(pl), pl->rows, n * row_bytes(pl),
                       p->error);
}

/* Axis token: each row has scales of its own, so that a run may begin anywhere. */
static enum tada_status pack_tokens(packing *p, plane *pl)
{
    enum tada_status status = TADA_OK;
    size_t most = (size_t)packed_batch(&pl->grid) * CELLS;
    while (pl->row < pl->saved->rows && status == TADA_OK) {
        size_t n = rows_left(pl, most);
        status = read_rows(p, pl, n);
        pl->n_runs = 0;
        for (size_t first = 0; first < n && status == TADA_OK; first += CELLS) {
            run *r = &pl->runs[pl->n_runs++];
            r->first = first;
            r->n = n - first < CELLS ? (int)(n - first) : CELLS;
        }
        make_runs(pl);
        for (int i = 0; i < pl->n_runs && status == TADA_OK; i++) {
            status = put_run(p, pl, &pl->runs[i]);
        }
    }
    return status;
}

/* ---- axis channel ---- */

/* Plans up to `most` runs of the next n rows: as earlier planes had them, else of 64 rows. */
static void plan_runs(plane *pl, size_t n, int most)
{
    size_t first = 0;
    for (pl->n_runs = 0; pl->n_runs < most && first < n; pl->n_runs++) {
        int length = pl->cuts->length[pl->row + first];
        length = length == UNKNOWN ? CELLS : length;
        if (length == 0) {
            break;
        }
        run *r = &pl->runs[pl->n_runs];
        r->first = first;
        r->n = n - first < (size_t)length ? (int)(n - first) : length;
        first += (size_t)r->n;
    }
}

/* What the search for runs has learnt on its way through a plane. */
typedef struct run_search {
    int batch;    /* runs that are tried at once */
    int without;  /* rows since the last run */
    double usual; /* bytes of a row in the run that was searched for last */
} run_search;

/* Whether a planned run is good: earlier planes had it, or it is about as small as the last one that a
 * search found. */
static bool is_good(const plane *pl, const run *r, double usual)
{
    return r->fits && (pl->cuts->length[pl->row] == r->n || (double)r->size <= 1.2 * usual * r->n);
}

/* Writes the planned runs up to the first one that is not good. *done: how many they were. */
static enum tada_status put_good_runs(packing *p, plane *pl, run_search *s, int *done)
{
    enum tada_status status = TADA_OK;
    for (*done = 0; *done < pl->n_runs && is_good(pl, &pl->runs[*done], s->usual) && status == TADA_OK;
         ++*done) {
        pl->cuts->length[pl->row] = (uint8_t)pl->runs[*done].n;
        status = put_run(p, pl, &pl->runs[*done]);
        s->without = 0;
    }
    return status;
}

/* Leaves rows as they are: one, or more the longer no run was found. */
static void skip_rows(plane *pl, run_search *s, size_t n)
{
    size_t skip = s->without < FEW_ROWS ? 1 : (size_t)(s->without - FEW_ROWS + 2);
    skip = skip < CELLS ? skip : CELLS;
    pl->row += skip < n ? skip : n;
    s->without += (int)skip;
}

/* Searches for the run that begins with row `first` of the batch, of which n are left, and writes it. Without
 * one, rows are skipped. */
static enum tada_status search_run(packing *p, plane *pl, run_search *s, size_t first, size_t n)
{
    size_t size;
    run *r = &pl->runs[0];
    *r = (run){.first = first, .bytes = r->bytes};
    r->n = grid_cut(&pl->grid, pl->rows + first * (size_t)pl->grid.width, (int)n, pl->scratch, &size);
    pl->cuts->length[pl->row] = (uint8_t)r->n;
    if (r->n == 0) {
        skip_rows(pl, s, n);
        return TADA_OK;
    }
    make_run(pl, pl->scratch, r);
    s->usual = (double)r->size / r->n;
    s->without = 0;
    return put_run(p, pl, r);
}

/*
 * Runs end where tiles do. Batches of runs are tried as they are expected, twice as many each time that all
 * of them were good. Where one is not, the run is searched for.
 */
static enum tada_status pack_channels(packing *p, plane *pl)
{
    run_search s = {.batch = 1};
    enum tada_status status = TADA_OK;
    int most = packed_batch(&pl->grid), done;
    while (pl->row < pl->saved->rows && status == TADA_OK) {
        size_t n = rows_left(pl, (size_t)s.batch * CELLS);
        uint64_t start = pl->row;
        status = read_rows(p, pl, n);
        if (status != TADA_OK) {
            break;
        }
        plan_runs(pl, n, s.batch);
        make_runs(pl);
        status = put_good_runs(p, pl, &s, &done);
        size_t first = (size_t)(pl->row - start);
        bool all = done > 0 && done == pl->n_runs;
        s.batch = !all ? 1 : 2 * s.batch < most ? 2 * s.batch : most;
        if (first < n && !all && status == TADA_OK) {
            status = search_run(p, pl, &s, first, n - first);
        }
    }
    return status;
}

static bool plane_memory(plane *pl)
{
    int runs = packed_batch(&pl->grid);
    /* Every second row of a run may be one of its own, with a head each. */
    pl->run_bytes = grid_most_bytes(&pl->grid) + CELLS * (PACKED_CODED_HEAD + grid_head_bytes(&pl->grid));
    pl->scratch_floats = grid_scratch(&pl->grid);
    pl->scratch = malloc(pl->scratch_floats * (size_t)team_lend(pl->team)->n * sizeof *pl->scratch);
    pl->rows = malloc((size_t)runs * CELLS * row_bytes(pl));
    pl->bytes = malloc((size_t)runs * pl->run_bytes);
    for (int i = 0; pl->bytes && i < runs; i++) {
        pl->runs[i].bytes = pl->bytes + (size_t)i * pl->run_bytes;
    }
    return pl->scratch && pl->rows && pl->bytes;
}

/* Writes the record of a plane. *guess: first the grid of an earlier plane, then its own. */
static enum tada_status pack_plane(packing *p, const llama_plane *saved, run_cuts *cuts, session_guess *guess)
{
    plane pl = {.saved = saved, .cuts = cuts, .team = p->team};
    const grid_shape *grid = &pl.grid;
    guess->grid.width = (int)saved->width;
    enum tada_status status = session_detect(p->source, saved->at, saved->rows, guess, p->error);
    p->sizes->rows += saved->rows;
    p->sizes->planes++;
    if (status != TADA_OK || guess->cost >= 1) {
        p->sizes->raw_rows += saved->rows;
        return status != TADA_OK ? status
                                 : put_bytes_record(p, saved->at, 2 * (uint64_t)saved->width * saved->rows);
    }
    pl.grid = guess->grid;
    if (!plane_memory(&pl)) {
        status =
            tada_fail(p->error, TADA_E_MEMORY, "Out of memory while %.150s was packed.", p->source->path);
    } else {
        uint8_t head[PACKED_PLANE_HEAD] = {PACKED_PLANE,
                                           grid->axis == TADA_AXIS_TOKEN ? 1 + grid->doubled : 0};
        const uint16_t shorts[2] = {(uint16_t)grid->rotation, (uint16_t)grid->group};
        const uint32_t longs[2] = {saved->width, saved->rows};
        memcpy(head + 2, shorts, sizeof shorts);
        memcpy(head + 6, longs, sizeof longs);
        status = target_put(p->target, head, sizeof head, p->error);
    }
    if (status == TADA_OK) {
        status = grid->axis == TADA_AXIS_TOKEN ? pack_tokens(p, &pl) : pack_channels(p, &pl);
    }
    status = status == TADA_OK ? put_raw(p, &pl) : status;
    free(pl.scratch);
    free(pl.rows);
    free(pl.bytes);
    return status;
}

/* ---- files ---- */

static enum tada_status put_header(packing *p)
{
    uint8_t header[PACKED_HEADER] = PACKED_MAGIC;
    const uint32_t version = PACKED_VERSION;
    memcpy(header + 8, &version, sizeof version);
    memcpy(header + 16, &p->source->size, sizeof p->source->size);
    return target_put(p->target, header, sizeof header, p->error);
}

/* Makes *cuts those of the plane's stream. In a new stream all of them are unknown. */
static enum tada_status cuts_for(const packing *p, const llama_plane *saved, run_cuts *cuts)
{
    if (cuts->length && cuts->stream == saved->stream) {
        return TADA_OK;
    }
    free(cuts->length);
    *cuts = (run_cuts){saved->stream, malloc(saved->rows)};
    if (!cuts->length) {
        return tada_fail(p->error, TADA_E_MEMORY, "Out of memory while %.150s was packed.", p->source->path);
    }
    memset(cuts->length, UNKNOWN, saved->rows);
    return TADA_OK;
}

static enum tada_status put_records(packing *p)
{
    llama_plane *planes;
    size_t n;
    uint64_t at = 0;
    run_cuts cuts = {0};
    /* Of K and of V. */
    session_guess guesses[2] = {{.grid = {.rotation = 1}, .cost = 1}, {.grid = {.rotation = 1}, .cost = 1}};
    enum tada_status status = llama_state_scan(p->source, &planes, &n, p->error);
    if (status != TADA_OK) {
        return status;
    }
    status = put_header(p);
    for (size_t i = 0; i < n && status == TADA_OK; i++) {
        status = put_bytes_record(p, at, planes[i].at - at);
        at = planes[i].at + 2 * (uint64_t)planes[i].width * planes[i].rows;
        status = status == TADA_OK ? cuts_for(p, &planes[i], &cuts) : status;
        status = status == TADA_OK ? pack_plane(p, &planes[i], &cuts, &guesses[planes[i].is_v]) : status;
    }
    free(planes);
    free(cuts.length);
    return status == TADA_OK ? put_bytes_record(p, at, p->source->size - at) : status;
}

/* Packs all planes, with a team of threads. */
static enum tada_status put_all(packing *p)
{
    p->team = session_team();
    if (!p->team) {
        return tada_fail(p->error, TADA_E_MEMORY, "Out of memory while %.150s was packed.", p->source->path);
    }
    enum tada_status status = put_records(p);
    team_free(p->team);
    return status;
}

/* Computes the checksum of a file from its beginning to its end. */
static enum tada_status source_sum(source_file *source, uint32_t *sum, tada_error *error)
{
    enum { CHUNK = 1 << 16 };
    enum tada_status status = TADA_OK;
    tada_crc crc;
    tada_crc_init(&crc);
    *sum = 0;
    for (uint64_t at = 0; at < source->size && status == TADA_OK; at += CHUNK) {
        uint8_t chunk[CHUNK];
        size_t n = source->size - at < CHUNK ? (size_t)(source->size - at) : CHUNK;
        status = source_read(source, at, chunk, n, error);
        *sum = tada_crc_add(&crc, *sum, chunk, n);
    }
    return status;
}

static enum tada_status put_footer(packing *p, uint32_t sum)
{
    enum tada_status status = target_put(p->target, &sum, sizeof sum, p->error);
    uint32_t own = p->target->sum;
    status = status == TADA_OK ? target_put(p->target, &own, sizeof own, p->error) : status;
    return status == TADA_OK ? target_flush(p->target, p->error) : status;
}

/* Unpacks what was written and compares the checksum, so that nobody has to trust the packing. */
static enum tada_status check_packed(packing *p, uint32_t sum)
{
    source_file packed;
    session_sizes sizes;
    session_unpacked back;
    int again = fcntl(p->target->fd, F_DUPFD_CLOEXEC, 3);
    enum tada_status status = source_take_over(p->target->name, again, &packed, p->error);
    if (status != TADA_OK) {
        return status;
    }
    status = session_unpack_to(&packed, -1, p->target->name, NULL, &sizes, &back, p->error);
    source_close(&packed);
    if (status != TADA_OK || (sizes.plain == p->source->size && back.sum == sum)) {
        return status;
    }
    return tada_fail(p->error, TADA_E_FILE, "%.150s has changed while it was packed: try again.",
                     p->source->path);
}

/* Packs into a descriptor of an empty file that is open for reading and writing. */
static enum tada_status pack_to(source_file *source, int fd, const char *name, const session_watch *watch,
                                session_sizes *sizes, tada_error *error)
{
    target_file target;
    uint32_t sum;
    memset(sizes, 0, sizeof *sizes);
    enum tada_status status = target_open(fd, name, &target, error);
    if (status == TADA_OK) {
        packing p = {.source = source, .target = &target, .watch = watch, .sizes = sizes, .error = error};
        sizes->plain = source->size;
        status = source_sum(source, &sum, error);
        status = status == TADA_OK ? put_all(&p) : status;
        status = status == TADA_OK ? put_footer(&p, sum) : status;
        sizes->packed = target.size;
        status = status == TADA_OK ? check_packed(&p, sum) : status;
    }
    target_free(&target);
    return status;
}

enum tada_status session_pack(const char *from, int to_fd, tada_error *error)
{
    source_file source;
    session_sizes sizes;
    enum tada_status status = source_open(from, &source, error);
    if (status == TADA_OK) {
        status = pack_to(&source, to_fd, "the packed session", NULL, &sizes, error);
        source_close(&source);
    }
    return status;
}

/* ---- from file to file ---- */

enum tada_status session_begin(const source_file *source, const char *from, const char *to, bool replaces,
                               new_file *file, tada_error *error)
{
    struct stat like;
    new_file_rules rules = {.replaces = replaces};
    /* A session is for those who could read it before. */
    rules.like = fstat(source->fd, &like) == 0 ? &like : NULL;
    rules.inputs[0] = strcmp(from, "-") == 0 ? "/dev/stdin" : from;
    return new_file_open(to, &rules, file, error);
}

/* A stream cannot be read again: what goes there is packed and checked in a file of its own first. */
static enum tada_status pack_to_stream(source_file *source, const new_file *file, const session_watch *watch,
                                       session_sizes *sizes, tada_error *error)
{
    source_file packed;
    target_file target;
    enum tada_status status = source_take_over(file->path, nameless_open(NULL), &packed, error);
    if (status != TADA_OK) {
        return status;
    }
    status = pack_to(source, packed.fd, file->path, watch, sizes, error);
    status = status == TADA_OK ? target_open(file->fd, file->path, &target, error) : status;
    if (status == TADA_OK) {
        packed.size = sizes->packed;
        while (status == TADA_OK && packed.at < packed.size) {
            enum { CHUNK = 1 << 16 };
            uint64_t left = packed.size - packed.at;
            size_t n = left < CHUNK ? (size_t)left : CHUNK;
            const uint8_t *bytes;
            status = source_take(&packed, n, &bytes, error);
            status = status == TADA_OK ? target_put(&target, bytes, n, error) : status;
        }
        status = status == TADA_OK ? target_flush(&target, error) : status;
        target_free(&target);
    }
    source_close(&packed);
    return status;
}

enum tada_status session_pack_file(const char *from, const char *to, bool replaces,
                                   const session_watch *watch, session_sizes *sizes, tada_error *error)
{
    source_file source;
    new_file file;
    session_sizes unused;
    sizes = sizes ? sizes : &unused;
    enum tada_status status = source_open(from, &source, error);
    if (status != TADA_OK) {
        return status;
    }
    status = session_begin(&source, from, to, replaces, &file, error);
    if (status == TADA_OK) {
        status = file.streams ? pack_to_stream(&source, &file, watch, sizes, error)
                              : pack_to(&source, file.fd, to, watch, sizes, error);
        enum tada_status closed = new_file_close(&file, status == TADA_OK, error);
        status = status == TADA_OK ? closed : status;
    }
    source_close(&source);
    return status;
}

/* Unpacking. Every number in the file is checked before it is used, also where the checksum was right. */
#include "format.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CELLS = TADA_TILE_CELLS };

/* One file being unpacked. */
typedef struct unpacking {
    source_file *source;
    target_file *target;
    const session_watch *watch;
    session_sizes *sizes;
    tada_error *error;
    uint64_t plain_bytes; /* size of llama.cpp's file, which is to come out */
    uint64_t end;         /* offset in the packed file at which its records end */
    thread_team *team;
} unpacking;

/* Runs of a plane that are unpacked at once. */
typedef struct batch {
    grid_shape grid;
    int n, most;
    int rows[PACKED_BATCH_RUNS];      /* of each run */
    size_t run_bytes, scratch_floats; /* of a run at most; of a thread */
    uint8_t *packed;                  /* [most][run_bytes] */
    uint16_t *out;                    /* [most][64][width] */
    float *scratch;                   /* [threads][scratch_floats] */
} batch;

thread_team *session_team(void)
{
    int n = team_cpus();
    return team_create(n > 8 ? 8 : n);
}

enum tada_status session_step(const session_watch *watch, uint64_t done, uint64_t total, tada_error *error)
{
    return !watch || !watch->step || watch->step(watch->context, done, total)
               ? TADA_OK
               : tada_fail(error, TADA_E_FILE, "Stopped: nothing was written.");
}

static enum tada_status fail_damaged(const unpacking *u, const char *what)
{
    return tada_fail(u->error, TADA_E_FILE, "%.150s is damaged (%s): use another copy.", u->source->path,
                     what);
}

/* The next n bytes, which must be of records. */
static enum tada_status take_bytes(const unpacking *u, size_t n, const uint8_t **bytes)
{
    if (n > u->end - u->source->at) {
        return fail_damaged(u, "a record is cut off");
    }
    return source_take(u->source, n, bytes, u->error);
}

static enum tada_status put_bytes(const unpacking *u, const void *bytes, size_t n)
{
    if (n > u->plain_bytes - u->target->size) {
        return fail_damaged(u, "it holds more than it says");
    }
    enum tada_status status = target_put(u->target, bytes, n, u->error);
    return status == TADA_OK ? session_step(u->watch, u->target->size, u->plain_bytes, u->error) : status;
}

static enum tada_status unpack_bytes(const unpacking *u, uint64_t n)
{
    enum { CHUNK = 1 << 16 };
    enum tada_status status = n <= u->end - u->source->at ? TADA_OK : fail_damaged(u, "a record is cut off");
    while (n > 0 && status == TADA_OK) {
        const uint8_t *bytes;
        size_t part = n < CHUNK ? (size_t)n : CHUNK;
        status = take_bytes(u, part, &bytes);
        status = status == TADA_OK ? put_bytes(u, bytes, part) : status;
        n -= part;
    }
    return status;
}

/* ---- planes ---- */

static void get_run(void *context, int thread, int64_t i)
{
    const batch *b = context;
    grid_get(&b->grid, b->rows[i], b->packed + (size_t)i * b->run_bytes,
             b->out + (size_t)i * CELLS * (size_t)b->grid.width,
             b->scratch + b->scratch_floats * (size_t)thread);
}

static enum tada_status batch_put(const unpacking *u, batch *b)
{
    size_t width = (size_t)b->grid.width;
    team_each(u->team, b->n, get_run, b);
    enum tada_status status = TADA_OK;
    for (int i = 0; i < b->n && status == TADA_OK; i++) {
        status = put_bytes(u, b->out + (size_t)i * CELLS * width, (size_t)b->rows[i] * width * 2);
    }
    b->n = 0;
    return status;
}

static enum tada_status take_coded(const unpacking *u, batch *b, uint32_t left, uint32_t *rows)
{
    const uint8_t *bytes;
    size_t head = grid_head_bytes(&b->grid);
    enum tada_status status = take_bytes(u, 1, &bytes);
    if (status != TADA_OK) {
        return status;
    }
    *rows = bytes[0];
    if (*rows < 1 || *rows > CELLS || *rows > left) {
        return fail_damaged(u, "a run has a wrong number of rows");
    }
    if (head > u->end - u->source->at) {
        return fail_damaged(u, "a record is cut off");
    }
    status = source_peek(u->source, head, &bytes, u->error);
    if (status != TADA_OK) {
        return status;
    }
    size_t size = grid_run_bytes(&b->grid, (int)*rows, bytes);
    if (size == 0) {
        return fail_damaged(u, "a run has codes of a width that does not exist");
    }
    status = take_bytes(u, size, &bytes);
    if (status == TADA_OK) {
        memcpy(b->packed + (size_t)b->n * b->run_bytes, bytes, size);
        b->rows[b->n++] = (int)*rows;
        status = b->n == b->most ? batch_put(u, b) : TADA_OK;
    }
    return status;
}

static enum tada_status take_raw(const unpacking *u, batch *b, uint32_t left, uint32_t *rows)
{
    const uint8_t *bytes;
    enum tada_status status = batch_put(u, b);
    status = status == TADA_OK ? take_bytes(u, PACKED_RAW_HEAD - 1, &bytes) : status;
    if (status != TADA_OK) {
        return status;
    }
    memcpy(rows, bytes, sizeof *rows);
    if (*rows < 1 || *rows > left) {
        return fail_damaged(u, "a run has a wrong number of rows");
    }
    u->sizes->raw_rows += *rows;
    return unpack_bytes(u, 2 * (uint64_t)b->grid.width * *rows);
}

static enum tada_status take_runs(const unpacking *u, batch *b, uint32_t rows)
{
    enum tada_status status = TADA_OK;
    while (rows > 0 && status == TADA_OK) {
        const uint8_t *kind;
        uint32_t n = 0;
        status = take_bytes(u, 1, &kind);
        if (status == TADA_OK) {
            status = *kind == PACKED_RAW     ? take_raw(u, b, rows, &n)
                     : *kind == PACKED_CODED ? take_coded(u, b, rows, &n)
                                             : fail_damaged(u, "a run is of an unknown kind");
        }
        rows -= n;
    }
    return status == TADA_OK ? batch_put(u, b) : status;
}

static enum tada_status take_plane(const unpacking *u)
{
    const uint8_t *head;
    uint16_t shorts[2];
    uint32_t longs[2];
    batch b = {.n = 0};
    enum tada_status status = take_bytes(u, PACKED_PLANE_HEAD - 1, &head);
    if (status != TADA_OK) {
        return status;
    }
    memcpy(shorts, head + 1, sizeof shorts);
    memcpy(longs, head + 5, sizeof longs);
    if (head[0] > 2 || longs[0] > GRID_WIDTH) {
        return fail_damaged(u, "a plane has an unknown shape");
    }
    b.grid = (grid_shape){head[0] ? TADA_AXIS_TOKEN : TADA_AXIS_CHANNEL, (int)longs[0], shorts[0], shorts[1],
                          head[0] == 2};
    if (!grid_check(&b.grid)) {
        return fail_damaged(u, "a plane has an unknown shape");
    }
    /* So that memory is taken only for what may really come. */
    if (longs[1] < 1 || 2 * (uint64_t)longs[0] * longs[1] > u->plain_bytes - u->target->size ||
        u->end - u->source->at < grid_head_bytes(&b.grid)) {
        return fail_damaged(u, "a plane has more rows than the file");
    }
    uint32_t least = (longs[1] + CELLS - 1) / CELLS;
    b.most = packed_batch(&b.grid);
    b.most = (uint32_t)b.most < least ? b.most : (int)least;
    b.run_bytes = grid_most_bytes(&b.grid);
    b.scratch_floats = grid_scratch(&b.grid);
    b.packed = malloc((size_t)b.most * b.run_bytes);
    b.out = malloc((size_t)b.most * CELLS * 2 * (size_t)b.grid.width);
    b.scratch = malloc((size_t)team_lend(u->team)->n * b.scratch_floats * sizeof *b.scratch);
    u->sizes->planes++;
    u->sizes->rows += longs[1];
    status =
        b.packed && b.out && b.scratch
            ? take_runs(u, &b, longs[1])
            : tada_fail(u->error, TADA_E_MEMORY, "Out of memory while %.150s was unpacked.", u->source->path);
    free(b.packed);
    free(b.out);
    free(b.scratch);
    return status;
}

/* ---- files ---- */

static enum tada_status take_records(const unpacking *u)
{
    enum tada_status status = TADA_OK;
    while (u->source->at < u->end && status == TADA_OK) {
        const uint8_t *bytes;
        uint64_t n;
        status = take_bytes(u, 1, &bytes);
        if (status != TADA_OK) {
            break;
        }
        if (*bytes == PACKED_PLANE) {
            status = take_plane(u);
        } else if (*bytes == PACKED_BYTES) {
            status = take_bytes(u, PACKED_BYTES_HEAD - 1, &bytes);
            if (status == TADA_OK) {
                memcpy(&n, bytes, sizeof n);
                status = unpack_bytes(u, n);
            }
        } else {
            status = fail_damaged(u, "a record is of an unknown kind");
        }
    }
    return status;
}

/* With threads of its own. */
static enum tada_status take_all(unpacking *u)
{
    u->team = session_team();
    if (!u->team) {
        return tada_fail(u->error, TADA_E_MEMORY, "Out of memory while %.150s was unpacked.",
                         u->source->path);
    }
    enum tada_status status = take_records(u);
    team_free(u->team);
    return status;
}

/* Reads the header, and the whole file once: whether it is as it was written. */
static enum tada_status check_packed(source_file *source, uint64_t *plain_bytes, session_unpacked *unpacked,
                                     tada_error *error)
{
    enum { CHUNK = 1 << 16 };
    uint8_t header[PACKED_HEADER];
    uint32_t version, sums[2], sum = 0;
    tada_crc crc;
    if (source->size < PACKED_HEADER + PACKED_FOOTER) {
        return tada_fail(error, TADA_E_FILE, "%.150s is not a packed session: it is too short.",
                         source->path);
    }
    enum tada_status status = source_read(source, 0, header, sizeof header, error);
    if (status != TADA_OK) {
        return status;
    }
    if (memcmp(header, PACKED_MAGIC, 8) != 0) {
        return tada_fail(error, TADA_E_FILE, "%.150s is not a packed session: give one that tada pack made.",
                         source->path);
    }
    memcpy(&version, header + 8, sizeof version);
    memcpy(plain_bytes, header + 16, sizeof *plain_bytes);
    tada_crc_init(&crc);
    uint64_t end = source->size - sizeof sums[1];
    for (uint64_t at = 0; at < end && status == TADA_OK; at += CHUNK) {
        uint8_t chunk[CHUNK];
        size_t n = end - at < CHUNK ? (size_t)(end - at) : CHUNK;
        status = source_read(source, at, chunk, n, error);
        sum = tada_crc_add(&crc, sum, chunk, n);
    }
    status = status == TADA_OK ? source_read(source, end - sizeof sums[0], sums, sizeof sums, error) : status;
    if (status != TADA_OK) {
        return status;
    }
    unpacked->sum = sums[0];
    unpacked->version = version;
    if (version < 1 || version > PACKED_VERSION) {
        return tada_fail(error, TADA_E_UNSUPPORTED,
                         "%.150s is a packed session of version %u: use a tada that knows it.", source->path,
                         version);
    }
    return sum == sums[1]
               ? TADA_OK
               : tada_fail(error, TADA_E_FILE,
                           "%.150s is damaged or cut off (its checksum is wrong): use another copy.",
                           source->path);
}

enum tada_status session_unpack_to(source_file *source, int to_fd, const char *to, const session_watch *watch,
                                   session_sizes *sizes, session_unpacked *unpacked, tada_error *error)
{
    target_file target;
    uint64_t plain_bytes = 0;
    memset(sizes, 0, sizeof *sizes);
    sizes->packed = source->size;
    enum tada_status status = check_packed(source, &plain_bytes, unpacked, error);
    if (status != TADA_OK) {
        return status;
    }
    status = target_open(to_fd, to, &target, error);
    if (status == TADA_OK) {
        const uint8_t *header;
        unpacking u = {.source = source,
                       .target = &target,
                       .watch = watch,
                       .sizes = sizes,
                       .error = error,
                       .plain_bytes = plain_bytes,
                       .end = source->size - PACKED_FOOTER};
        status = source_take(source, PACKED_HEADER, &header, error);
        status = status == TADA_OK ? take_all(&u) : status;
        status = status == TADA_OK ? target_flush(&target, error) : status;
        if (status == TADA_OK && (target.size != plain_bytes || target.sum != unpacked->sum)) {
            status = fail_damaged(&u, "what comes out is not what went in");
        }
        sizes->plain = target.size;
        memcpy(unpacked->first, target.first, sizeof target.first);
    }
    target_free(&target);
    return status;
}

enum tada_status session_unpack(const char *from, int to_fd, tada_error *error)
{
    source_file source;
    session_sizes sizes;
    session_unpacked unpacked;
    enum tada_status status = source_open(from, &source, error);
    if (status == TADA_OK) {
        status = session_unpack_to(&source, to_fd, "the unpacked session", NULL, &sizes, &unpacked, error);
        source_close(&source);
    }
    return status;
}

enum tada_status session_unpack_file(const char *from, const char *to, bool replaces,
                                     const session_watch *watch, session_sizes *sizes, tada_error *error)
{
    session_sizes unused;
    source_file source;
    new_file file;
    session_unpacked unpacked;
    enum tada_status status = source_open(from, &source, error);
    if (status != TADA_OK) {
        return status;
    }
    status = session_begin(&source, from, to, replaces, &file, error);
    if (status == TADA_OK) {
        status = session_unpack_to(&source, file.fd, to, watch, sizes ? sizes : &unused, &unpacked, error);
        enum tada_status closed = new_file_close(&file, status == TADA_OK, error);
        status = status == TADA_OK ? closed : status;
    }
    source_close(&source);
    return status;
}

bool session_is_packed(const char *path)
{
    source_file source;
    uint8_t magic[8];
    if (source_open(path, &source, NULL) != TADA_OK) {
        return false;
    }
    bool packed = source.size >= PACKED_HEADER + PACKED_FOOTER &&
                  source_read(&source, 0, magic, sizeof magic, NULL) == TADA_OK &&
                  memcmp(magic, PACKED_MAGIC, sizeof magic) == 0;
    source_close(&source);
    return packed;
}

/* Sessions on disk: damaged packed files are refused or give what they say; any file of llama.cpp comes back
 * as it was. */
#include "fuzz.h"

#include "crc.h"
#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST = 1 << 22 };

typedef struct buffer {
    uint8_t *bytes;
    size_t size;
} buffer;

static void put(buffer *b, const void *bytes, size_t n)
{
    if (b->size + n > MOST) {
        fuzz_fail("a session of more than %d bytes", MOST);
    }
    memcpy(b->bytes + b->size, bytes, n);
    b->size += n;
}

static void put_u32(buffer *b, uint32_t value)
{
    put(b, &value, sizeof value);
}

static void put_u64(buffer *b, uint64_t value)
{
    put(b, &value, sizeof value);
}

/* What is in a descriptor, to be freed. */
static buffer content(int fd)
{
    struct stat status;
    if (fstat(fd, &status) != 0) {
        fuzz_fail("a file is lost");
    }
    buffer b = {fuzz_memory((size_t)status.st_size), (size_t)status.st_size};
    if (pread(fd, b.bytes, b.size, 0) != (ssize_t)b.size) {
        fuzz_fail("a file cannot be read");
    }
    return b;
}

/* Unpacks into memory; *out: to be freed when it is right. */
static enum tada_status unpack(const char *path, buffer *out, tada_error *error)
{
    int fd = memfd_create("unpacked", 0);
    enum tada_status status = session_unpack(path, fd, error);
    if (status == TADA_OK) {
        *out = content(fd);
    }
    close(fd);
    return status;
}

static void check_unpack(const uint8_t *data, size_t size, bool sum_is_right)
{
    tada_error error = {""};
    buffer packed = {fuzz_memory(size), size}, out = {0};
    memcpy(packed.bytes, data, size);
    if (sum_is_right && size >= 8) {
        tada_crc crc;
        tada_crc_init(&crc);
        uint32_t sum = tada_crc_add(&crc, 0, packed.bytes, size - 4);
        memcpy(packed.bytes + size - 4, &sum, sizeof sum);
    }
    fuzz_file file = fuzz_file_make(packed.bytes, packed.size);
    session_is_packed(file.path);
    if (unpack(file.path, &out, &error) == TADA_OK) {
        uint64_t said;
        memcpy(&said, packed.bytes + 16, sizeof said);
        if (said != out.size) {
            fuzz_fail("%zu bytes came out of a session that said %llu", out.size, (unsigned long long)said);
        }
        free(out.bytes);
    } else if (strlen(error.text) < 10) {
        fuzz_fail("a session is refused without a reason");
    }
    fuzz_file_done(&file);
    free(packed.bytes);
}

static void check_pack(const uint8_t *data, size_t size)
{
    tada_error error = {""};
    session_sizes sizes;
    char to[256];
    buffer out = {0};
    fuzz_file file = fuzz_file_make(data, size);
    fuzz_path("session", to, sizeof to);
    if (session_pack_file(file.path, to, false, NULL, &sizes, &error) == TADA_OK) {
        if (!session_is_packed(to) || sizes.plain != size || unpack(to, &out, &error) != TADA_OK ||
            out.size != size || memcmp(out.bytes, data, size) != 0) {
            fuzz_fail("a session does not come back as it was packed: %s", error.text);
        }
        free(out.bytes);
        unlink(to);
    } else if (strlen(error.text) < 10 || access(to, F_OK) == 0) {
        fuzz_fail("a session is refused, but not as it should be: %s", error.text);
    }
    fuzz_file_done(&file);
}

/* Rows as a cache of ours gives them, or any others. */
static void make_rows(fuzz_input *in, const tada_spec *spec, enum tada_kind kind, int width, int n,
                      uint16_t *rows)
{
    fuzz_random random = fuzz_seed((uint32_t)fuzz_below(in, 65536));
    tada_shape shape = {kind, width, n + 64, 1, fuzz_below(in, 2) ? 16 : 0};
    size_t bytes = tada_plane_bytes(spec, &shape);
    void *memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
    float *x = fuzz_memory((size_t)n * (size_t)width * sizeof *x);
    int64_t *cells = fuzz_memory((size_t)n * sizeof *cells);
    tada_pool *pool = tada_pool_create();
    tada_plane *plane;
    for (int i = 0; i < n * width; i++) {
        x[i] = fuzz_normal(&random);
    }
    for (int i = 0; i < n; i++) {
        cells[i] = i;
    }
    if (!bytes || tada_plane_create(spec, &shape, memory, bytes, &plane, NULL) != TADA_OK) {
        /* Scales that this row has no groups for. */
        for (int i = 0; i < n * width; i++) {
            rows[i] = (uint16_t)fuzz_bits(&random);
        }
    } else {
        tada_plane_write(plane, pool, x, TADA_F32, (size_t)width * 4, cells, n, NULL);
        tada_plane_settle(plane, NULL, NULL);
        tada_plane_read(plane, 0, n, rows, NULL, NULL);
        tada_plane_free(plane);
    }
    /* Some are of another cache. */
    for (int i = fuzz_below(in, 4); i > 0; i--) {
        rows[fuzz_below(in, n) * width + fuzz_below(in, width)] ^= (uint16_t)(1 + fuzz_below(in, 65535));
    }
    tada_pool_free(pool);
    free(cells);
    free(x);
    free(memory);
}

/* The state of one sequence, as llama.cpp saves it. */
static void make_session(fuzz_input *in, buffer *b)
{
    char text[256];
    int n = 1 + fuzz_below(in, 200), layers = 1 + fuzz_below(in, 3), width = 16 * (1 + fuzz_below(in, 8));
    uint16_t *rows = fuzz_memory((size_t)n * (size_t)width * sizeof *rows);
    tada_spec spec = fuzz_spec(in, text, sizeof text);
    put_u32(b, 0x67677371);
    put_u32(b, 3);
    put_u32(b, 2);
    put(b, "12345678", 8);
    put_u32(b, 1); /* streams */
    put_u32(b, (uint32_t)n);
    for (int i = 0; i < n; i++) {
        put_u32(b, (uint32_t)i);
        put_u32(b, 1);
        put_u32(b, 0);
    }
    put_u32(b, 0);
    put_u32(b, (uint32_t)layers);
    for (int i = 0; i < 2 * layers; i++) {
        put_u32(b, 1); /* f16 */
        put_u64(b, 2 * (uint64_t)width);
        make_rows(in, &spec, i < layers ? TADA_K : TADA_V, width, n, rows);
        put(b, rows, (size_t)n * (size_t)width * 2);
    }
    free(rows);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input in = {data, size, 0};
    int what = fuzz_below(&in, 4);
    if (what == 0 && size > 0) {
        check_unpack(data + 1, size - 1, false);
    } else if (what == 1) {
        check_unpack(data + 1, size - 1, true);
    } else if (what == 2) {
        check_pack(data + 1, size - 1);
    } else {
        buffer b = {fuzz_memory(MOST), 0};
        make_session(&in, &b);
        check_pack(b.bytes, b.size);
        free(b.bytes);
    }
    return 0;
}

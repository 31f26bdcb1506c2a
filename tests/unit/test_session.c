/* Packed sessions: every file comes back as it was, and those of compressed caches become small. */
#include "folder.h"
#include "session.h"
#include "session_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* Packs, unpacks, compares; returns packed bytes over plain bytes. */
static double round_trip(const char *what, const bytes *b, session_sizes *sizes)
{
    tada_error error = {""};
    write_file(path_of("plain"), b->data, b->size);
    if (session_pack_file(path_of("plain"), path_of("packed"), true, NULL, sizes, &error) != TADA_OK) {
        fail_msg("%s: %s", what, error.text);
    }
    assert_true(session_is_packed(path_of("packed")));
    assert_false(session_is_packed(path_of("plain")));
    if (session_unpack_file(path_of("packed"), path_of("back"), true, NULL, NULL, &error) != TADA_OK) {
        fail_msg("%s: %s", what, error.text);
    }
    bytes back = read_file(path_of("back"));
    assert_int_equal(back.size, b->size);
    assert_memory_equal(back.data, b->data, b->size);
    free(back.data);
    assert_int_equal(sizes->plain, b->size);
    return (double)sizes->packed / (double)sizes->plain;
}

static void of_shape(const session_shape *s, double most)
{
    session_sizes sizes;
    char what[160];
    snprintf(what, sizeof what, "%s, %d of %d values, cells %s", s->spec, s->width, s->head_dim,
             cells_names[s->cells]);
    bytes b = sequence_file(s);
    double part = round_trip(what, &b, &sizes);
    printf("%-70s %5.1f %%, %4.1f %% of %u rows raw\n", what, 100 * part,
           100 * (double)sizes.raw_rows / (double)sizes.rows, (unsigned)sizes.rows);
    if (part > most) {
        fail_msg("%s: %.3f of its size, more than %.3f", what, part, most);
    }
    free(b.data);
}

/* Bytes over those of f16 with all rows in codes, some for words and heads, and what stays exact. */
static void test_recipes(void **state)
{
    static const struct {
        const char *spec;
        double most;
    } cases[] = {
        {"tada", 0.40},
        {"tada:high:window=0", 0.44},
        {"tada:compact", 0.35},
        {"tada:8:window=0", 0.62},
        {"tada:2:window=0:sinks=0", 0.25},
        {"tada:4:widths=equal:window=0", 0.36},
        {"tada:4:k.rotate=hadamard:window=0", 0.36},
        {"tada:4:k.group=16:window=0", 0.40},
        {"tada:4:k.axis=token:v.axis=channel:window=0", 0.38},
        {"tada:5:rotate=none:v.group=32:search=minmax:window=0", 0.45},
        {"tada:6:k.axis=token:k.rotate=hadamard:v.axis=channel:window=0", 0.50},
        /* Not on grids. */
        {"tada:4:centre=tokens", 1.01},
        {"kivi:4", 1.01},
        {"tada:paper", 1.01},
        {"f16", 1.01},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        session_shape s = {cases[i].spec, 192, 64, 1, 704, CELLS_ALL};
        of_shape(&s, cases[i].most);
    }
}

static void test_shapes(void **state)
{
    static const int shapes[][2] = {{64, 64},  {256, 128}, {96, 48}, {80, 80},
                                    {512, 64}, {256, 256}, {48, 16}};
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        session_shape s = {"tada:window=0", shapes[i][0], shapes[i][1], 1, 512, CELLS_ALL};
        of_shape(&s, s.width < 64 ? 0.384 : 0.375);
    }
}

static void test_cells(void **state)
{
    static const double most[N_CELLS_KINDS] = {0.34, 0.36, 0.45, 0.38, 0.40};
    (void)state;
    for (int cells = 0; cells < N_CELLS_KINDS; cells++) {
        session_shape s = {"tada:window=0", 128, 64, 2, 960, (enum cells)cells};
        of_shape(&s, most[cells]);
    }
}

/* What models of other kinds write, and what nobody knows. */
static void test_files(void **state)
{
    session_shape s = {"tada:window=0", 128, 64, 2, 384, CELLS_ALL}, small = s, other = s;
    session_sizes sizes;
    const uint64_t all = 4 * 384;
    (void)state;
    small.n_cells = 128;
    other.width = 64;

    bytes b = {0};
    put_start(&b, true);
    put_u32(&b, 3);
    put_stream(&b, &s, 0, false, true);
    put_u32(&b, 0); /* a stream without cells */
    put_stream(&b, &s, 0, false, true);
    assert_true(round_trip("several streams", &b, &sizes) < 0.45);
    assert_int_equal(sizes.rows, 2 * all);
    free(b.data);

    b = (bytes){0};
    put_start(&b, false);
    put_u32(&b, 1);
    put_stream(&b, &s, 0, false, true);
    put_u32(&b, 1);
    put_stream(&b, &small, 0, false, true);
    put(&b, "recurrent states, whatever they are", 35);
    assert_true(round_trip("two caches", &b, &sizes) < 0.55);
    assert_int_equal(sizes.rows, all + 4 * 128);
    free(b.data);

    b = (bytes){0};
    put_start(&b, false);
    put_u32(&b, 1);
    put_stream(&b, &s, 12, false, true);
    assert_true(round_trip("positions of several dimensions", &b, &sizes) < 0.45);
    free(b.data);

    b = (bytes){0};
    put_start(&b, false);
    put_u32(&b, 1);
    put_stream(&b, &s, 0, false, false);
    put_u32(&b, 1);
    put_stream(&b, &other, 0, false, false);
    assert_true(round_trip("K only", &b, &sizes) < 0.50);
    assert_int_equal(sizes.rows, all);
    free(b.data);

    b = (bytes){0};
    put_start(&b, false);
    put_u32(&b, 1);
    put_stream(&b, &s, 0, true, true);
    round_trip("V by channel", &b, &sizes);
    assert_int_equal(sizes.rows, all / 2);
    free(b.data);

    b = sequence_file(&s);
    b.data[4]++;
    round_trip("another version", &b, &sizes);
    assert_int_equal(sizes.rows, 0);
    b.data[4]--;
    for (size_t cut = 0; cut < 100; cut += 7) {
        bytes part = b;
        part.size = 4 + cut * (b.size - 4) / 100;
        round_trip("a part", &part, &sizes);
    }
    free(b.data);
}

/* Rows that are no numbers, signed zeros, the largest and the least values. */
static void test_odd_rows(void **state)
{
    static const uint16_t odd[] = {0x7c00, 0xfc00, 0x7e01, 0x8000, 0x7bff, 0xfbff, 0x0001, 0x8001, 0x03ff, 0};
    session_shape s = {"tada:window=0", 64, 64, 1, 512, CELLS_ALL};
    session_sizes sizes;
    (void)state;
    bytes b = sequence_file(&s);
    for (int i = 0; i < 40; i++) {
        size_t at = 7000 + (size_t)random_below((int)b.size - 7100);
        memcpy(b.data + at / 2 * 2, &odd[random_below(sizeof odd / sizeof *odd)], 2);
    }
    assert_true(round_trip("odd values", &b, &sizes) < 1.0);
    for (size_t value = 0; value < sizeof odd / sizeof *odd; value++) {
        for (size_t at = b.size - 200 * 128; at < b.size; at += 2) {
            memcpy(b.data + at, &odd[value], 2);
        }
        round_trip("one value", &b, &sizes);
    }
    free(b.data);
}

/* What is damaged is refused or, where that is possible, whole. */
static void test_damage(void **state)
{
    session_shape s = {"tada", 64, 64, 2, 320, CELLS_LATER};
    session_sizes sizes;
    tada_error error;
    (void)state;
    bytes b = sequence_file(&s);
    round_trip("to be damaged", &b, &sizes);
    bytes packed = read_file(path_of("packed"));
    int fd = open(path_of("out"), O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    for (int i = 0; i < 400 / quick(); i++) {
        size_t at = (size_t)i * packed.size / 400, size = packed.size;
        uint8_t bit = (uint8_t)(1 << random_below(8));
        packed.data[at] ^= bit;
        if (i % 4 == 3) {
            size = at;
        }
        write_file(path_of("damaged"), packed.data, size);
        packed.data[at] ^= bit;
        error.text[0] = '\0';
        assert_int_not_equal(session_unpack(path_of("damaged"), fd, &error), TADA_OK);
        assert_true(strlen(error.text) > 20);
    }
    /* Believed by its checksum: then the parts have to be checked. */
    int refused = 0, same = 0;
    for (int i = 0; i < 600 / quick(); i++) {
        bytes c = {0};
        uint32_t sum = 0xffffffff;
        put(&c, packed.data, packed.size);
        for (int n = 1 + random_below(3); n > 0; n--) {
            size_t at =
                i % 3 ? (size_t)random_below((int)packed.size) : (size_t)random_below(6000) % packed.size;
            c.data[at] = (uint8_t)random_bits();
        }
        for (size_t at = 0; at < c.size - 4; at++) {
            sum ^= c.data[at];
            for (int bit = 0; bit < 8; bit++) {
                sum = sum >> 1 ^ (sum & 1 ? 0xedb88320u : 0);
            }
        }
        sum = ~sum;
        memcpy(c.data + c.size - 4, &sum, 4);
        write_file(path_of("damaged"), c.data, c.size);
        assert_int_equal(ftruncate(fd, 0), 0);
        assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
        if (session_unpack(path_of("damaged"), fd, &error) == TADA_OK) {
            bytes back = read_file(path_of("out"));
            assert_int_equal(back.size, b.size);
            assert_memory_equal(back.data, b.data, b.size);
            free(back.data);
            same++;
        } else {
            refused++;
        }
        free(c.data);
    }
    printf("damage with a right checksum: %d refused, %d without effect\n", refused, same);
    close(fd);
    free(packed.data);
    free(b.data);
}

static enum tada_status pack(const char *from, const char *to, tada_error *error)
{
    return session_pack_file(from, to, true, NULL, NULL, error);
}

static void test_refused(void **state)
{
    tada_error error;
    (void)state;
    write_file(path_of("foreign"), "no state of any model", 21);
    write_file(path_of("empty"), "", 0);
    assert_int_equal(pack(path_of("foreign"), path_of("new"), &error), TADA_E_FILE);
    assert_non_null(strstr(error.text, "llama.cpp"));
    assert_int_equal(pack(path_of("empty"), path_of("new"), &error), TADA_E_FILE);
    assert_int_equal(pack(path_of("none"), path_of("new"), &error), TADA_E_FILE);
    assert_int_equal(pack(folder, path_of("new"), &error), TADA_E_FILE);
    assert_int_equal(session_unpack(path_of("foreign"), -1, &error), TADA_E_FILE);
    assert_int_equal(session_unpack(path_of("empty"), -1, &error), TADA_E_FILE);
    assert_int_equal(session_unpack(path_of("none"), -1, &error), TADA_E_FILE);
    assert_int_equal(access(path_of("new"), F_OK), -1);
    assert_int_equal(pack(path_of("plain"), path_of("no/folder"), &error), TADA_E_FILE);
    assert_int_equal(pack(path_of("plain"), "/dev/full", &error), TADA_E_FILE);
    assert_int_equal(pack(path_of("plain"), folder, &error), TADA_E_FILE);
    assert_false(session_is_packed(path_of("none")));
    assert_false(session_is_packed(folder));
    /* A disk that is full. */
    int full = open("/dev/full", O_WRONLY);
    if (full >= 0) {
        assert_int_equal(session_unpack(path_of("packed"), full, &error), TADA_E_FILE);
        close(full);
    }
}

static bool stop(void *context, uint64_t done, uint64_t total)
{
    int *left = context;
    assert_true(done <= total);
    return (*left)-- > 0;
}

static void test_stopped(void **state)
{
    session_shape s = {"tada", 64, 64, 2, 320, CELLS_ALL};
    tada_error error;
    bytes b = sequence_file(&s);
    (void)state;
    write_file(path_of("plain"), b.data, b.size);
    assert_int_equal(pack(path_of("plain"), path_of("packed"), &error), TADA_OK);
    for (int left = 0; left < 3; left++) {
        int n = left;
        session_watch watch = {stop, &n};
        assert_int_not_equal(session_pack_file(path_of("plain"), path_of("new"), false, &watch, NULL, &error),
                             TADA_OK);
        n = left;
        assert_int_not_equal(
            session_unpack_file(path_of("packed"), path_of("new"), false, &watch, NULL, &error), TADA_OK);
        assert_int_equal(access(path_of("new"), F_OK), -1);
    }
    free(b.data);
}

/* Every kernel set gives the same file. */
static void test_kernels(void **state)
{
    session_shape s = {"tada", 96, 48, 1, 320, CELLS_ALL};
    session_sizes sizes;
    bytes b = sequence_file(&s), first = {0};
    const char *usual = tada_kernels_name();
    (void)state;
    for (int i = 0; i < N_TIERS; i++) {
        if (tada_kernels_select(tiers[i]) != TADA_OK) {
            continue;
        }
        round_trip(tiers[i], &b, &sizes);
        bytes packed = read_file(path_of("packed"));
        if (first.data) {
            assert_int_equal(packed.size, first.size);
            assert_memory_equal(packed.data, first.data, first.size);
            free(packed.data);
        } else {
            first = packed;
        }
    }
    assert_int_equal(tada_kernels_select(usual), TADA_OK);
    free(first.data);
    free(b.data);
}

static int clean_up(void **state)
{
    (void)state;
    return remove_folder() ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recipes), cmocka_unit_test(test_shapes),   cmocka_unit_test(test_cells),
        cmocka_unit_test(test_files),   cmocka_unit_test(test_odd_rows), cmocka_unit_test(test_damage),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_stopped),  cmocka_unit_test(test_kernels),
    };
    random_init();
    if (!make_folder()) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, clean_up);
}

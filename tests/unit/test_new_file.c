/* The writer of files: what is there stays until the new one is whole, and no link is followed. */
#include "new_file.h"

#include "folder.h"
#include "support.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

static const new_file_rules plain, replaces = {.replaces = true};
static tada_error error;

static void put(const char *name, const char *text, mode_t mode)
{
    FILE *file = fopen(path_of(name), "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path_of(name), mode), 0);
}

static bool holds(const char *name, const char *text)
{
    char found[64] = "";
    int file = open(path_of(name), O_RDONLY);
    bool good = file >= 0 && read(file, found, sizeof found - 1) >= 0 && strcmp(found, text) == 0;
    close(file);
    return good;
}

static mode_t mode_of(const char *name)
{
    struct stat status;
    assert_int_equal(lstat(path_of(name), &status), 0);
    return status.st_mode & 07777;
}

static int n_files(void)
{
    int n = 0;
    DIR *list = opendir(folder);
    for (struct dirent *entry; (entry = readdir(list));) {
        n += *entry->d_name != '.' || strlen(entry->d_name) > 2;
    }
    closedir(list);
    return n;
}

static enum tada_status write_new(const char *name, const new_file_rules *rules)
{
    new_file file;
    enum tada_status status = new_file_open(path_of(name), rules, &file, &error);
    if (status == TADA_OK) {
        assert_int_equal(write(file.fd, "new", 3), 3);
        status = new_file_close(&file, true, &error);
    }
    return status;
}

static int set_up(void **state)
{
    (void)state;
    umask(022);
    return make_folder() ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    bool gone = remove_folder();
    strcpy(folder, "test-XXXXXX");
    return gone ? 0 : -1;
}

static void test_modes(void **state)
{
    struct stat like;
    (void)state;
    assert_int_equal(write_new("a", &plain), TADA_OK);
    assert_int_equal(mode_of("a"), 0644);
    umask(077);
    assert_int_equal(write_new("b", &plain), TADA_OK);
    assert_int_equal(mode_of("b"), 0600);
    umask(022);
    put("b", "older", 0640);
    assert_int_equal(stat(path_of("b"), &like), 0);
    new_file_rules from = {.like = &like};
    assert_int_equal(write_new("c", &from), TADA_OK);
    assert_int_equal(mode_of("c"), 0640);
    /* What is replaced comes first, and nothing but permissions is handed on. */
    put("c", "older", 04600);
    from.replaces = true;
    assert_int_equal(write_new("c", &from), TADA_OK);
    assert_int_equal(mode_of("c"), 0600);
    assert_true(holds("c", "new"));
    /* It is as private while it is written. */
    new_file file;
    assert_int_equal(new_file_open(path_of("c"), &replaces, &file, &error), TADA_OK);
    struct stat part;
    assert_int_equal(fstat(file.fd, &part), 0);
    assert_int_equal(part.st_mode & 07777, 0600);
    assert_int_equal(new_file_close(&file, false, &error), TADA_OK);
    assert_int_equal(n_files(), 3);
}

static void test_what_is_there(void **state)
{
    new_file file;
    (void)state;
    put("old", "old", 0644);
    assert_int_equal(write_new("old", &plain), TADA_E_FILE);
    assert_non_null(strstr(error.text, "--force"));
    assert_int_equal(new_file_check(path_of("old"), &plain, &error), TADA_E_FILE);
    assert_int_equal(new_file_check(path_of("old"), &replaces, &error), TADA_OK);
    assert_int_equal(new_file_check(path_of("new"), &plain, &error), TADA_OK);
    assert_int_equal(n_files(), 1);
    /* What comes later is not replaced, either. */
    assert_int_equal(new_file_open(path_of("new"), &plain, &file, &error), TADA_OK);
    put("new", "of another", 0644);
    assert_int_equal(new_file_close(&file, true, &error), TADA_E_FILE);
    assert_true(holds("new", "of another"));
    assert_int_equal(n_files(), 2);
    /* Given up. */
    assert_int_equal(new_file_open(path_of("old"), &replaces, &file, &error), TADA_OK);
    assert_int_equal(write(file.fd, "half", 4), 4);
    assert_true(holds("old", "old"));
    assert_int_equal(new_file_close(&file, false, &error), TADA_OK);
    assert_true(holds("old", "old"));
    assert_int_equal(n_files(), 2);
    /* A file that is read, by any of its names. */
    assert_int_equal(link(path_of("old"), path_of("second")), 0);
    assert_int_equal(symlink("old", path_of("link")), 0);
    static const char *const names[] = {"old", "second", "link"};
    for (int i = 0; i < 3; i++) {
        new_file_rules rules = {.replaces = true, .inputs = {path_of("none"), path_of(names[i])}};
        for (int j = 0; j < 3; j++) {
            assert_int_equal(write_new(names[j], &rules), TADA_E_FILE);
            assert_non_null(strstr(error.text, "is read"));
        }
    }
    assert_int_equal(n_files(), 4);
}

static void test_links(void **state)
{
    new_file file;
    (void)state;
    put("target", "target", 0600);
    assert_int_equal(symlink("target", path_of("link")), 0);
    assert_int_equal(symlink("none", path_of("loose")), 0);
    assert_int_equal(write_new("link", &plain), TADA_E_FILE);
    assert_int_equal(write_new("loose", &plain), TADA_E_FILE);
    assert_int_equal(write_new("link", &replaces), TADA_OK);
    assert_int_equal(write_new("loose", &replaces), TADA_OK);
    assert_true(holds("target", "target") && holds("link", "new") && holds("loose", "new"));
    assert_int_equal(mode_of("link"), 0644);
    /* Under the names that the next files have until they are file. */
    assert_int_equal(new_file_open(path_of("x"), &plain, &file, &error), TADA_OK);
    unsigned number = (unsigned)atoi(strrchr(file.part, '-') + 1);
    assert_int_equal(new_file_close(&file, false, &error), TADA_OK);
    for (unsigned i = 1; i <= 3; i++) {
        char name[48];
        snprintf(name, sizeof name, "x.part%ld-%u", (long)getpid(), number + i);
        assert_int_equal(symlink("target", path_of(name)), 0);
    }
    assert_int_equal(write_new("x", &plain), TADA_OK);
    assert_true(holds("target", "target") && holds("x", "new"));
    assert_int_equal(n_files(), 7);
}

static void test_refused(void **state)
{
    static const struct {
        const char *path, *says;
    } cases[] = {{"", "no file name"},
                 {".", "a folder"},
                 {"none/x", "No such file"},
                 {"none/", "no file name"},
                 {"/dev/full/x", "Not a directory"}};
    new_file file;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(new_file_open(cases[i].path, &replaces, &file, &error), TADA_E_FILE);
        if (!strstr(error.text, cases[i].says)) {
            fail_msg("'%s': %s", cases[i].path, error.text);
        }
        assert_int_equal(new_file_check(cases[i].path, &replaces, &error), TADA_E_FILE);
    }
    char long_name[PATH_MAX + 10] = "";
    memset(long_name, 'x', 300);
    assert_int_equal(new_file_open(long_name, &plain, &file, &error), TADA_E_FILE);
    memset(long_name, '/', PATH_MAX + 9);
    long_name[PATH_MAX + 8] = 'x';
    assert_int_equal(new_file_open(long_name, &plain, &file, &error), TADA_E_FILE);
    /* A device takes what is written, and stays. */
    assert_int_equal(new_file_open("/dev/null", &plain, &file, &error), TADA_OK);
    assert_true(file.streams);
    assert_int_equal(new_file_close(&file, true, &error), TADA_OK);
    assert_int_equal(new_file_check("/dev/null", &plain, &error), TADA_OK);
    struct stat status;
    assert_int_equal(stat("/dev/null", &status), 0);
    assert_true(S_ISCHR(status.st_mode));
}

/* NULL, or what is no NULL when it failed. */
static void *write_many(void *path)
{
    tada_error why;
    for (int i = 0; i < 50; i++) {
        new_file file;
        if (new_file_open(path, &replaces, &file, &why) != TADA_OK || write(file.fd, "new", 3) != 3 ||
            new_file_close(&file, true, &why) != TADA_OK) {
            return path;
        }
    }
    return NULL;
}

static void test_threads(void **state)
{
    pthread_t threads[4];
    char path[64];
    snprintf(path, sizeof path, "%s", path_of("shared"));
    (void)state;
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, write_many, path), 0);
    }
    for (int i = 0; i < 4; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    assert_true(holds("shared", "new"));
    assert_int_equal(n_files(), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
TEST_MAIN(TEST(test_modes), TEST(test_what_is_there), TEST(test_links), TEST(test_refused),
          TEST(test_threads))

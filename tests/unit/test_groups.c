/* How much memory a group of processes may still get: that of the tightest one of those that it lies in. */
#include "support.h"

#include "find/memory.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[] = "tada-groups-XXXXXX";

static void put(const char *group, const char *file, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s%s/%s", root, group, file);
    FILE *to = fopen(path, "w");
    assert_non_null(to);
    fputs(text, to);
    fclose(to);
}

static void make(const char *group, const char *most, const char *now, const char *files)
{
    char path[256];
    snprintf(path, sizeof path, "%s%s", root, group);
    (void)mkdir(path, 0777);
    put(group, "memory.max", most);
    put(group, "memory.current", now);
    put(group, "memory.stat", files);
}

static void expect(const char *group, double bytes)
{
    assert_true(memory_left_in_groups(root, group) == bytes);
}

static void the_tightest_counts(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(root));
    expect("/a/b", -1);
    expect("/", -1);
    expect("", -1);
    make("", "1000\n", "100\n", "anon 7\n");
    make("/a", "max\n", "90\n", "inactive_file 5\n");
    make("/a/b", "80\n", "70\n", "anon 5\ninactive_file 30\n");
    make("/a/b/c", "500\n", "10\n", "");
    expect("", 900);
    expect("/", 900);
    expect("/a", 900);
    expect("/a/b", 40);
    expect("/a/b/c", 40);
    expect("/a/none", 900);
    make("/a", "95\n", "90\n", "");
    expect("/a/b/c", 5);
    make("/a", "80\n", "90\n", "");
    expect("/a/b/c", 0);
    char command[300];
    snprintf(command, sizeof command, "rm -r %s", root);
    assert_int_equal(system(command), 0);
}

TEST_MAIN(cmocka_unit_test(the_tightest_counts))

/* Progress without a terminal: lines come while a step of the work goes on, however long it takes. */
#include "output/progress.h"

#include "support.h"

#include <unistd.h>

static FILE *lines; /* what is printed on stderr */

static void find_line(const char *words, char line[256])
{
    do {
        assert_non_null(fgets(line, 256, lines));
    } while (!strstr(line, words));
}

static void test_lines(void **state)
{
    struct progress progress, other;
    char line[256];
    (void)state;
    progress_start(&progress, "work");
    find_line("work:   0 %, after ", line); /* nothing was done yet */
    find_line("work:   0 %, after ", line);
    progress_show(&progress, 1, 4, "first\x1b part");
    find_line("work:  25 %, ", line);
    assert_non_null(strstr(line, " left  first\\x1b part\n"));
    find_line("work:  25 %, ", line);
    progress_show(&progress, 1, 8, "never less");
    find_line("never less", line);
    assert_non_null(strstr(line, " 25 %"));
    /* Work within work. */
    progress_start(&other, "other");
    progress_show(&other, 3, 3, "");
    find_line("other: 100 %, 0:00 left", line);
    progress_clear(&other);
    progress_show(&progress, 3, 4, "last");
    find_line("work:  75 %, ", line);
    progress_clear(&progress);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lines)};
    int ends[2];
    if (pipe(ends) != 0 || dup2(ends[1], STDERR_FILENO) < 0) {
        return 1;
    }
    lines = fdopen(ends[0], "r");
    return lines ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}

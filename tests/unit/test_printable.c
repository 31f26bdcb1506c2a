/* Text that is fit for a terminal. */
#include "printable.h"

#include "support.h"

static void test_texts(void **state)
{
    static const struct {
        const char *text, *shown;
    } cases[] = {
        {"", ""},
        {"plain, \xc3\xa4, \xe2\x82\xac and \xf0\x9f\x99\x82",
         "plain, \xc3\xa4, \xe2\x82\xac and \xf0\x9f\x99\x82"},
        {"\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"},
        {"\x1b]0;title\x07", "\\x1b]0;title\\x07"},
        {"two\nlines\r\t", "two\\x0alines\\x0d\\x09"},
        {"\x7f", "\\x7f"},
        {"\xc2\x9b"
         "31m \xc2\xa0",
         "\\xc2\\x9b31m \xc2\xa0"},
        {"\xff \xc3 \xed\xa0\x80", "\\xff \\xc3 \\xed\\xa0\\x80"},
        {"\xe2\x80\xae"
         "fdp.exe\xe2\x81\xa6",
         "\\xe2\\x80\\xaefdp.exe\\xe2\\x81\\xa6"},
        {"\xe2\x80\xa8\xe2\x80\x93", "\\xe2\\x80\\xa8\xe2\x80\x93"},
    };
    char shown[64];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_string_equal(printable(cases[i].text, shown, sizeof shown), cases[i].shown);
    }
}

/* What does not fit is cut between characters. */
static void test_cuts(void **state)
{
    static const char text[] = "a\xe2\x82\xac\x1b"
                               "b";
    static const char *const cut[] = {"", "a", "a", "a", "a\xe2\x82\xac", "a\xe2\x82\xac", "a\xe2\x82\xac",
                                      "a\xe2\x82\xac", "a\xe2\x82\xac\\x1b",
                                      /* Two, as b would be a digit of the first. */
                                      ("a\xe2\x82\xac\\x1b"
                                       "b")};
    (void)state;
    for (size_t size = 1; size <= sizeof cut / sizeof *cut; size++) {
        char *shown = malloc(size); /* so that a byte more is noticed */
        assert_string_equal(printable(text, shown, size), cut[size - 1]);
        free(shown);
    }
}

static void test_json(void **state)
{
    char *text = NULL;
    size_t size;
    FILE *file = open_memstream(&text, &size);
    (void)state;
    printable_json("{\n \"\xc2\x9b\x7f\xe2\x80\xae\xff\xc3\xa4\": 1}", file);
    assert_int_equal(fclose(file), 0);
    assert_string_equal(text, "{\n \"\\u009b\\u007f\\u202e\\ufffd\xc3\xa4\": 1}");
    free(text);
}

TEST_MAIN(cmocka_unit_test(test_texts), cmocka_unit_test(test_cuts), cmocka_unit_test(test_json))

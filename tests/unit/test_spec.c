/* Cache specs: what is accepted, what is refused, what they stand for. */
#include "comma.h"
#include "support.h"

static void accepts(void **state)
{
    (void)state;
    static const char *const good[] = {"tada",
                                       "tada:4",
                                       "tada:4/3",
                                       "tada:8/2",
                                       "tada:16",
                                       "tada:paper",
                                       "tada:window=64",
                                       "tada:3.5/3",
                                       "tada:2",
                                       "tada:6:k.widths=adaptive",
                                       "tada:high",
                                       "tada:compact:window=64",
                                       "tada:3/2:v.scale=8",
                                       "kivi:4",
                                       "tada:sinks=0",
                                       "tada:sinks=64",
                                       "tada:4:window=0:sinks=0:k.rotate=hadamard:v.axis=channel",
                                       "tada:centre=heads8:k.centre=none:v.centre=tokens",
                                       "tada:4.00/3:k.bits=3.5",
                                       "tada:4:centre=heads8:scale=32:search=minmax:group=32"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        tada_spec spec = spec_of(good[i]);
        assert_false(spec.stock);
    }
    tada_spec stock = spec_of("q8_0/q4_0");
    assert_true(stock.stock);
    assert_string_equal(stock.stock_k, "q8_0");
    assert_string_equal(stock.stock_v, "q4_0");
}

static void refuses(void **state)
{
    (void)state;
    char longest[400];
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    const char *const bad[] = {"",
                               "quux",
                               "tada:7",
                               "tada:4/",
                               "tada:/4",
                               "tada:4:window=63",
                               "tada:4:foo=1",
                               "tada:",
                               "tada:4:window",
                               "tada:-4",
                               "tada:4/3/2",
                               "q8_0/",
                               "f16:window=64",
                               "TADA",
                               "tada:4/3.5",
                               "tada:3.3/3",
                               "tada:3.5:k.axis=token",
                               "tada:3.5/3:widths=equal",
                               "tada:4:v.widths=adaptive",
                               "tada:4:widths=adaptive:group=32",
                               "tada:4:scale=8",
                               "tada:4:v.scale=8:v.axis=channel",
                               "tada:4:v.scale=9",
                               "tada:highest",
                               "tada:high:4",
                               "kivi",
                               "kivi:3",
                               "tada:4:sinks=65",
                               "tada:4:sinks=-1",
                               "tada:4:sinks=",
                               "tada:window_bits=4",
                               "tada:window_bits=0",
                               "tada:window_bits=",
                               "tada:refine=yes",
                               "tada:refine=",
                               "tada:k.refine=on",
                               "tada:4:k.group=48",
                               "tada:99999999999",
                               "tada:4294967300",
                               "tada:window=4294967296",
                               "tada4",
                               longest};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        tada_spec spec, before;
        tada_error error = {""};
        memset(&spec, 0x5a, sizeof spec);
        before = spec;
        if (tada_spec_parse(bad[i], &spec, &error) == TADA_OK) {
            fail_msg("'%s' was accepted", bad[i]);
        }
        assert_memory_equal(&spec, &before, sizeof spec);
        assert_true(strlen(error.text) > 10);
        assert_int_not_equal(tada_spec_parse(bad[i], &spec, NULL), TADA_OK);
    }
}

/* Numbers are digits, for bits of K with two after a point at most. */
static void numbers(void **state)
{
    (void)state;
    static const char *const before[] = {"tada:",        "tada:4/",           "tada:k.bits=", "tada:v.group=",
                                         "tada:window=", "tada:window_bits=", "tada:sinks="};
    static const char *const bad[] = {"0x4",  "0x40", "4e0", "6.4e1", " 16",   "+16",  "-0",
                                      "16 ",  "16\n", "4.",  ".5",    "4,5",   "4.5.", "4.550",
                                      "4..5", "inf",  "nan", "\t16",  "0x4p1", ""};
    for (size_t i = 0; i < sizeof before / sizeof *before; i++) {
        for (size_t j = 0; j < sizeof bad / sizeof *bad; j++) {
            char text[64];
            tada_spec spec;
            tada_error error = {""};
            snprintf(text, sizeof text, "%s%s", before[i], bad[j]);
            if (tada_spec_parse(text, &spec, &error) == TADA_OK) {
                fail_msg("'%s' was accepted", text);
            }
            assert_true(strlen(error.text) > 10);
        }
    }
}

/* A host may have called setlocale, as llama-cli does: where numbers have a comma, specs still have a point.
 */
static void other_locales(void **state)
{
    (void)state;
    if (!comma_locale()) {
        skip();
    }
    tada_error error = {""};
    tada_spec spec = {0};
    enum tada_status point = tada_spec_parse("tada:3.5/3", &spec, &error);
    enum tada_status comma = tada_spec_parse("tada:3,5/3", &spec, NULL);
    comma_locale_done();
    if (point != TADA_OK) {
        fail_msg("tada:3.5/3: %s", error.text);
    }
    assert_int_equal(spec.k.quarters, 14);
    assert_int_not_equal(comma, TADA_OK);
}

/* An option of K changes nothing of V, nor the other way round. */
static void one_plane(void **state)
{
    (void)state;
    tada_spec plain = spec_of("tada:4/5"), s = spec_of("tada:4/5:k.axis=token:k.scale=8");
    assert_int_equal(plain.v.scale, TADA_SCALE_16);
    assert_int_equal(s.v.scale, TADA_SCALE_16);
    assert_memory_equal(&s.v, &plain.v, sizeof s.v);
    assert_int_equal(s.k.scale, TADA_SCALE_8);
    assert_int_equal(spec_of("tada:4/5:v.scale=8").v.scale, TADA_SCALE_8);
    assert_int_equal(spec_of("tada:4/5:axis=token:scale=8").v.scale, TADA_SCALE_8);
    assert_int_equal(spec_of("tada:4/3:axis=token:scale=8:v.scale=16").v.scale, TADA_SCALE_16);
    static const char *const options[] = {"bits=6",     "group=32",     "rotate=hadamard",
                                          "axis=token", "axis=channel", "centre=heads8",
                                          "scale=32",   "scale=16",     "search=minmax"};
    for (size_t i = 0; i < 2 * sizeof options / sizeof *options; i++) {
        char text[64];
        bool of_v = i % 2;
        snprintf(text, sizeof text, "tada:%c.%s", of_v ? 'v' : 'k', options[i / 2]);
        tada_spec changed = spec_of(text), from = spec_of("tada");
        assert_memory_equal(of_v ? &changed.k : &changed.v, of_v ? &from.k : &from.v, sizeof from.k);
    }
}

/* What is said twice, or not at all, is a mistake: which of both holds would be a guess. */
static void given_once(void **state)
{
    (void)state;
    static const char *const bad[][2] = {{"", "empty"},
                                         {"tada:window=64:window=128", "'window'"},
                                         {"tada:4:sinks=4:sinks=4", "'sinks'"},
                                         {"tada:refine=on:refine=on", "'refine'"},
                                         {"tada:window_bits=8:window_bits=16", "'window_bits'"},
                                         {"tada:k.bits=4:k.bits=5", "'k.bits'"},
                                         {"tada:bits=4:v.bits=3:bits=5", "'bits'"},
                                         {"tada:v.scale=8:scale=16", "'scale'"},
                                         {"tada:k.widths=equal:k.widths=adaptive", "'k.widths'"},
                                         {"tada:centre=none:k.centre=heads8:k.centre=none", "'k.centre'"},
                                         {"tada:4:", "key=value"},
                                         {"tada:4::window=64", "key=value"},
                                         {"tada::window=64", "after 'tada:'"},
                                         {"tada:window=64:", "key=value"},
                                         {"tada:high:", "key=value"},
                                         {"kivi:2::", "key=value"},
                                         {"tada:4:=4", "options are"},
                                         {"tada:4:k.=4", "options are"},
                                         {"tada:4:k.k.bits=4", "options are"},
                                         {"tada:4:k.window=64", "options are"},
                                         {"tada:4/", "after 'tada:'"},
                                         {"tada:/", "after 'tada:'"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        tada_spec spec;
        tada_error error = {""};
        if (tada_spec_parse(bad[i][0], &spec, &error) == TADA_OK) {
            fail_msg("'%s' was accepted", bad[i][0]);
        }
        if (!strstr(error.text, bad[i][1])) {
            fail_msg("'%s': %s", bad[i][0], error.text);
        }
    }
}

static void defaults(void **state)
{
    (void)state;
    tada_spec s = spec_of("tada");
    assert_int_equal(s.k.quarters, 16);
    assert_int_equal(s.k.axis, TADA_AXIS_CHANNEL);
    assert_int_equal(s.v.bits, 3);
    assert_int_equal(s.v.axis, TADA_AXIS_TOKEN);
    assert_int_equal(s.v.rotation, TADA_ROTATE_HADAMARD);
    assert_int_equal(s.window, 64);
    assert_int_equal(s.sinks, 4);
    assert_int_equal(spec_of("tada:paper").sinks, 0);
    tada_shape shape = {TADA_K, 192, 8192, 1, 0};
    assert_true((double)tada_plane_bytes(&s, &shape) <= 0.29 * 8192 * 192 * 2);
    shape.kind = TADA_V;
    assert_true((double)tada_plane_bytes(&s, &shape) <= 0.23 * 8192 * 192 * 2);
}

/* Bits of K share themselves out among the channels unless other options forbid it. */
static void adaptive_widths(void **state)
{
    (void)state;
    assert_int_equal(spec_of("tada:3.25/3").k.quarters, 13);
    assert_int_equal(spec_of("tada:3").k.quarters, 12);
    assert_int_equal(spec_of("tada:3").v.quarters, 0);
    assert_int_equal(spec_of("tada:4:widths=equal").k.quarters, 0);
    assert_int_equal(spec_of("tada:8").k.quarters, 0);
    assert_int_equal(spec_of("tada:8").k.bits, 8);
    assert_int_equal(spec_of("tada:4:k.axis=token").k.quarters, 0);
    assert_int_equal(spec_of("tada:4:scale=32").k.quarters, 0);
    assert_int_equal(spec_of("tada:4:k.widths=equal:k.bits=5").k.bits, 5);
    /* The same bits in all, but for half a byte for 8 channels. */
    tada_spec equal = spec_of("tada:4:widths=equal:window=0:sinks=0"), s = spec_of("tada:4:window=0:sinks=0");
    tada_shape shape = {TADA_K, 192, 8192, 1, 0};
    size_t more = tada_plane_bytes(&s, &shape) - tada_plane_bytes(&equal, &shape);
    /* All tiles but the one that is being written. */
    assert_int_equal(more, 127 * 192 / 16);
}

static void names(void **state)
{
    (void)state;
    tada_spec plain = spec_of("tada"), balanced = spec_of("tada:balanced");
    assert_memory_equal(&plain, &balanced, sizeof plain);
    tada_shape shape = {TADA_K, 128, 65536, 1, 0};
    tada_spec high = spec_of("tada:high"), compact = spec_of("tada:compact");
    assert_true(tada_plane_bytes(&compact, &shape) < tada_plane_bytes(&plain, &shape));
    assert_true(tada_plane_bytes(&plain, &shape) < tada_plane_bytes(&high, &shape));
    assert_int_equal(spec_of("tada:high:window=128").window, 128);
    assert_int_equal(spec_of("tada:window_bits=8").window_bits, 8);
    assert_int_equal(spec_of("tada").window_bits, 8);
    assert_int_equal(spec_of("tada:4/3:window=128").window_bits, 8);
    assert_true(spec_of("kivi:2").window_bits != 8 && spec_of("tada:paper").window_bits != 8);
    assert_int_equal(spec_of("tada:window_bits=16").window_bits, 16);
    assert_int_equal(spec_of("tada").refine, TADA_REFINE_ON);
    assert_int_equal(spec_of("tada:4/3:refine=off:window=128").refine, TADA_REFINE_OFF);
    assert_int_equal(spec_of("tada:compact:refine=on").refine, TADA_REFINE_ON);
    tada_spec kivi = spec_of("kivi:2");
    assert_int_equal(kivi.k.bits, 2);
    assert_int_equal(kivi.k.group, 32);
    assert_int_equal(kivi.v.axis, TADA_AXIS_TOKEN);
    assert_int_equal(kivi.window, 128);
}

/* A plan's path may be as long as paths are. */
static void plans(void **state)
{
    char text[4096] = "tada:@";
    (void)state;
    memset(text + strlen(text), 'x', sizeof text - strlen(text) - 1);
    text[sizeof text - 1] = '\0';
    assert_true(spec_of(text).plan);
    assert_ptr_equal(tada_spec_plan_path(text), text + 6);
    assert_false(spec_of("tada").plan);
    assert_null(tada_spec_plan_path("tada:@"));
}

TEST_MAIN(cmocka_unit_test(accepts), cmocka_unit_test(refuses), cmocka_unit_test(numbers),
          cmocka_unit_test(other_locales), cmocka_unit_test(one_plane), cmocka_unit_test(given_once),
          cmocka_unit_test(defaults), cmocka_unit_test(adaptive_widths), cmocka_unit_test(names),
          cmocka_unit_test(plans))

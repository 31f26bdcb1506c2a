/* Which plug-in fits which host. */
#include "ggml_version.h"

#include "support.h"

static void test_fits(void **state)
{
    static const struct {
        const char *version, *commit, *other_version, *other_commit;
        bool fits;
    } cases[] = {
        {"0.25.3", "1a2b3c4", "0.25.3", "1a2b3c4", true},
        {"0.25.3", "1a2b3c4", "0.25.4", "1a2b3c4", false},
        {"0.25.3", "1a2b3c4", "0.25.3", "1a2b3c5", false},
        {"0.25.3", "unknown", "0.25.4", "unknown", false},
        {"0.25.3", "unknown", "0.25.3", "1a2b3c4", true},
        {"0.25.3", "unknown", "0.25.3", "unknown", true},
        /* Git abbreviates to what is unique in the repository at hand, which may have one commit or all. */
        {"0.25.3", "1a2b3c4", "0.25.3", "1a2b3c4d5", true},
        {"0.25.3", "1a2b3c4", "0.25.3", "1a2b3c5d5", false},
        {"0.25.3", "1a2b3c4d5", "0.25.3", "1a2b3c4d6", false},
        /* Less says too little. */
        {"0.25.3", "1a2b3c", "0.25.3", "1a2b3c4", false},
        {"0.25.3", "", "0.25.3", "1a2b3c4", false},
        /* Somebody changed it. */
        {"0.25.3", "1a2b3c4", "0.25.3", "1a2b3c4-dirty", false},
        {"0.25.3", "1a2b3c4-dirty", "0.25.3", "1a2b3c4d5-dirty", false},
        {"0.25.3", "1a2b3c4-dirty", "0.25.3", "1a2b3c4-dirty", true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bool forth = ggml_version_fits(cases[i].version, cases[i].commit, cases[i].other_version,
                                       cases[i].other_commit);
        bool back = ggml_version_fits(cases[i].other_version, cases[i].other_commit, cases[i].version,
                                      cases[i].commit);
        if (forth != cases[i].fits || back != cases[i].fits) {
            fail_msg("%s (%s) and %s (%s)", cases[i].version, cases[i].commit, cases[i].other_version,
                     cases[i].other_commit);
        }
    }
}

TEST_MAIN(cmocka_unit_test(test_fits))

#include "sets.h"

#include <signal.h>

#define KERNELS(name, symbol, check) extern const tada_kernels symbol;
#include "kernels/kernels.def"
#undef KERNELS

uint64_t sets_seed;

static char text[600];
static void (*next_handler)(int);

int sets_list(kernel_set sets[MOST_SETS])
{
    static const kernel_set all[] = {
#define KERNELS(name, symbol, check) {#name, &symbol, false},
#include "kernels/kernels.def"
#undef KERNELS
    };
    int n = (int)(sizeof all / sizeof all[0]);
    for (int i = 0; i < n; i++) {
        sets[i] = all[i];
        sets[i].runs = tada_kernels_select(all[i].name) == TADA_OK;
    }
    return n;
}

void case_is(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
}

const char *case_text(void)
{
    return text;
}

/* The process is about to end or to leave this test: the message is worth a call that handlers should not
 * make. */
static void say_case(int number)
{
    print_error("touched memory that is not its own: %s\n", text);
    if (next_handler && next_handler != SIG_DFL && next_handler != SIG_IGN) {
        next_handler(number);
    }
    signal(number, SIG_DFL);
}

const tada_kernels *test_begin(void *state)
{
    const kernel_set *set = state;
    assert_int_equal(tada_kernels_select(set->name), TADA_OK);
    case_is("%s", set->name);
    /* After the test runner, which sets its own before every test. */
    void (*before)(int) = signal(SIGSEGV, say_case);
    if (before != say_case) {
        next_handler = before;
    }
    signal(SIGBUS, say_case);
    return set->kernels;
}

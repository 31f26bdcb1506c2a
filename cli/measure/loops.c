#include "loops.h"

bool ends_in_loop(const int32_t *tokens, int n)
{
    for (int period = 1; LOOP_TIMES * period <= n; period++) {
        int repeated = 0; /* tokens at the end that are those of a period before */
        while (repeated < n - period && tokens[n - 1 - repeated] == tokens[n - 1 - repeated - period]) {
            repeated++;
        }
        int length = repeated + period;
        if (length >= LOOP_TIMES * period && length >= LOOP_LEAST) {
            return true;
        }
    }
    return false;
}

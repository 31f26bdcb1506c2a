/* Loops: answers that repeat themselves to the end. */
#ifndef TADA_CLI_MEASURE_LOOPS_H
#define TADA_CLI_MEASURE_LOOPS_H

#include <stdbool.h>
#include <stdint.h>

enum { LOOP_TIMES = 3, LOOP_LEAST = 32 };

/* Whether n tokens end with one piece that stands there at least LOOP_TIMES times in a row, over LOOP_LEAST
 * tokens in all; the first of them may be cut. */
bool ends_in_loop(const int32_t *tokens, int n);

#endif

/*
 * Numbers as people write them on a command line: digits, and nothing beside them. No blanks, no sign, no
 * exponent and no 0x, and the same in every locale.
 */
#ifndef TADA_CLI_OPTIONS_NUMBERS_H
#define TADA_CLI_OPTIONS_NUMBERS_H

#include <stdbool.h>
#include <stddef.h>

/* A whole number from least to most; otherwise *number stays. */
bool number_whole(const char *text, long long least, long long most, long long *number);

/* Reads a number such as 3 or 3.5 from the start of the text. Its length; 0: there is none. */
size_t number_decimal(const char *text, double *number);

#endif

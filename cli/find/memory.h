/* Numbers that the system tells, and how much memory is free. */
#ifndef TADA_CLI_FIND_MEMORY_H
#define TADA_CLI_FIND_MEMORY_H

/* The number in a file of one number, or after `key` in a file of lines "key number", as /proc has them; -1
 * when it is not there. */
double system_number(const char *path, const char *key);

/* Bytes of memory that can still be had, within what a container allows; -1: unknown. */
double memory_available(void);

#endif

/* Numbers that the system tells, and how much memory is free. */
#ifndef TADA_CLI_FIND_MEMORY_H
#define TADA_CLI_FIND_MEMORY_H

/* Reads a number from a file as /proc and /sys have them: after `key` in lines "key number", or, with key
 * NULL, the first one. -1: there is none. */
double system_number(const char *path, const char *key);

/* Bytes that a group of processes, such as "/system.slice/a.service" in /sys/fs/cgroup, and those that it
 * lies in may still get; -1: none of them has a limit. */
double memory_left_in_groups(const char *root, const char *group);
/* Bytes of memory that this process can still get, within the limits of its container; -1: unknown. */
double memory_available(void);

#endif

/* Files without a name, which are gone when they are closed. */
#ifndef TADA_NAMELESS_H
#define TADA_NAMELESS_H

/* All return a descriptor that is open for reading and writing; -1: errno says why. */

/* A file on the disk of `folder`, or in memory where that disk cannot have one. NULL: $TMPDIR, or /tmp. */
int nameless_open(const char *folder);
/* Standard input as a plain file. When it is no plain file, or has been read from, what is left of it is
 * copied to a file without a name. The descriptor may be open for reading only. */
int nameless_input(void);

#endif

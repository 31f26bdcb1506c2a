/* Files without a name, which are gone with the process. */
#ifndef TADA_NAMELESS_H
#define TADA_NAMELESS_H

/* All return a descriptor that is open for reading and writing; -1: errno says why. */

/* On the disk of a folder if that can be, else in memory. NULL: of the folder for temporary files. */
int nameless_open(const char *folder);
/* Standard input as a plain file: if it is none, or is read from its middle on, all that comes out of it. The
 * descriptor may be for reading alone. */
int nameless_input(void);

#endif

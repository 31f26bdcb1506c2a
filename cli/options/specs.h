/* Cache specs on the command line. */
#ifndef TADA_CLI_OPTIONS_SPECS_H
#define TADA_CLI_OPTIONS_SPECS_H

#include "tada.h"

/* Those that have a name, ended by NULL: what is completed, and what is proposed for one that does not exist.
 */
extern const char *const spec_names[];

/* As tada_spec_parse; where it fails, prints why, after `from` (such as "TADA_CACHE: "), with what was meant
 * most likely, and returns EXIT_USAGE. */
int spec_take(const char *command, const char *from, const char *text, tada_spec *spec);

#endif

/* Checks that the llama.cpp that loads the plug-in is the version that it was compiled for. */
#ifndef PLUGIN_POLICY_HOST_H
#define PLUGIN_POLICY_HOST_H

#include <stdbool.h>

/* False: it is not, and one line on stderr says what to rebuild. */
bool host_fits(void);

#endif

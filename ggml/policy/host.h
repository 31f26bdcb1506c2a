/* Does the llama.cpp that loads us have the structures that we were compiled for? */
#ifndef PLUGIN_POLICY_HOST_H
#define PLUGIN_POLICY_HOST_H

#include <stdbool.h>

/* Prints one line that says what to rebuild when it returns false. */
bool host_fits(void);

#endif

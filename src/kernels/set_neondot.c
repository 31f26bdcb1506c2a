#define TADA_SET_NAME "neondot"
#define TADA_SET_SYMBOL tada_kernels_neondot
#define TADA_SET_NEON
#include "set.h"

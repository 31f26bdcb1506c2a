#define TADA_SET_NAME "neon"
#define TADA_SET_SYMBOL tada_kernels_neon
#define TADA_SET_NEON
#include "set.h"

#define TADA_SET_NAME "neoni8mm"
#define TADA_SET_SYMBOL tada_kernels_neoni8mm
#define TADA_SET_NEON
#include "set.h"

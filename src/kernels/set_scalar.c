#define TADA_SET_NAME "scalar"
#define TADA_SET_SYMBOL tada_kernels_scalar
#include "set.h"

#define TADA_SET_NAME "avx2"
#define TADA_SET_SYMBOL tada_kernels_avx2
#include "set.h"

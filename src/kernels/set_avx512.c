#define TADA_SET_NAME "avx512"
#define TADA_SET_SYMBOL tada_kernels_avx512
#include "set.h"

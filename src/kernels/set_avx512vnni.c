#define TADA_SET_NAME "avx512vnni"
#define TADA_SET_SYMBOL tada_kernels_avx512vnni
#include "set.h"

#define TADA_SET_NAME "avxvnni"
#define TADA_SET_SYMBOL tada_kernels_avxvnni
#include "set.h"

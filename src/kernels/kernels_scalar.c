#define TADA_SET_NAME "scalar"
#define TADA_SET_SYMBOL tada_kernels_scalar
#include "kernels_template.h"

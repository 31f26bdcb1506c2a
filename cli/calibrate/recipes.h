/* The recipes that calibration tries, and what their errors count for. */
#ifndef TADA_CLI_CALIBRATE_RECIPES_H
#define TADA_CLI_CALIBRATE_RECIPES_H

#include "engine/engine.h"

/* Quarters of a bit at which sensitivities are measured: few enough to stand out from rounding. */
enum { K_PROBE = 10, V_PROBE = 8 };

/* [k_width / 8]: what an error in each 8 channels of K counts for, the mean square of what queries ask of
 * them. The caller's to free; NULL: memory is short. */
float *calibration_weights(const tada_layer_statistics *statistics);

/* Plane i of a plan in the order K, V of layer 0, ...; what its recipe is with so many quarters of a bit (V:
 * whole bits). */
tada_recipe recipe_of_quarters(int plane, int quarters);

#endif

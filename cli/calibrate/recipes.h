/* The recipes that calibration tries, and the weights of errors in K. */
#ifndef TADA_CLI_CALIBRATE_RECIPES_H
#define TADA_CLI_CALIBRATE_RECIPES_H

#include "engine/engine.h"

/* Quarters of a bit at which sensitivities are measured: so few that errors stand out from rounding. */
enum { K_PROBE = 10, V_PROBE = 8 };

/* The weights of errors in K, one for each 8 channels: the mean square of the queries that read them, over
 * that of all channels. Result: [k_width / 8], which the caller frees. NULL: memory is short. */
float *calibration_weights(const tada_layer_statistics *statistics);

/* The usual recipe of plane number `plane` (K of layer 0, V of layer 0, K of layer 1, ...) with so many
 * quarters of a bit. V: a multiple of 4. */
tada_recipe recipe_of_quarters(int plane, int quarters);

#endif

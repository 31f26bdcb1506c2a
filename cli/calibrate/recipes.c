/* Recipes by their bits, and weights from the statistics of queries. */
#include "recipes.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

tada_recipe recipe_of_quarters(int plane, int quarters)
{
    tada_spec spec;
    char text[32];
    /* Words of V differ with its bits. */
    snprintf(text, sizeof text, "tada:4/%d", plane % 2 ? quarters / 4 : 4);
    tada_spec_parse(text, &spec, NULL);
    tada_recipe recipe = plane % 2 ? spec.v : spec.k;
    recipe.bits = quarters / 4;
    recipe.quarters = plane % 2 || quarters >= 32 ? 0 : quarters;
    return recipe;
}

float *calibration_weights(const tada_layer_statistics *statistics)
{
    int n = statistics->k_width / 8;
    float *weights = malloc((size_t)n * sizeof *weights);
    double all = 0;
    for (int d = 0; d < statistics->k_width; d++) {
        all += statistics->q_squares[d] / statistics->k_width;
    }
    for (int i = 0; i < n && weights; i++) {
        double sum = 0;
        for (int d = 8 * i; d < 8 * i + 8; d++) {
            sum += statistics->q_squares[d] / 8;
        }
        /* Never nothing: other texts may ask for what this one did not. */
        weights[i] = all > 0 ? (float)fmax(sum / all, 1e-3) : 1;
    }
    return weights;
}

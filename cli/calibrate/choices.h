/*
 * Choices: what other recipes and windows of one plane do to attention, measured on the model's own rows and
 * queries. With this plane alone compressed, the squared error of attention's output is compared with that of
 * the usual recipe
 * ("tada").
 */
#ifndef TADA_CLI_CALIBRATE_CHOICES_H
#define TADA_CLI_CALIBRATE_CHOICES_H

#include "engine/engine.h"

/* How many recipes are tried, the usual one first; bits at which its error is measured; windows. */
enum { CHOICES_MOST = 5, CHOICES_POINTS = 3, CHOICES_WINDOWS = 3 };

/* Sums of squared errors; 0: not measured. */
struct plane_choices {
    double candidates[CHOICES_MOST];
    double points[CHOICES_POINTS];
    double windows[CHOICES_WINDOWS];
    int best; /* the candidate to take */
};

struct choices {
    struct plane_choices planes[2 * TADA_PLAN_LAYERS]; /* K, V of layer 0, ... */
};

/* Cells of window number i. */
int choices_window(int i);

/*
 * Adds the errors on the last batch of the cache that the plug-in watches. n_tokens have been decoded to its
 * first cells, and it is uncompressed. Layers that the plug-in saw nothing of are left out. Returns an exit
 * status.
 */
int choices_measure(const struct engine *engine, int n_tokens, int n_threads, struct choices *choices);

/* Chooses the candidate of each plane when all is measured: the usual one, unless another has clearly less
 * error for its bytes. */
void choices_take(const tada_plan *plan, struct choices *choices);

/* The recipe of a plane with so many quarters of a bit (recipe_of_quarters), changed as its best candidate
 * is. */
tada_recipe choices_recipe(const struct choices *choices, int plane, int quarters);
/* The expected error with that recipe and window number `window`, over the error of the usual recipe at
 * K_PROBE or V_PROBE quarters without a window. */
double choices_error(const struct choices *choices, int plane, int quarters, int window);

/* Prints how many planes get another recipe than the usual one. */
void choices_print(const struct choices *choices, const tada_plan *plan);

#endif

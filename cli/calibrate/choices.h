/*
 * Choices: what recipes and windows of one plane do to attention, measured on rows and queries of the model's
 * own. Each is compared with the usual recipe ("tada") by the squared error of attention's output, with this
 * plane alone compressed.
 */
#ifndef TADA_CLI_CALIBRATE_CHOICES_H
#define TADA_CLI_CALIBRATE_CHOICES_H

#include "engine/engine.h"

/* Candidates of a plane, the usual recipe first; points of its error over the bits; windows. */
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
 * Adds what the last batch of a cache shows that the plug-in watches: n_tokens have been decoded to the first
 * cells of an uncompressed one. Layers of which nothing can be told are left out. Returns an exit status.
 */
int choices_measure(const struct engine *engine, int n_tokens, int n_threads, struct choices *choices);

/* Chooses the best candidate of each plane, once all is measured: the usual one unless another has clearly
 * less error for its bytes. */
void choices_take(const tada_plan *plan, struct choices *choices);

/* The usual recipe of a plane (see recipe_of_quarters) as its best candidate has it. */
tada_recipe choices_recipe(const struct choices *choices, int plane, int quarters);
/* The expected error with that recipe and window number i over that of the usual one without a window at
 * K_PROBE or V_PROBE quarters. */
double choices_error(const struct choices *choices, int plane, int quarters, int window);

/* Says how many planes another recipe than the usual one fits better. */
void choices_print(const struct choices *choices, const tada_plan *plan);

#endif

/* The folder of plans: $TADA_PLANS, else $XDG_DATA_HOME/tada/plans, else ~/.local/share/tada/plans. */
#ifndef TADA_PLANS_H
#define TADA_PLANS_H

#include "tada.h"

#include <limits.h>

struct engine;

/* False: none of these variables is set. */
bool plans_folder(char path[PATH_MAX]);
/* The path in that folder for a plan of a model file and a budget such as "27%"; makes the folder. Prints
 * what is wrong and returns an exit status. */
int plans_new_path(const char *model_path, const char *budget, char path[PATH_MAX]);

/* What was measured of the plan itself: its share of f16's memory, and mean KL divergence; 0 and infinite: it
 * was not. */
void plan_measured(const tada_plan *plan, double *memory, double *kld);

struct found_plan {
    char path[PATH_MAX]; /* "": none fits */
    tada_plan *plan;     /* the caller's to free */
    double memory, kld;  /* as measured */
    int n_fitting;       /* plans of this model, whatever their memory */
};

/*
 * Of the plans of a model the one with the least measured KL divergence that keeps at most `budget` of f16's
 * bytes; of equal ones the first by name. Other files in the folder are passed over. The engine needs only
 * its plug-in.
 */
void plans_find(const struct engine *engine, const char *folder, uint64_t fingerprint, double budget,
                struct found_plan *found);

#endif

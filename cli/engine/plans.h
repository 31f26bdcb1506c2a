/* Plan files, and the folder of plans: $TADA_PLANS, else $XDG_DATA_HOME/tada/plans, else
 * ~/.local/share/tada/plans. */
#ifndef TADA_CLI_ENGINE_PLANS_H
#define TADA_CLI_ENGINE_PLANS_H

#include "tada.h"
#include "new_file.h"

#include <limits.h>

struct model_file;

/* The path of the folder. False: none of these variables is set, nor HOME. */
bool plans_folder(char path[PATH_MAX]);
/* The path in that folder for a plan of a model file and a budget such as "27%". Makes the folder. Prints
 * what is wrong and returns an exit status. */
int plans_new_path(const char *model_path, const char *budget, char path[PATH_MAX]);

/* What calibration measured of the plan itself: its share of f16's memory, and its mean KL divergence in
 * nats. 0 and INFINITY: it measured nothing. */
void plan_measured(const tada_plan *plan, double *memory, double *kld);

/* Checks that a plan is for this model, as far as the model's file tells. EXIT_USAGE, with a message: it is
 * not. */
int plan_check(const tada_plan *plan, const char *path, const struct model_file *model);
/* The same for each of n specs that names a plan, before the model is loaded. A plan that cannot be read is
 * an error, too; a model that the ggml of a tool cannot read is left to llama.cpp. */
int plans_check(const char *tool, const char *model_path, const char *const *specs, int n);
/* Reads a plan. The caller frees *plan, also after an error. Prints what is wrong and returns an exit
 * status. */
int plan_read(const char *path, tada_plan **plan);
/* The same with plan_check. */
int plan_read_for(const char *path, const struct model_file *model, tada_plan **plan);

/* Writes a plan to a file. Prints what is wrong and returns an exit status. */
int plan_save(const tada_plan *plan, const char *path, const new_file_rules *rules);

struct found_plan {
    char path[PATH_MAX]; /* "": none fits */
    tada_plan *plan;     /* the caller's to free */
    double memory, kld;  /* as measured */
    int n_fitting;       /* plans of this model, whatever their memory */
};

/*
 * Finds, of the plans of a model in a folder, the one with the least KL divergence that takes at most
 * `budget` of f16's bytes (0 to 1); of equal ones the first by name. Other files are skipped.
 */
void plans_find(const char *folder, uint64_t fingerprint, double budget, struct found_plan *found);

#endif

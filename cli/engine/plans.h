/* The folder of plans: $TADA_PLANS, else $XDG_DATA_HOME/tada/plans, else ~/.local/share/tada/plans. */
#ifndef TADA_CLI_ENGINE_PLANS_H
#define TADA_CLI_ENGINE_PLANS_H

#include "tada.h"
#include "new_file.h"

#include <limits.h>

struct engine;
struct model_file;

/* False: none of these variables is set. */
bool plans_folder(char path[PATH_MAX]);
/* The path in that folder for a plan of a model file and a budget such as "27%"; makes the folder. Prints
 * what is wrong and returns an exit status. */
int plans_new_path(const char *model_path, const char *budget, char path[PATH_MAX]);

/* What was measured of the plan itself: its share of f16's memory, and mean KL divergence; 0 and infinite: it
 * was not. */
void plan_measured(const tada_plan *plan, double *memory, double *kld);

/* Prints what is wrong and returns EXIT_USAGE where a plan is not for this model, as far as its file tells.
 */
int plan_check(const tada_plan *plan, const char *path, const struct model_file *model);
/* The same for each of n specs that names a plan, before the model is loaded; also when a plan cannot be
 * read. A model that cannot be read is left to llama.cpp. */
int plans_check(const struct engine *engine, const char *model_path, const char *const *specs, int n);
/* Reads a plan that was asked for, with a plug-in in the llama.cpp of a tool, and checks it; *plan is the
 * caller's to free. Prints what is wrong with it and returns an exit status; 0 and NULL: the plug-in does not
 * load, as the tool will say, too. */
int plan_read_for(const char *tool, const char *plugin, const char *path, const struct model_file *model,
                  tada_plan **plan);

/* Writes a plan to a file. Prints what is wrong and returns an exit status. */
int plan_save(const struct engine *engine, const tada_plan *plan, const char *path,
              const new_file_rules *rules);

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

/* Finding, reading, checking and writing plans. */
#include "plans.h"

#include "find/paths.h"
#include "model_file.h"
#include "output/note.h"
#include "output/output.h"
#include "output/plan_page.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char suffix[] = ".gguf";

bool plans_folder(char path[PATH_MAX])
{
    const char *chosen = environment("TADA_PLANS"), *data = environment("XDG_DATA_HOME"),
               *home = environment("HOME");
    if (chosen) {
        return snprintf(path, PATH_MAX, "%s", chosen) < PATH_MAX;
    }
    /* Relative paths there count as none, says the XDG base directory specification. */
    return data && *data == '/' ? join_path(path, PATH_MAX, data, "tada/plans")
                                : home && join_path(path, PATH_MAX, home, ".local/share/tada/plans");
}

/* Makes a folder and those that it lies in. */
static bool make_folders(const char *path)
{
    char part[PATH_MAX];
    snprintf(part, sizeof part, "%s", path);
    for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(part, 0777) != 0 && errno != EEXIST) {
            return false;
        }
        *slash = '/';
    }
    return mkdir(part, 0777) == 0 || errno == EEXIST;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n > m && strcmp(text + n - m, end) == 0;
}

int plans_new_path(const char *model_path, const char *budget, char path[PATH_MAX])
{
    char folder[PATH_MAX], file[PATH_MAX];
    const char *slash = strrchr(model_path, '/');
    const char *model = slash ? slash + 1 : model_path;
    int stem = (int)strlen(model) - (ends_with(model, suffix) ? (int)strlen(suffix) : 0);
    if (!plans_folder(folder) || !make_folders(folder)) {
        cli_fail("There is no folder for plans: give a file with -o, or a folder in TADA_PLANS.");
        return EXIT_USAGE;
    }
    if (snprintf(file, sizeof file, "%.*s-%s%s", stem, model, budget, suffix) >= (int)sizeof file ||
        !join_path(path, PATH_MAX, folder, file)) {
        cli_fail("The folder of plans has too long a name: give a file with -o.");
        return EXIT_USAGE;
    }
    return 0;
}

void plan_measured(const tada_plan *plan, double *memory, double *kld)
{
    *memory = 0;
    *kld = INFINITY;
    for (int i = 0; i < tada_plan_points(plan); i++) {
        const tada_plan_point *point = tada_plan_get_point(plan, i);
        if (strcmp(point->cache, "plan") == 0) {
            *memory = point->memory;
            *kld = point->kld;
        }
    }
}

/* The layers that both know differ; or, where nothing else tells the model, it has more than the plan. */
static bool has_other_layers(const tada_plan *plan, const struct model_file *model, bool is_told)
{
    for (int i = 0; i < 2 * model->n_layers; i++) {
        const tada_plan_plane *plane = plan_plane(plan, i);
        int width = plane ? plane->width : 0;
        if (model->widths[i] > 0 && model->widths[i] != width && (width > 0 || !is_told)) {
            return true;
        }
    }
    return false;
}

int plan_check(const tada_plan *plan, const char *path, const struct model_file *model)
{
    const tada_plan_info *info = tada_plan_get_info(plan);
    bool is_told = info->fingerprint && model->fingerprint;
    if (is_told && info->fingerprint != model->fingerprint) {
        cli_fail("The plan %s is for another model, %s: make one for this model with 'tada calibrate'.", path,
                 info->model);
        return EXIT_USAGE;
    }
    if (has_other_layers(plan, model, is_told)) {
        cli_fail(
            "The plan %s is for a model with other layers: make one for this model with 'tada calibrate'.",
            path);
        return EXIT_USAGE;
    }
    return 0;
}

int plan_read(const char *path, tada_plan **plan)
{
    tada_error error;
    if (tada_plan_load(path, plan, &error) != TADA_OK) {
        cli_fail("%s", error.text);
        return EXIT_USAGE;
    }
    return 0;
}

int plan_read_for(const char *path, const struct model_file *model, tada_plan **plan)
{
    int status = plan_read(path, plan);
    if (status != 0) {
        return status;
    }
    status = plan_check(*plan, path, model);
    if (status != 0) {
        tada_plan_free(*plan);
        *plan = NULL;
    }
    return status;
}

int plans_check(const char *tool, const char *model_path, const char *const *specs, int n)
{
    struct model_file model = {0};
    bool is_known = false;
    int status = 0;
    for (int i = 0; i < n && status == 0; i++) {
        const char *path = tada_spec_plan_path(specs[i]);
        tada_plan *plan;
        if (!path) {
            continue;
        }
        status = plan_read(path, &plan);
        is_known = is_known || (status == 0 && model_file_read(tool, model_path, &model));
        status = status == 0 && is_known ? plan_check(plan, path, &model) : status;
        tada_plan_free(plan);
    }
    model_file_free(&model);
    return status;
}

int plan_save(const tada_plan *plan, const char *path, const new_file_rules *rules)
{
    struct output output;
    tada_error error;
    int status = output_open(path, rules, &output);
    if (status != 0) {
        return status;
    }
    bool good = tada_plan_save(plan, output.target.fd, &error) == TADA_OK;
    status = output_close(&output, good);
    return good ? status : cli_fail("%s: %s", path, error.text);
}

static bool is_better(const char *path, double kld, const struct found_plan *than)
{
    return !*than->path || kld < than->kld || (kld == than->kld && strcmp(path, than->path) < 0);
}

void plans_find(const char *folder, uint64_t fingerprint, double budget, struct found_plan *found)
{
    *found = (struct found_plan){.kld = INFINITY};
    DIR *list = fingerprint ? opendir(folder) : NULL;
    for (struct dirent *entry; list && (entry = readdir(list));) {
        char path[PATH_MAX];
        tada_plan *plan;
        double memory, kld;
        if (*entry->d_name == '.' || !ends_with(entry->d_name, suffix) ||
            !join_path(path, sizeof path, folder, entry->d_name) ||
            tada_plan_load(path, &plan, NULL) != TADA_OK) {
            continue;
        }
        plan_measured(plan, &memory, &kld);
        bool fits = tada_plan_get_info(plan)->fingerprint == fingerprint;
        found->n_fitting += fits;
        if (fits && memory <= budget && is_better(path, kld, found)) {
            tada_plan_free(found->plan);
            found->plan = plan;
            found->memory = memory;
            found->kld = kld;
            strcpy(found->path, path);
        } else {
            tada_plan_free(plan);
        }
    }
    if (list) {
        closedir(list);
    }
}

/* tada inspect: what a plan says. */
#include "commands.h"
#include "nameless.h"
#include "options/options.h"
#include "options/rows.h"
#include "output/json.h"
#include "output/note.h"
#include "output/output.h"
#include "output/plan_page.h"

#include <errno.h>
#include <inttypes.h>
#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>

static int inspect_main(const struct command *self, int argc, char **argv);

struct request {
    const char *plan_path, *json_path, *html_path;
    bool is_input;        /* the path is that of what came from standard input */
    new_file_rules rules; /* of what is written */
};

static const struct option_row options[] = {
    {.names = "--json",
     .value = "FILE",
     .help = "write it as JSON to FILE; -: to standard output, instead of the table",
     .field = offsetof(struct request, json_path),
     .kind = OPTION_FILE,
     .in_usage = true},
    {.names = "--html",
     .value = "FILE",
     .help = "write a page that shows it, too; -: to standard output, instead of the table",
     .field = offsetof(struct request, html_path),
     .kind = OPTION_FILE,
     .in_usage = true},
    {.names = "--force",
     .help = "replace these files if they are there already",
     .field = offsetof(struct request, rules.replaces),
     .kind = OPTION_SWITCH,
     .in_usage = true},
    ROW_HELP,
    {0},
};

const struct command inspect_command = {
    .name = "inspect",
    .summary = "show what a plan says, layer by layer",
    .about =
        "Shows what a plan says: the model it is for, what was measured when it was made, and for each layer "
        "the bits of K and V (bars), the window of recent cells and the sensitivity (what the layer adds to "
        "the KL divergence with few bits). PLAN.gguf may be -, standard input.\n",
    .options = options,
    .operand = "PLAN.gguf",
    .operand_field = offsetof(struct request, plan_path),
    .operand_problem = "Give one plan file.",
    .notes = "exit status: 0 success, 1 a problem, 2 wrong usage or input.\n",
    .run = inspect_main,
};

static double bits_of(const tada_plan_plane *plane)
{
    return plane->recipe.quarters ? plane->recipe.quarters / 4.0 : plane->recipe.bits;
}

/* Half a bit a character. */
static void print_bar(double bits, bool utf8)
{
    int n = (int)(bits * 2 + 0.5);
    for (int i = 0; i < 16; i++) {
        fputs(i < n ? (utf8 ? "\u2588" : "=") : " ", stdout);
    }
}

static void print_plan(const tada_plan *plan)
{
    const tada_plan_info *info = tada_plan_get_info(plan);
    bool utf8 = setlocale(LC_CTYPE, "") && strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    double sums[2] = {0};
    int counts[2] = {0};
    printf("model %s, fingerprint %016" PRIx64 ", method %s, %d layers, %d sinks\n", SHOWN(info->model),
           info->fingerprint, SHOWN(info->method), tada_plan_layers(plan), info->sinks);
    printf("\nmeasured at a context of %d:\n%-24s %8s  %9s\n", info->n_ctx, "cache", "memory", "KLD");
    for (int i = 0; i < tada_plan_points(plan); i++) {
        const tada_plan_point *point = tada_plan_get_point(plan, i);
        printf("%-24s %6.1f %%  %9.5f +- %.5f\n", SHOWN(point->cache), 100 * point->memory, point->kld,
               point->kld_se);
    }
    printf("\n%5s  %2s %5s  %-16s  %-7s %-8s %-7s %6s  %s\n", "layer", "", "bits", "", "centre", "rotate",
           "axis", "window", "sensitivity");
    for (int i = 0; i < plan_planes(plan); i++) {
        const tada_plan_plane *plane = plan_plane(plan, i);
        if (plane->width == 0) {
            continue;
        }
        sums[i % 2] += bits_of(plane);
        counts[i % 2]++;
        printf("%5d  %-2s %5.2f  ", i / 2, i % 2 ? "V" : "K", bits_of(plane));
        print_bar(bits_of(plane), utf8);
        printf("  %-7s %-8s %-7s %6d  %.6f\n", plan_centring_name(&plane->recipe),
               plan_rotation_name(&plane->recipe), plan_axis_name(&plane->recipe), plane->window,
               (double)plane->sensitivity);
    }
    printf("\nbits on average: K %.2f, V %.2f\n", counts[0] ? sums[0] / counts[0] : 0,
           counts[1] ? sums[1] / counts[1] : 0);
}

static cJSON *report_of(const tada_plan *plan)
{
    const tada_plan_info *info = tada_plan_get_info(plan);
    cJSON *report = cJSON_CreateObject();
    char fingerprint[17];
    snprintf(fingerprint, sizeof fingerprint, "%016" PRIx64, info->fingerprint);
    report_add_text(report, "model", info->model);
    cJSON_AddStringToObject(report, "fingerprint", fingerprint);
    report_add_text(report, "method", info->method);
    cJSON_AddNumberToObject(report, "n_ctx", info->n_ctx);
    cJSON_AddNumberToObject(report, "sinks", info->sinks);
    cJSON *points = cJSON_AddArrayToObject(report, "points");
    for (int i = 0; i < tada_plan_points(plan); i++) {
        const tada_plan_point *point = tada_plan_get_point(plan, i);
        cJSON *item = cJSON_CreateObject();
        report_add_text(item, "cache", point->cache);
        cJSON_AddNumberToObject(item, "memory_ratio", point->memory);
        cJSON_AddNumberToObject(item, "kld_mean", point->kld);
        cJSON_AddNumberToObject(item, "kld_mean_se", point->kld_se);
        cJSON_AddItemToArray(points, item);
    }
    cJSON *planes = cJSON_AddArrayToObject(report, "planes");
    for (int i = 0; i < plan_planes(plan); i++) {
        const tada_plan_plane *plane = plan_plane(plan, i);
        cJSON *item = cJSON_CreateObject();
        cJSON_AddNumberToObject(item, "layer", i / 2);
        cJSON_AddStringToObject(item, "kind", i % 2 ? "v" : "k");
        cJSON_AddNumberToObject(item, "width", plane->width);
        cJSON_AddNumberToObject(item, "bits", bits_of(plane));
        cJSON_AddStringToObject(item, "centring", plan_centring_name(&plane->recipe));
        cJSON_AddStringToObject(item, "rotation", plan_rotation_name(&plane->recipe));
        cJSON_AddStringToObject(item, "axis", plan_axis_name(&plane->recipe));
        cJSON_AddNumberToObject(item, "window", plane->window);
        cJSON_AddNumberToObject(item, "window_bits", plane->window_bits == 8 ? 8 : 16);
        cJSON_AddNumberToObject(item, "sensitivity", (double)plane->sensitivity);
        cJSON_AddItemToArray(planes, item);
    }
    return report;
}

/* What is wrong with a plan; `shown` stands for its path there. */
static void tell_problem(const tada_error *error, const char *path, const char *shown)
{
    const char *at = strstr(error->text, path);
    size_t before = at ? (size_t)(at - error->text) : 0;
    cli_fail("%.*s%s%s", (int)before, error->text, at ? shown : "",
             error->text + before + (at ? strlen(path) : 0));
}

static int inspect(const struct request *request)
{
    tada_plan *plan;
    tada_error error;
    int status = 0;
    if (tada_plan_load(request->plan_path, &plan, &error) != TADA_OK) {
        tell_problem(&error, request->plan_path, request->is_input ? "standard input" : request->plan_path);
        return EXIT_USAGE;
    }
    if (request->json_path) {
        cJSON *report = report_of(plan);
        status = report_write(report, request->json_path, &request->rules);
        cJSON_Delete(report);
    }
    if (status == 0 && request->html_path) {
        status = plan_report_write(plan, request->html_path, &request->rules);
    }
    if (!output_is_stdout(request->json_path) && !output_is_stdout(request->html_path)) {
        print_plan(plan);
    }
    tada_plan_free(plan);
    return status;
}

static int inspect_main(const struct command *self, int argc, char **argv)
{
    struct request request = {0};
    int status;
    if (!options_parse(self, argc, argv, &request, &status)) {
        return status;
    }
    char input[32];
    if (strcmp(request.plan_path, "-") == 0) {
        int file = nameless_input();
        if (file < 0) {
            cli_fail("standard input cannot be read (%s): give the path of a plan file.", strerror(errno));
            return EXIT_USAGE;
        }
        snprintf(input, sizeof input, "/proc/self/fd/%d", file);
        request.plan_path = input;
        request.is_input = true;
    }
    output_keep(&request.rules, request.plan_path);
    status = output_check_both(request.json_path, request.html_path, &request.rules);
    return status == 0 ? inspect(&request) : status;
}

/* Plan files: any bytes are read or refused with a reason; what is read is sound, and can be written and read
 * again. */
#include "fuzz.h"

#include "policy/plan_file.h"

#include "ggml.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void no_log(enum ggml_log_level level, const char *text, void *context)
{
    (void)level;
    (void)text;
    (void)context;
}

static bool same_plane(const tada_plan_plane *a, const tada_plan_plane *b)
{
    const tada_recipe *r = &a->recipe, *s = &b->recipe;
    return a->width == b->width && a->head_dim == b->head_dim && a->window == b->window &&
           a->sensitivity == b->sensitivity && !a->weights == !b->weights &&
           (!a->weights || memcmp(a->weights, b->weights, (size_t)a->width / 8 * sizeof(float)) == 0) &&
           r->bits == s->bits && r->group == s->group && r->centring == s->centring &&
           r->rotation == s->rotation && r->axis == s->axis && r->scale == s->scale &&
           r->search == s->search && r->quarters == s->quarters;
}

static void check_again(const tada_plan *plan)
{
    char path[256];
    tada_error error = {""};
    tada_plan *back = NULL;
    fuzz_path("plan", path, sizeof path);
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (plan_file_write(plan, file, &error) != TADA_OK || close(file) != 0 ||
        plan_file_read(path, &back, &error) != TADA_OK) {
        fuzz_fail("a plan that was read cannot be written and read again: %s", error.text);
    }
    unlink(path);
    bool same = strcmp(plan->model, back->model) == 0 && plan->fingerprint == back->fingerprint &&
                strcmp(plan->method, back->method) == 0 && plan->n_layers == back->n_layers &&
                plan->sinks == back->sinks && plan->n_ctx == back->n_ctx && plan->n_points == back->n_points;
    for (int i = 0; same && i < 2 * plan->n_layers; i++) {
        same = same_plane(&plan->planes[i], &back->planes[i]);
    }
    for (int i = 0; same && i < plan->n_points; i++) {
        const tada_plan_point *a = &plan->points[i], *b = &back->points[i];
        same = strcmp(a->cache, b->cache) == 0 && memcmp(&a->memory, &b->memory, sizeof a->memory) == 0 &&
               memcmp(&a->kld, &b->kld, sizeof a->kld) == 0 &&
               memcmp(&a->kld_se, &b->kld_se, sizeof a->kld_se) == 0;
    }
    if (!same) {
        fuzz_fail("a plan is another one after it was written");
    }
    tada_plan_free(back);
}

/* Every plane of it can be made, or is refused. */
static void check_planes(const tada_plan *plan)
{
    for (int i = 0; i < 2 * plan->n_layers && i < 64; i++) {
        const tada_plan_plane *p = &plan->planes[i];
        tada_spec spec = tada_plan_spec(plan, i / 2, (enum tada_kind)(i % 2));
        tada_shape shape = {(enum tada_kind)(i % 2), p->width, 320, 1, p->head_dim};
        tada_plane_parts parts;
        size_t bytes = tada_plane_bytes(&spec, &shape);
        if (p->width && (!bytes || !tada_plane_measure(&spec, &shape, &parts))) {
            fuzz_fail("a plane of a sound plan has no size: width %d, head size %d", p->width, p->head_dim);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool silent;
    tada_error error = {""};
    tada_plan *plan = NULL;
    if (!silent) {
        ggml_log_set(no_log, NULL);
        silent = true;
    }
    fuzz_file file = fuzz_file_make(data, size);
    enum tada_status status = plan_file_read(file.path, &plan, &error);
    fuzz_file_done(&file);
    if (status == TADA_OK) {
        if (!plan || tada_plan_check(plan, &error) != TADA_OK) {
            fuzz_fail("a plan was read that is not sound: %s", error.text);
        }
        check_planes(plan);
        check_again(plan);
        tada_plan_free(plan);
    } else if (plan || strlen(error.text) < 10) {
        fuzz_fail("a plan is refused, but not as it should be");
    }
    return 0;
}

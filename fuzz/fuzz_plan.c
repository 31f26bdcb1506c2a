/* Plan files: any bytes are read or refused with a reason; what is read is sound, and can be written and read
 * again. */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

static bool same_plane(const tada_plan_plane *a, const tada_plan_plane *b)
{
    const tada_recipe *r = &a->recipe, *s = &b->recipe;
    return a->width == b->width && a->head_dim == b->head_dim && a->window == b->window &&
           a->window_bits == b->window_bits && a->sensitivity == b->sensitivity &&
           !r->weights == !s->weights &&
           (!r->weights || memcmp(r->weights, s->weights, (size_t)a->width / 8 * sizeof(float)) == 0) &&
           r->bits == s->bits && r->group == s->group && r->centring == s->centring &&
           r->rotation == s->rotation && r->axis == s->axis && r->scale == s->scale &&
           r->search == s->search && r->quarters == s->quarters;
}

static bool same_point(const tada_plan_point *a, const tada_plan_point *b)
{
    return strcmp(a->cache, b->cache) == 0 && memcmp(&a->memory, &b->memory, sizeof a->memory) == 0 &&
           memcmp(&a->kld, &b->kld, sizeof a->kld) == 0 &&
           memcmp(&a->kld_se, &b->kld_se, sizeof a->kld_se) == 0;
}

static bool same_plan(const tada_plan *a, const tada_plan *b)
{
    const tada_plan_info *i = tada_plan_get_info(a), *j = tada_plan_get_info(b);
    bool same = strcmp(i->model, j->model) == 0 && i->fingerprint == j->fingerprint &&
                strcmp(i->method, j->method) == 0 && i->sinks == j->sinks && i->n_ctx == j->n_ctx &&
                tada_plan_layers(a) == tada_plan_layers(b) && tada_plan_points(a) == tada_plan_points(b);
    for (int p = 0; same && p < 2 * tada_plan_layers(a); p++) {
        enum tada_kind kind = p % 2 ? TADA_V : TADA_K;
        same = same_plane(tada_plan_get_plane(a, p / 2, kind), tada_plan_get_plane(b, p / 2, kind));
    }
    for (int p = 0; same && p < tada_plan_points(a); p++) {
        same = same_point(tada_plan_get_point(a, p), tada_plan_get_point(b, p));
    }
    return same;
}

/* What is written can be read, and is written the same again. */
static void check_again(const tada_plan *plan)
{
    tada_error error = {""};
    tada_plan *back = NULL;
    void *bytes, *again;
    size_t size, size_again;
    if (tada_plan_save_memory(plan, &bytes, &size, &error) != TADA_OK ||
        tada_plan_load_memory(bytes, size, &back, &error) != TADA_OK ||
        tada_plan_save_memory(back, &again, &size_again, &error) != TADA_OK) {
        fuzz_fail("a plan that was read cannot be written and read again: %s", error.text);
    }
    if (!same_plan(plan, back) || size != size_again || memcmp(bytes, again, size) != 0) {
        fuzz_fail("a plan is another one after it was written");
    }
    tada_plan_free(back);
    free(bytes);
    free(again);
}

/* Every plane of it can be made, or is refused. */
static void check_planes(const tada_plan *plan)
{
    for (int i = 0; i < 2 * tada_plan_layers(plan) && i < 64; i++) {
        enum tada_kind kind = i % 2 ? TADA_V : TADA_K;
        const tada_plan_plane *p = tada_plan_get_plane(plan, i / 2, kind);
        tada_spec spec = tada_plan_spec(plan, i / 2, kind);
        tada_shape shape = {
            .kind = kind, .width = p->width, .n_cells = 320, .n_streams = 1, .head_dim = p->head_dim};
        tada_plane_parts parts;
        size_t bytes = tada_plane_bytes(&spec, &shape);
        if (p->width && (!bytes || !tada_plane_measure(&spec, &shape, &parts))) {
            fuzz_fail("a plane of a sound plan has no size: width %d, head size %d", p->width, p->head_dim);
        }
    }
}

/* The file as its path gives it: the same. */
static void check_file(const uint8_t *data, size_t size, enum tada_status expected)
{
    tada_plan *plan = NULL;
    fuzz_file file = fuzz_file_make(data, size);
    if (tada_plan_load(file.path, &plan, NULL) != expected) {
        fuzz_fail("a plan is read from memory and refused from a file, or the other way round");
    }
    fuzz_file_done(&file);
    tada_plan_free(plan);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tada_error error = {""};
    tada_plan *plan = NULL;
    enum tada_status status = tada_plan_load_memory(data, size, &plan, &error);
    check_file(data, size, status);
    if (status == TADA_OK) {
        check_planes(plan);
        check_again(plan);
        tada_plan_free(plan);
    } else if (plan || strlen(error.text) < 10) {
        fuzz_fail("a plan is refused, but not as it should be");
    }
    return 0;
}

/*
 * Plan files for test_plan_file.sh, sound ones and others.
 *   make_plan FOLDER LAYERS WIDTH FINGERPRINT
 * writes FOLDER/model.gguf, a tiny model with random weights; FOLDER/good.plan for a model of that shape
 * (FINGERPRINT, hexadecimal, 0: any); and what is wrong with it in one way each. Compares the library's plan
 * files with llama.cpp's own reader and writer of GGUF.
 */
#include "random_model.h"

#include "tada.h"

#include "ggml.h"
#include "gguf.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *folder;

static void path_of(const char *name, char *path, size_t size)
{
    snprintf(path, size, "%s/%s", folder, name);
}

static tada_plan *make(const tada_plan_info *info, const char *first_cache, int n_layers, int width)
{
    tada_plan *plan = tada_plan_create(n_layers);
    tada_plan_point points[] = {{"", 0.2813, 0.0123, 0.0011}, {"plan", 0.2712, 0.0045, 0.0004}};
    float weights[TADA_PLAN_WIDTH / 8];
    tada_spec spec;
    tada_spec_parse("tada", &spec, NULL);
    tada_plan_set_info(plan, info, NULL);
    for (int j = 0; j < width / 8; j++) {
        weights[j] = 1.0f + (float)(j % 3);
    }
    for (int i = 0; i < 2 * n_layers; i++) {
        tada_plan_plane plane = {.width = width,
                                 .recipe = i % 2 ? spec.v : spec.k,
                                 .window = 64,
                                 .window_bits = spec.window_bits,
                                 .sensitivity = 0.001f * (float)(i + 1)};
        if (i % 2 == 0) {
            plane.recipe.quarters = 14 + i % 6;
            plane.recipe.bits = plane.recipe.quarters / 4;
            plane.recipe.weights = weights;
        }
        tada_plan_set_plane(plan, i / 2, i % 2 ? TADA_V : TADA_K, &plane, NULL);
    }
    snprintf(points[0].cache, sizeof points[0].cache, "%s", first_cache);
    tada_plan_add_point(plan, &points[0], NULL);
    tada_plan_add_point(plan, &points[1], NULL);
    return plan;
}

/* Writes a plan, and frees it. */
static bool write_plan(const char *name, tada_plan *plan)
{
    char path[4096];
    tada_error error = {""};
    path_of(name, path, sizeof path);
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    bool written = tada_plan_save(plan, file, &error) == TADA_OK;
    tada_plan_free(plan);
    if (close(file) != 0 || !written) {
        printf("FAILED  %s is not written: %s\n", name, error.text);
        return false;
    }
    return true;
}

/* What llama.cpp's own reader finds in a plan. */
static bool ggml_reads(const char *path, int n_layers, int width)
{
    struct ggml_context *tensors = NULL;
    struct gguf_context *file =
        gguf_init_from_file(path, (struct gguf_init_params){.no_alloc = false, .ctx = &tensors});
    if (!file) {
        return false;
    }
    int64_t bits = gguf_find_key(file, "tada.plan.bits"),
            cache = gguf_find_key(file, "tada.plan.point.cache"),
            model = gguf_find_key(file, "tada.plan.model");
    bool good = gguf_get_n_tensors(file) == n_layers && bits >= 0 && cache >= 0 && model >= 0 &&
                gguf_get_arr_type(file, bits) == GGUF_TYPE_INT32 &&
                gguf_get_arr_n(file, bits) == 2 * (size_t)n_layers && gguf_get_arr_n(file, cache) == 2 &&
                strcmp(gguf_get_arr_str(file, cache, 1), "plan") == 0 &&
                strcmp(gguf_get_val_str(file, model), "random") == 0;
    for (int i = 0; good && i < n_layers; i++) {
        char name[64];
        snprintf(name, sizeof name, "blk.%d.k.weights", i);
        const struct ggml_tensor *tensor = ggml_get_tensor(tensors, name);
        good = tensor && tensor->type == GGML_TYPE_F32 && tensor->ne[0] == width / 8 &&
               ((const float *)tensor->data)[1] == 2;
    }
    ggml_free(tensors);
    gguf_free(file);
    return good;
}

/* A plan that llama.cpp's own writer has copied, with a key that nobody knows, is the same plan. */
static bool reads_copy_of_ggml(const char *path)
{
    char copy[4096];
    void *bytes[2] = {NULL, NULL};
    size_t sizes[2] = {0, 0};
    struct ggml_context *tensors = NULL;
    struct gguf_context *from =
        gguf_init_from_file(path, (struct gguf_init_params){.no_alloc = false, .ctx = &tensors});
    struct gguf_context *file = gguf_init_empty();
    path_of("copy.plan", copy, sizeof copy);
    gguf_set_val_str(file, "general.author", "somebody");
    gguf_set_kv(file, from);
    for (struct ggml_tensor *t = ggml_get_first_tensor(tensors); t; t = ggml_get_next_tensor(tensors, t)) {
        if (gguf_find_tensor(from, t->name) >= 0) {
            gguf_add_tensor(file, t);
        }
    }
    bool good = gguf_write_to_file(file, copy, false);
    const char *const paths[2] = {path, copy};
    for (int i = 0; good && i < 2; i++) {
        tada_plan *plan = NULL;
        tada_error error = {""};
        good = tada_plan_load(paths[i], &plan, &error) == TADA_OK &&
               tada_plan_save_memory(plan, &bytes[i], &sizes[i], &error) == TADA_OK;
        printf("%s", error.text);
        tada_plan_free(plan);
    }
    good = good && sizes[0] == sizes[1] && memcmp(bytes[0], bytes[1], sizes[0]) == 0;
    free(bytes[0]);
    free(bytes[1]);
    gguf_free(file);
    gguf_free(from);
    ggml_free(tensors);
    return good;
}

/* A copy of good.plan in which the first float of its last tensor, a weight, is NaN. */
static bool write_nan(void)
{
    char path[4096];
    path_of("good.plan", path, sizeof path);
    struct gguf_init_params params = {.no_alloc = true};
    struct gguf_context *gguf = gguf_init_from_file(path, params);
    FILE *file = fopen(path, "rb");
    static char bytes[1 << 20];
    size_t size = file ? fread(bytes, 1, sizeof bytes, file) : 0;
    if (!gguf || size == 0) {
        return false;
    }
    fclose(file);
    int64_t last = gguf_get_n_tensors(gguf) - 1;
    float value = NAN;
    memcpy(bytes + gguf_get_data_offset(gguf) + gguf_get_tensor_offset(gguf, last), &value, sizeof value);
    gguf_free(gguf);
    path_of("nan.plan", path, sizeof path);
    file = fopen(path, "wb");
    return file && fwrite(bytes, 1, size, file) == size && fclose(file) == 0;
}

/* A plan of a time when windows were always in f16: good.plan without the array of their bits. */
static bool reads_old(void)
{
    static const char key[] = "tada.plan.window_bits";
    static char bytes[1 << 20];
    char path[4096];
    path_of("good.plan", path, sizeof path);
    FILE *file = fopen(path, "rb");
    size_t size = file ? fread(bytes, 1, sizeof bytes, file) : 0;
    size_t at = 0;
    while (at + strlen(key) <= size && memcmp(bytes + at, key, strlen(key)) != 0) {
        at++;
    }
    if (at + strlen(key) > size) {
        return false;
    }
    fclose(file);
    /* Under a name that nobody knows. */
    bytes[at] = 'x';
    path_of("old.plan", path, sizeof path);
    file = fopen(path, "wb");
    tada_plan *plan = NULL;
    bool good = file && fwrite(bytes, 1, size, file) == size && fclose(file) == 0 &&
                tada_plan_load(path, &plan, NULL) == TADA_OK;
    for (int i = 0; good && i < 2 * tada_plan_layers(plan); i++) {
        const tada_plan_plane *plane = tada_plan_get_plane(plan, i / 2, i % 2 ? TADA_V : TADA_K);
        good = plane->window == 64 && plane->window_bits == 16;
    }
    tada_plan_free(plan);
    return good;
}

static void tell(bool good, const char *what)
{
    printf("%s  %s\n", good ? "ok    " : "FAILED", what);
}

static int write_all(int n_layers, int width, uint64_t fingerprint)
{
    static const model_shape shape = {"gqa-64", FAMILY_LLAMA, 4, 2, 64, 0, 0, 0, 0};
    const tada_plan_info good = {"random", "tada", fingerprint, 4, 512},
                         foreign = {"random", "tada", 1, 4, 512}, any = {"random", "tada", 0, 4, 512};
    const tada_plan_info evil = {"\x1b]0;title\x07\x1b[2J\n\xc2\x9b"
                                 "31m\xe2\x80\xaered",
                                 "\x1b[8mhidden", 1, 4, 512};
    char path[4096];
    path_of("model.gguf", path, sizeof path);
    bool done = random_model_write(&shape, path) &&
                write_plan("good.plan", make(&good, "q4_0", n_layers, width)) &&
                write_plan("evil.plan", make(&evil, "\x1b[1A\rplan\x7f", n_layers, width)) &&
                write_plan("wide.plan", make(&any, "q4_0", n_layers, 2 * width)) &&
                write_plan("foreign.plan", make(&foreign, "q4_0", n_layers, width)) &&
                write_plan("shallow.plan", make(&any, "q4_0", n_layers - 1, width)) && write_nan();
    tell(done, "the plans are written");
    path_of("good.plan", path, sizeof path);
    bool read = done && ggml_reads(path, n_layers, width);
    tell(read, "llama.cpp's own reader finds in a plan what is in it");
    bool copied = done && reads_copy_of_ggml(path);
    tell(copied, "a plan that llama.cpp's own writer wrote is read");
    bool old = done && reads_old();
    tell(old, "a plan without bits of windows has them in f16");
    return done && read && copied && old ? 0 : 1;
}

static void quiet(enum ggml_log_level level, const char *text, void *user)
{
    (void)level;
    (void)text;
    (void)user;
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: make_plan FOLDER LAYERS WIDTH FINGERPRINT\n");
        return 2;
    }
    ggml_log_set(quiet, NULL);
    folder = argv[1];
    return write_all(atoi(argv[2]), atoi(argv[3]), strtoull(argv[4], NULL, 16));
}

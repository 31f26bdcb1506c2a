/*
 * Plan files for test_plan_file.sh, sound ones and others.
 *   make_plan LIB_DIR PLUGIN FOLDER LAYERS WIDTH FINGERPRINT
 * writes FOLDER/model.gguf, a tiny model with random weights; FOLDER/good.plan for a model of that shape
 * (FINGERPRINT, hexadecimal, 0: any); and what is wrong with it in one way each. make_plan LIB_DIR PLUGIN
 * FOLDER damage STRIDE SEED reads, through the plug-in, every damaged form of FOLDER/good.plan: cut at, or
 * with a bit turned at, each STRIDE-th byte. Each must be read or refused with a reason.
 */
#include "random_model.h"

#include "tada.h"

#include "ggml-backend.h"
#include "gguf.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct plan_files {
    enum tada_status (*read)(const char *path, tada_plan **plan, tada_error *error);
    enum tada_status (*write)(const tada_plan *plan, int file, tada_error *error);
    const char *folder;
} plan_files;

static void path_of(const plan_files *files, const char *name, char *path, size_t size)
{
    snprintf(path, size, "%s/%s", files->folder, name);
}

static tada_plan *make(int n_layers, int width, uint64_t fingerprint)
{
    tada_plan *plan = tada_plan_create(n_layers);
    tada_spec spec;
    tada_spec_parse("tada", &spec, NULL);
    strcpy(plan->model, "random");
    strcpy(plan->method, "tada");
    plan->fingerprint = fingerprint;
    plan->sinks = 4;
    plan->n_ctx = 512;
    for (int i = 0; i < 2 * n_layers; i++) {
        tada_plan_plane *plane = &plan->planes[i];
        plane->width = width;
        plane->recipe = i % 2 ? spec.v : spec.k;
        plane->window = 64;
        plane->window_bits = spec.window_bits;
        plane->sensitivity = 0.001f * (float)(i + 1);
        if (i % 2 == 0) {
            plane->recipe.quarters = 14 + i % 6;
            plane->recipe.bits = plane->recipe.quarters / 4;
            plane->weights = malloc((size_t)width / 8 * sizeof(float));
            for (int j = 0; j < width / 8; j++) {
                plane->weights[j] = 1.0f + (float)(j % 3);
            }
        }
    }
    plan->n_points = 2;
    plan->points[0] = (tada_plan_point){"q4_0", 0.2813, 0.0123, 0.0011};
    plan->points[1] = (tada_plan_point){"plan", 0.2712, 0.0045, 0.0004};
    return plan;
}

static bool same(const tada_plan *a, const tada_plan *b)
{
    bool equal = a->n_layers == b->n_layers && a->fingerprint == b->fingerprint && a->sinks == b->sinks &&
                 a->n_ctx == b->n_ctx && a->n_points == b->n_points && strcmp(a->model, b->model) == 0 &&
                 strcmp(a->method, b->method) == 0 &&
                 memcmp(a->points, b->points, (size_t)a->n_points * sizeof *a->points) == 0;
    for (int i = 0; equal && i < 2 * a->n_layers; i++) {
        const tada_plan_plane *p = &a->planes[i], *q = &b->planes[i];
        tada_recipe recipe = q->recipe;
        recipe.weights = p->recipe.weights;
        equal = p->width == q->width && p->window == q->window && p->window_bits == q->window_bits &&
                p->sensitivity == q->sensitivity && memcmp(&p->recipe, &recipe, sizeof recipe) == 0 &&
                !p->weights == !q->weights &&
                (!p->weights || memcmp(p->weights, q->weights, (size_t)p->width / 8 * sizeof(float)) == 0);
    }
    return equal;
}

static bool write_plan(const plan_files *files, const char *name, const tada_plan *plan)
{
    char path[4096];
    tada_error error = {""};
    path_of(files, name, path, sizeof path);
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    bool written = files->write(plan, file, &error) == TADA_OK;
    if (close(file) != 0 || !written) {
        printf("FAILED  %s is not written: %s\n", name, error.text);
        return false;
    }
    return true;
}

/* A copy of good.plan in which the first float of its last tensor, a weight, is NaN. */
static bool write_nan(const plan_files *files)
{
    char path[4096];
    path_of(files, "good.plan", path, sizeof path);
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
    path_of(files, "nan.plan", path, sizeof path);
    file = fopen(path, "wb");
    return file && fwrite(bytes, 1, size, file) == size && fclose(file) == 0;
}

/* A plan of a time when windows were always in f16: good.plan without the array of their bits. */
static bool reads_old(const plan_files *files)
{
    static const char key[] = "tada.plan.window_bits";
    static char bytes[1 << 20];
    char path[4096];
    path_of(files, "good.plan", path, sizeof path);
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
    path_of(files, "old.plan", path, sizeof path);
    file = fopen(path, "wb");
    tada_plan *plan = NULL;
    bool good = file && fwrite(bytes, 1, size, file) == size && fclose(file) == 0 &&
                files->read(path, &plan, NULL) == TADA_OK;
    for (int i = 0; good && i < 2 * plan->n_layers; i++) {
        good = plan->planes[i].window == 64 && plan->planes[i].window_bits == 16;
    }
    tada_plan_free(plan);
    return good;
}

static int write_all(const plan_files *files, int n_layers, int width, uint64_t fingerprint)
{
    static const model_shape shape = {"gqa-64", FAMILY_LLAMA, 4, 2, 64, 0, 0, 0, 0};
    char path[4096];
    path_of(files, "model.gguf", path, sizeof path);
    tada_plan *good = make(n_layers, width, fingerprint), *wide = make(n_layers, 2 * width, 0);
    tada_plan *foreign = make(n_layers, width, 1), *shallow = make(n_layers - 1, width, 0), *again = NULL;
    tada_plan *evil = make(n_layers, width, 1);
    strcpy(evil->model, "\x1b]0;title\x07\x1b[2J\n\xc2\x9b"
                        "31m\xe2\x80\xaered");
    strcpy(evil->method, "\x1b[8mhidden");
    strcpy(evil->points[0].cache, "\x1b[1A\rplan\x7f");
    bool done = random_model_write(&shape, path) && write_plan(files, "good.plan", good) &&
                write_plan(files, "evil.plan", evil) && write_plan(files, "wide.plan", wide) &&
                write_plan(files, "foreign.plan", foreign) && write_plan(files, "shallow.plan", shallow) &&
                write_nan(files);
    path_of(files, "good.plan", path, sizeof path);
    tada_error error = {""};
    done = done && files->read(path, &again, &error) == TADA_OK && same(good, again);
    printf("%s  a plan is read as it was written%s\n", done ? "ok    " : "FAILED", error.text);
    bool old = done && reads_old(files);
    printf("%s  a plan without bits of windows has them in f16\n", old ? "ok    " : "FAILED");
    good->planes[0].weights[0] = NAN;
    int pair[2];
    char byte;
    bool refused = pipe(pair) == 0 && files->write(good, pair[1], &error) != TADA_OK && close(pair[1]) == 0 &&
                   read(pair[0], &byte, 1) == 0;
    printf("%s  a plan that is not sound is not written\n", refused ? "ok    " : "FAILED");
    tada_plan_free(good);
    tada_plan_free(evil);
    tada_plan_free(wide);
    tada_plan_free(foreign);
    tada_plan_free(shallow);
    tada_plan_free(again);
    return done && old && refused ? 0 : 1;
}

/* Reads a file of these bytes: true when it ends as it should. */
static bool read_bytes(const plan_files *files, const char *bytes, size_t size, int *sound)
{
    char path[4096];
    tada_plan *plan = NULL;
    tada_error error = {""};
    path_of(files, "damaged.plan", path, sizeof path);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(bytes, 1, size, file) != size || fclose(file) != 0) {
        return false;
    }
    enum tada_status status = files->read(path, &plan, &error);
    bool good = status == TADA_OK ? plan && tada_plan_check(plan, NULL) == TADA_OK
                                  : status == TADA_E_FILE && !plan && error.text[0];
    *sound += status == TADA_OK;
    tada_plan_free(plan);
    return good;
}

static int damage(const plan_files *files, size_t stride, unsigned seed)
{
    static char bytes[1 << 20];
    char path[4096];
    path_of(files, "good.plan", path, sizeof path);
    FILE *file = fopen(path, "rb");
    size_t size = file ? fread(bytes, 1, sizeof bytes, file) : 0;
    int bad = size == 0, sound = 0, cut_sound = 0, n = 0;
    fclose(file);
    for (size_t at = 0; at < size; at += stride, n++) {
        seed = seed * 1664525u + 1013904223u;
        char bit = (char)(1 << (seed >> 29));
        bad += !read_bytes(files, bytes, at, &cut_sound);
        bytes[at] ^= bit;
        bad += !read_bytes(files, bytes, size, &sound);
        bytes[at] ^= bit;
    }
    bool good = bad == 0 && cut_sound == 0;
    printf("%s  %d plans cut short, %d with a bit turned, of which %d are still plans; %d wrong\n",
           good ? "ok    " : "FAILED", n, n, sound, bad + cut_sound);
    return good ? 0 : 1;
}

static void quiet(enum ggml_log_level level, const char *text, void *user)
{
    (void)level;
    (void)text;
    (void)user;
}

int main(int argc, char **argv)
{
    if (argc != 7) {
        fprintf(stderr,
                "usage: make_plan LIB_DIR PLUGIN FOLDER LAYERS WIDTH FINGERPRINT | damage STRIDE SEED\n");
        return 2;
    }
    ggml_log_set(quiet, NULL);
    ggml_backend_load_all_from_path(argv[1]);
    ggml_backend_reg_t plugin = ggml_backend_load(argv[2]);
    void *read = plugin ? ggml_backend_reg_get_proc_address(plugin, "tada_plugin_plan_read") : NULL;
    void *write = plugin ? ggml_backend_reg_get_proc_address(plugin, "tada_plugin_plan_write") : NULL;
    plan_files files = {.folder = argv[3]};
    if (!read || !write) {
        printf("FAILED  the plug-in does not load\n");
        return 1;
    }
    memcpy(&files.read, &read, sizeof read);
    memcpy(&files.write, &write, sizeof write);
    if (strcmp(argv[4], "damage") == 0) {
        return damage(&files, (size_t)atoi(argv[5]), (unsigned)atoi(argv[6]));
    }
    return write_all(&files, atoi(argv[4]), atoi(argv[5]), strtoull(argv[6], NULL, 16));
}

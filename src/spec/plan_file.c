/* Plan files: a GGUF file for each plan (doc/reference/plan.md). Nothing in a file is believed. */
#include "common/error.h"
#include "gguf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { VERSION = 1, MOST_BYTES = 64 << 20, NAME_BYTES = 32 };

/* The whole numbers of all planes. Enumerations have the numbers of tada.h. */
enum field {
    WIDTH,
    BITS,
    QUARTERS,
    GROUP,
    CENTRING,
    ROTATION,
    AXIS,
    SCALE,
    SEARCH,
    WINDOW,
    HEAD_DIM,
    WINDOW_BITS,
    N_FIELDS
};
static const struct {
    const char *key;
    int32_t most;     /* they are 0 to this */
    bool is_optional; /* a file without it has zeros */
} fields[N_FIELDS] = {
    [WIDTH] = {"tada.plan.width", TADA_PLAN_WIDTH, false},
    [BITS] = {"tada.plan.bits", 16, false},
    [QUARTERS] = {"tada.plan.quarters", 32, false},
    [GROUP] = {"tada.plan.group", 256, false},
    [CENTRING] = {"tada.plan.centring", TADA_CENTRE_HEADS8, false},
    [ROTATION] = {"tada.plan.rotation", TADA_ROTATE_HADAMARD, false},
    [AXIS] = {"tada.plan.axis", TADA_AXIS_TOKEN, false},
    [SCALE] = {"tada.plan.scale", TADA_SCALE_8, false},
    [SEARCH] = {"tada.plan.search", TADA_SEARCH_ERROR, false},
    [WINDOW] = {"tada.plan.window", 1 << 20, false},
    [HEAD_DIM] = {"tada.plan.head_dim", TADA_PLAN_WIDTH, true}, /* 0: unknown */
    [WINDOW_BITS] = {"tada.plan.window_bits", 16, true},        /* 0: 16 */
};

/* The numbers of all points. */
enum measure { MEMORY, KLD, KLD_SE, N_MEASURES };
static const char *const measure_keys[N_MEASURES] = {"tada.plan.point.memory", "tada.plan.point.kld",
                                                     "tada.plan.point.kld_se"};

static const tada_plan_plane *plane_at(const tada_plan *plan, int i)
{
    return tada_plan_get_plane(plan, i / 2, (enum tada_kind)(i % 2));
}

static void tensor_name(char name[NAME_BYTES], int plane)
{
    snprintf(name, NAME_BYTES, "blk.%d.%c.weights", plane / 2, plane % 2 ? 'v' : 'k');
}

static enum tada_status fail_memory(tada_error *error)
{
    return tada_fail(error, TADA_E_MEMORY, "Memory is too short for the plan: close other programs.");
}

/* ---- writing ---- */

static int32_t field_of(const tada_plan_plane *plane, enum field field)
{
    const tada_recipe *r = &plane->recipe;
    const int32_t all[N_FIELDS] = {
        [WIDTH] = plane->width,
        [BITS] = r->bits,
        [QUARTERS] = r->quarters,
        [GROUP] = r->group,
        [CENTRING] = (int32_t)r->centring,
        [ROTATION] = (int32_t)r->rotation,
        [AXIS] = (int32_t)r->axis,
        [SCALE] = (int32_t)r->scale,
        [SEARCH] = (int32_t)r->search,
        [WINDOW] = plane->window,
        [HEAD_DIM] = plane->head_dim,
        [WINDOW_BITS] = plane->window_bits ? plane->window_bits : 16,
    };
    return all[field];
}

static void put_planes(tada_gguf_writer *w, const tada_plan *plan)
{
    int n = 2 * tada_plan_layers(plan);
    for (int f = 0; f < N_FIELDS; f++) {
        tada_gguf_put_array(w, fields[f].key, GGUF_I32, (size_t)n);
        for (int i = 0; i < n; i++) {
            int32_t number = field_of(plane_at(plan, i), (enum field)f);
            tada_gguf_put_bytes(w, &number, sizeof number);
        }
    }
    tada_gguf_put_array(w, "tada.plan.sensitivity", GGUF_F32, (size_t)n);
    for (int i = 0; i < n; i++) {
        tada_gguf_put_bytes(w, &plane_at(plan, i)->sensitivity, sizeof(float));
    }
}

static double measure_of(const tada_plan_point *point, enum measure measure)
{
    return measure == MEMORY ? point->memory : measure == KLD ? point->kld : point->kld_se;
}

static void put_points(tada_gguf_writer *w, const tada_plan *plan)
{
    int n = tada_plan_points(plan);
    tada_gguf_put_array(w, "tada.plan.point.cache", GGUF_STRING, (size_t)n);
    for (int i = 0; i < n; i++) {
        tada_gguf_put_text(w, tada_plan_get_point(plan, i)->cache);
    }
    for (int m = 0; m < N_MEASURES; m++) {
        tada_gguf_put_array(w, measure_keys[m], GGUF_F64, (size_t)n);
        for (int i = 0; i < n; i++) {
            double value = measure_of(tada_plan_get_point(plan, i), (enum measure)m);
            tada_gguf_put_bytes(w, &value, sizeof value);
        }
    }
}

/* Weights of plane i: values, 0 for none. */
static size_t n_weights(const tada_plan *plan, int i)
{
    const tada_plan_plane *plane = plane_at(plan, i);
    return plane->recipe.weights ? (size_t)plane->width / 8 : 0;
}

static void put_weights(tada_gguf_writer *w, const tada_plan *plan)
{
    char name[NAME_BYTES];
    size_t offset = 0;
    int n = 2 * tada_plan_layers(plan);
    for (int i = 0; i < n; i++) {
        if (n_weights(plan, i) > 0) {
            tensor_name(name, i);
            tada_gguf_put_tensor(w, name, n_weights(plan, i), offset);
            offset += tada_gguf_tensor_bytes(n_weights(plan, i));
        }
    }
    tada_gguf_put_padding(w);
    for (int i = 0; i < n; i++) {
        tada_gguf_put_bytes(w, plane_at(plan, i)->recipe.weights, n_weights(plan, i) * sizeof(float));
        tada_gguf_put_padding(w);
    }
}

static void put_plan(tada_gguf_writer *w, const tada_plan *plan)
{
    enum { N_OTHERS = 9 + 1 + 1 }; /* those below, sensitivities, caches of points */
    const tada_plan_info *info = tada_plan_get_info(plan);
    uint32_t version = VERSION, n_layers = (uint32_t)tada_plan_layers(plan), sinks = (uint32_t)info->sinks,
             n_ctx = (uint32_t)info->n_ctx;
    size_t n_tensors = 0;
    for (int i = 0; i < 2 * tada_plan_layers(plan); i++) {
        n_tensors += n_weights(plan, i) > 0;
    }
    tada_gguf_put_header(w, n_tensors, N_OTHERS + N_FIELDS + N_MEASURES);
    tada_gguf_put_string(w, "general.architecture", "tada");
    tada_gguf_put_string(w, "general.type", "plan");
    tada_gguf_put_number(w, "tada.plan.version", GGUF_U32, &version);
    tada_gguf_put_string(w, "tada.plan.model", info->model);
    tada_gguf_put_string(w, "tada.plan.method", info->method);
    tada_gguf_put_number(w, "tada.plan.fingerprint", GGUF_U64, &info->fingerprint);
    tada_gguf_put_number(w, "tada.plan.layers", GGUF_U32, &n_layers);
    tada_gguf_put_number(w, "tada.plan.sinks", GGUF_U32, &sinks);
    tada_gguf_put_number(w, "tada.plan.context", GGUF_U32, &n_ctx);
    put_planes(w, plan);
    put_points(w, plan);
    put_weights(w, plan);
}

static enum tada_status write_all(int file, const uint8_t *bytes, size_t size, tada_error *error)
{
    while (size > 0) {
        ssize_t n = write(file, bytes, size);
        if (n < 0 && errno != EINTR) {
            return tada_fail(error, TADA_E_FILE, "The plan cannot be written (%s): choose another place.",
                             strerror(errno));
        }
        bytes += n > 0 ? n : 0;
        size -= n > 0 ? (size_t)n : 0;
    }
    return TADA_OK;
}

enum tada_status tada_plan_save(const tada_plan *plan, int file, tada_error *error)
{
    void *bytes;
    size_t size;
    enum tada_status status = tada_plan_save_memory(plan, &bytes, &size, error);
    if (status == TADA_OK) {
        status = write_all(file, bytes, size, error);
        free(bytes);
    }
    return status;
}

enum tada_status tada_plan_save_memory(const tada_plan *plan, void **bytes, size_t *size, tada_error *error)
{
    tada_gguf_writer w = {0};
    put_plan(&w, plan);
    if (w.is_short) {
        free(w.bytes);
        return fail_memory(error);
    }
    *bytes = w.bytes;
    *size = w.size;
    return TADA_OK;
}

/* ---- reading ---- */

/* Cut where it does not fit. False: there is none. */
static bool get_text(const tada_gguf_file *file, const char *key, char *text, size_t size)
{
    const tada_gguf_value *value = tada_gguf_find(file, key, GGUF_STRING, false);
    if (value) {
        const void *next = value->bytes;
        tada_gguf_text found = tada_gguf_string(&next);
        snprintf(text, size, "%.*s", (int)(found.size < size ? found.size : size), found.bytes);
    }
    return value != NULL;
}

static bool get_number(const tada_gguf_file *file, const char *key, uint32_t most, int *number)
{
    const tada_gguf_value *value = tada_gguf_find(file, key, GGUF_U32, false);
    uint32_t found = 0;
    if (value) {
        tada_gguf_number(value, 0, &found);
        *number = found <= most ? (int)found : 0;
    }
    return value && found <= most;
}

/* An array of n values, or NULL. */
static const tada_gguf_value *get_array(const tada_gguf_file *file, const char *key, enum gguf_type type,
                                        size_t n)
{
    const tada_gguf_value *value = tada_gguf_find(file, key, type, true);
    return value && value->n == n ? value : NULL;
}

static bool get_info(const tada_gguf_file *file, tada_plan_info *info)
{
    const tada_gguf_value *print = tada_gguf_find(file, "tada.plan.fingerprint", GGUF_U64, false);
    if (print) {
        tada_gguf_number(print, 0, &info->fingerprint);
    }
    return print && get_text(file, "tada.plan.model", info->model, sizeof info->model) &&
           get_text(file, "tada.plan.method", info->method, sizeof info->method) &&
           get_number(file, "tada.plan.sinks", TADA_TILE_CELLS, &info->sinks) &&
           get_number(file, "tada.plan.context", INT32_MAX, &info->n_ctx);
}

/* The numbers of plane i. False: one is out of range. */
static bool get_fields(const tada_gguf_value *const *arrays, size_t i, tada_plan_plane *plane)
{
    int32_t numbers[N_FIELDS] = {0};
    for (int f = 0; f < N_FIELDS; f++) {
        if (arrays[f]) {
            tada_gguf_number(arrays[f], i, &numbers[f]);
        }
        if (numbers[f] < 0 || numbers[f] > fields[f].most) {
            return false;
        }
    }
    *plane = (tada_plan_plane){.width = numbers[WIDTH],
                               .head_dim = numbers[HEAD_DIM],
                               .window = numbers[WINDOW],
                               .window_bits = numbers[WINDOW_BITS] ? numbers[WINDOW_BITS] : 16,
                               .recipe = {.bits = numbers[BITS],
                                          .group = numbers[GROUP],
                                          .centring = (enum tada_centring)numbers[CENTRING],
                                          .rotation = (enum tada_rotation)numbers[ROTATION],
                                          .axis = (enum tada_axis)numbers[AXIS],
                                          .scale = (enum tada_scale)numbers[SCALE],
                                          .search = (enum tada_search)numbers[SEARCH],
                                          .quarters = numbers[QUARTERS]}};
    return true;
}

/* Its weights, in memory that the caller frees; NULL where it has none. */
static enum tada_status get_weights(const tada_gguf_file *file, int i, int width, float **weights)
{
    char name[NAME_BYTES];
    tensor_name(name, i);
    const tada_gguf_tensor *tensor = tada_gguf_find_tensor(file, name);
    *weights = NULL;
    if (!tensor) {
        return TADA_OK;
    }
    if (tensor->n == 0 || tensor->n != (size_t)width / 8) {
        return TADA_E_FILE;
    }
    *weights = malloc(tensor->n * sizeof **weights);
    if (!*weights) {
        return TADA_E_MEMORY;
    }
    memcpy(*weights, tensor->bytes, tensor->n * sizeof **weights);
    return TADA_OK;
}

static enum tada_status get_planes(const tada_gguf_file *file, tada_plan *plan, tada_error *why)
{
    const tada_gguf_value *arrays[N_FIELDS];
    size_t n = 2 * (size_t)tada_plan_layers(plan);
    const tada_gguf_value *sensitivity = get_array(file, "tada.plan.sensitivity", GGUF_F32, n);
    for (int f = 0; f < N_FIELDS; f++) {
        arrays[f] = get_array(file, fields[f].key, GGUF_I32, n);
        if (!arrays[f] && !fields[f].is_optional) {
            return TADA_E_FILE;
        }
    }
    enum tada_status status = sensitivity ? TADA_OK : TADA_E_FILE;
    for (size_t i = 0; i < n && status == TADA_OK; i++) {
        tada_plan_plane plane;
        float *weights;
        if (!get_fields(arrays, i, &plane)) {
            return TADA_E_FILE;
        }
        tada_gguf_number(sensitivity, i, &plane.sensitivity);
        status = get_weights(file, (int)i, plane.width, &weights);
        plane.recipe.weights = weights;
        if (status == TADA_OK) {
            status = tada_plan_set_plane(plan, (int)(i / 2), (enum tada_kind)(i % 2), &plane, why);
        }
        free(weights);
    }
    return status;
}

static enum tada_status get_points(const tada_gguf_file *file, tada_plan *plan, tada_error *why)
{
    const tada_gguf_value *caches = tada_gguf_find(file, "tada.plan.point.cache", GGUF_STRING, true);
    const tada_gguf_value *arrays[N_MEASURES];
    enum tada_status status = caches ? TADA_OK : TADA_E_FILE;
    for (int m = 0; m < N_MEASURES && caches; m++) {
        arrays[m] = get_array(file, measure_keys[m], GGUF_F64, caches->n);
        status = arrays[m] ? status : TADA_E_FILE;
    }
    const void *next = caches ? caches->bytes : NULL;
    for (size_t i = 0; status == TADA_OK && i < caches->n; i++) {
        tada_plan_point point = {.cache = ""};
        tada_gguf_text cache = tada_gguf_string(&next);
        snprintf(point.cache, sizeof point.cache, "%.*s",
                 (int)(cache.size < sizeof point.cache ? cache.size : sizeof point.cache), cache.bytes);
        tada_gguf_number(arrays[MEMORY], i, &point.memory);
        tada_gguf_number(arrays[KLD], i, &point.kld);
        tada_gguf_number(arrays[KLD_SE], i, &point.kld_se);
        status = tada_plan_add_point(plan, &point, why);
    }
    return status;
}

/* The plan of a file that says that it is one. *why is left alone where a number is missing or out of range.
 */
static enum tada_status get_plan(const tada_gguf_file *file, tada_plan **result, tada_error *why)
{
    int n_layers;
    tada_plan_info info = {.model = ""};
    if (!get_number(file, "tada.plan.layers", TADA_PLAN_LAYERS, &n_layers) || n_layers < 1 ||
        !get_info(file, &info)) {
        return TADA_E_FILE;
    }
    tada_plan *plan = tada_plan_create(n_layers);
    enum tada_status status = plan ? tada_plan_set_info(plan, &info, why) : TADA_E_MEMORY;
    if (status == TADA_OK) {
        status = get_planes(file, plan, why);
    }
    if (status == TADA_OK) {
        status = get_points(file, plan, why);
    }
    if (status != TADA_OK) {
        tada_plan_free(plan);
        return status;
    }
    *result = plan;
    return TADA_OK;
}

static bool has_text(const tada_gguf_file *file, const char *key, const char *wanted)
{
    char text[8]; /* longer than those that are wanted */
    return get_text(file, key, text, sizeof text) && strcmp(text, wanted) == 0;
}

/* `from` says where the file is from, for errors. */
static enum tada_status take_file(const tada_gguf_file *file, const char *from, tada_plan **plan,
                                  tada_error *error)
{
    int version;
    tada_error why = {"its numbers are out of range or missing"};
    if (!has_text(file, "general.architecture", "tada") || !has_text(file, "general.type", "plan")) {
        return tada_fail(error, TADA_E_FILE, "%.120s is not a plan: make one with 'tada calibrate'.", from);
    }
    if (!get_number(file, "tada.plan.version", UINT16_MAX, &version) || version != VERSION) {
        return tada_fail(error, TADA_E_FILE,
                         "%.120s is a plan of another version: make it again with 'tada calibrate'.", from);
    }
    enum tada_status status = get_plan(file, plan, &why);
    if (status == TADA_OK) {
        return TADA_OK;
    }
    return status == TADA_E_MEMORY
               ? fail_memory(error)
               : tada_fail(error, TADA_E_FILE,
                           "%.80s is a damaged plan (%.100s): make it again with 'tada calibrate'.", from,
                           why.text);
}

static enum tada_status parse(const void *bytes, size_t size, const char *from, tada_plan **plan,
                              tada_error *error)
{
    tada_gguf_file file;
    enum tada_status status = tada_gguf_open(bytes, size, &file);
    *plan = NULL;
    if (status == TADA_OK) {
        status = take_file(&file, from, plan, error);
    } else if (status == TADA_E_MEMORY) {
        fail_memory(error);
    } else {
        tada_fail(error, status, "%.120s is damaged or not a plan: make one with 'tada calibrate'.", from);
    }
    tada_gguf_close(&file);
    return status;
}

enum tada_status tada_plan_load_memory(const void *bytes, size_t size, tada_plan **plan, tada_error *error)
{
    return parse(bytes, size, "What is in memory", plan, error);
}

/* All bytes of a file that is open, which the caller frees, also after an error; of one that is too large for
 * a plan, none. TADA_E_FILE: *why says why not. */
static enum tada_status read_all(int file, void **bytes, size_t *size, const char **why)
{
    struct stat status;
    *bytes = NULL;
    if (fstat(file, &status) != 0) {
        *why = strerror(errno);
        return TADA_E_FILE;
    }
    if (!S_ISREG(status.st_mode)) {
        *why = "it is not a plain file";
        return TADA_E_FILE;
    }
    *size = status.st_size <= MOST_BYTES ? (size_t)status.st_size : 0;
    *bytes = malloc(*size + 1);
    if (!*bytes) {
        return TADA_E_MEMORY;
    }
    for (size_t at = 0; at < *size;) {
        ssize_t n = pread(file, (uint8_t *)*bytes + at, *size - at, (off_t)at);
        if (n < 0 && errno != EINTR) {
            *why = strerror(errno);
            return TADA_E_FILE;
        }
        at += n > 0 ? (size_t)n : 0;
        *size = n == 0 ? at : *size; /* it has become shorter */
    }
    return TADA_OK;
}

enum tada_status tada_plan_load(const char *path, tada_plan **plan, tada_error *error)
{
    void *bytes = NULL;
    size_t size = 0;
    /* A pipe that nobody writes to must not make us wait. */
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    const char *why = file >= 0 ? "" : strerror(errno);
    enum tada_status status = file >= 0 ? read_all(file, &bytes, &size, &why) : TADA_E_FILE;
    *plan = NULL;
    if (status == TADA_E_FILE) {
        tada_fail(error, status, "The plan %.120s cannot be read (%s): give the path of a plan file.", path,
                  why);
    } else if (status == TADA_E_MEMORY) {
        fail_memory(error);
    } else {
        status = parse(bytes, size, path, plan, error);
    }
    if (file >= 0) {
        close(file);
    }
    free(bytes);
    return status;
}

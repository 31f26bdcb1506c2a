/* Plan files: a GGUF file for each plan (doc/reference/plan.md). */
#include "plan_file.h"

#include "gguf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { VERSION = 1, MOST_BYTES = 64 << 20, MOST_KEYS = 1000 };

static enum tada_status fail_plan(tada_error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static enum tada_status fail_plan(tada_error *error, const char *format, ...)
{
    if (error) {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(error->text, sizeof error->text, format, arguments);
        va_end(arguments);
    }
    return TADA_E_FILE;
}

/* The whole numbers of all planes, by name. Enumerations keep the order of tada.h. */
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
static const char *const field_keys[N_FIELDS] = {
    "tada.plan.width",    "tada.plan.bits",     "tada.plan.quarters", "tada.plan.group",
    "tada.plan.centring", "tada.plan.rotation", "tada.plan.axis",     "tada.plan.scale",
    "tada.plan.search",   "tada.plan.window",   "tada.plan.head_dim", "tada.plan.window_bits"};

static void tensor_name(char *name, size_t size, int plane)
{
    snprintf(name, size, "blk.%d.%c.weights", plane / 2, plane % 2 ? 'v' : 'k');
}

/* ---- writing ---- */

static void get_fields(const tada_plan_plane *plane, int32_t *values)
{
    const tada_recipe *r = &plane->recipe;
    const int32_t all[N_FIELDS] = {plane->width,         r->bits,
                                   r->quarters,          r->group,
                                   (int32_t)r->centring, (int32_t)r->rotation,
                                   (int32_t)r->axis,     (int32_t)r->scale,
                                   (int32_t)r->search,   plane->window,
                                   plane->head_dim,      plane->window_bits ? plane->window_bits : 16};
    memcpy(values, all, sizeof all);
}

static void put_planes(struct gguf_context *file, const tada_plan *plan, int32_t *numbers, float *sensitivity)
{
    size_t n = (size_t)plan->n_layers * 2;
    for (size_t i = 0; i < n; i++) {
        int32_t values[N_FIELDS];
        get_fields(&plan->planes[i], values);
        for (size_t f = 0; f < N_FIELDS; f++) {
            numbers[f * n + i] = values[f];
        }
        sensitivity[i] = plan->planes[i].sensitivity;
    }
    for (size_t f = 0; f < N_FIELDS; f++) {
        gguf_set_arr_data(file, field_keys[f], GGUF_TYPE_INT32, numbers + f * n, n);
    }
    gguf_set_arr_data(file, "tada.plan.sensitivity", GGUF_TYPE_FLOAT32, sensitivity, n);
}

static void put_points(struct gguf_context *file, const tada_plan *plan)
{
    const char *caches[TADA_PLAN_POINTS];
    double memory[TADA_PLAN_POINTS], kld[TADA_PLAN_POINTS], kld_se[TADA_PLAN_POINTS];
    size_t n = (size_t)plan->n_points;
    for (size_t i = 0; i < n; i++) {
        caches[i] = plan->points[i].cache;
        memory[i] = plan->points[i].memory;
        kld[i] = plan->points[i].kld;
        kld_se[i] = plan->points[i].kld_se;
    }
    gguf_set_arr_str(file, "tada.plan.point.cache", caches, n);
    gguf_set_arr_data(file, "tada.plan.point.memory", GGUF_TYPE_FLOAT64, memory, n);
    gguf_set_arr_data(file, "tada.plan.point.kld", GGUF_TYPE_FLOAT64, kld, n);
    gguf_set_arr_data(file, "tada.plan.point.kld_se", GGUF_TYPE_FLOAT64, kld_se, n);
}

/* Tensors that point at the plan's weights. NULL: memory is short. */
static struct ggml_context *put_weights(struct gguf_context *file, const tada_plan *plan)
{
    struct ggml_context *tensors = ggml_init((struct ggml_init_params){
        .mem_size = ((size_t)plan->n_layers * 2 + 1) * ggml_tensor_overhead(), .no_alloc = true});
    for (int i = 0; i < plan->n_layers * 2 && tensors; i++) {
        if (plan->planes[i].weights && plan->planes[i].width > 0) {
            struct ggml_tensor *t = ggml_new_tensor_1d(tensors, GGML_TYPE_F32, plan->planes[i].width / 8);
            tensor_name(t->name, sizeof t->name, i);
            t->data = plan->planes[i].weights;
            gguf_add_tensor(file, t);
        }
    }
    return tensors;
}

static enum tada_status write_file(struct gguf_context *file, int to, tada_error *error)
{
    int again = fcntl(to, F_DUPFD_CLOEXEC, 3);
    FILE *stream = again >= 0 ? fdopen(again, "wb") : NULL;
    bool written = stream && gguf_write_to_file_ptr(file, stream, false);
    int why = errno;
    if (stream && fclose(stream) != 0 && written) {
        written = false;
        why = errno;
    }
    if (!stream && again >= 0) {
        close(again);
    }
    return written
               ? TADA_OK
               : fail_plan(error, "The plan cannot be written (%s): choose another place.", strerror(why));
}

enum tada_status plan_file_write(const tada_plan *plan, int to, tada_error *error)
{
    enum tada_status status = tada_plan_check(plan, error);
    if (status != TADA_OK) {
        return status;
    }
    struct gguf_context *file = gguf_init_empty();
    size_t n = (size_t)plan->n_layers * 2;
    int32_t *numbers = malloc(n * N_FIELDS * sizeof *numbers);
    float *sensitivity = malloc(n * sizeof *sensitivity);
    struct ggml_context *tensors = NULL;
    status = fail_plan(error, "Memory is too short for the plan: close other programs.");
    if (file && numbers && sensitivity) {
        gguf_set_val_str(file, "general.architecture", "tada");
        gguf_set_val_str(file, "general.type", "plan");
        gguf_set_val_u32(file, "tada.plan.version", VERSION);
        gguf_set_val_str(file, "tada.plan.model", plan->model);
        gguf_set_val_str(file, "tada.plan.method", plan->method);
        gguf_set_val_u64(file, "tada.plan.fingerprint", plan->fingerprint);
        gguf_set_val_u32(file, "tada.plan.layers", (uint32_t)plan->n_layers);
        gguf_set_val_u32(file, "tada.plan.sinks", (uint32_t)plan->sinks);
        gguf_set_val_u32(file, "tada.plan.context", (uint32_t)plan->n_ctx);
        put_planes(file, plan, numbers, sensitivity);
        put_points(file, plan);
        tensors = put_weights(file, plan);
        status = tensors ? write_file(file, to, error) : status;
    }
    if (tensors) {
        ggml_free(tensors);
    }
    if (file) {
        gguf_free(file);
    }
    free(numbers);
    free(sensitivity);
    return status;
}

/* ---- reading: nothing in the file is believed ---- */

static bool get_text(const struct gguf_context *file, const char *key, char *text, size_t size)
{
    int64_t id = gguf_find_key(file, key);
    if (id < 0 || gguf_get_kv_type(file, id) != GGUF_TYPE_STRING) {
        return false;
    }
    snprintf(text, size, "%s", gguf_get_val_str(file, id));
    return true;
}

static bool get_number(const struct gguf_context *file, const char *key, uint32_t most, int *number)
{
    int64_t id = gguf_find_key(file, key);
    if (id < 0 || gguf_get_kv_type(file, id) != GGUF_TYPE_UINT32 || gguf_get_val_u32(file, id) > most) {
        return false;
    }
    *number = (int)gguf_get_val_u32(file, id);
    return true;
}

/* An array of n (any number up to `most`: *n is SIZE_MAX before) values, or NULL. */
static const void *get_array(const struct gguf_context *file, const char *key, enum gguf_type type,
                             size_t most, size_t *n)
{
    int64_t id = gguf_find_key(file, key);
    if (id < 0 || gguf_get_kv_type(file, id) != GGUF_TYPE_ARRAY || gguf_get_arr_type(file, id) != type) {
        return NULL;
    }
    size_t found = gguf_get_arr_n(file, id);
    if (found > most || (*n != SIZE_MAX && found != *n)) {
        return NULL;
    }
    *n = found;
    /* An array without values may have no data. */
    return type == GGUF_TYPE_STRING || found == 0 ? "" : gguf_get_arr_data(file, id);
}

static bool set_fields(tada_plan_plane *plane, const int32_t *values)
{
    static const int32_t most[N_FIELDS] = {TADA_PLAN_WIDTH,
                                           16,
                                           32,
                                           256,
                                           TADA_CENTRE_HEADS8,
                                           TADA_ROTATE_HADAMARD,
                                           TADA_AXIS_TOKEN,
                                           TADA_SCALE_8,
                                           TADA_SEARCH_ERROR,
                                           1 << 20,
                                           TADA_PLAN_WIDTH,
                                           16};
    for (int f = 0; f < N_FIELDS; f++) {
        if (values[f] < 0 || values[f] > most[f]) {
            return false;
        }
    }
    plane->width = values[WIDTH];
    plane->window = values[WINDOW];
    plane->head_dim = values[HEAD_DIM];
    plane->window_bits = values[WINDOW_BITS] ? values[WINDOW_BITS] : 16;
    plane->recipe = (tada_recipe){.bits = values[BITS],
                                  .group = values[GROUP],
                                  .centring = (enum tada_centring)values[CENTRING],
                                  .rotation = (enum tada_rotation)values[ROTATION],
                                  .axis = (enum tada_axis)values[AXIS],
                                  .scale = (enum tada_scale)values[SCALE],
                                  .search = (enum tada_search)values[SEARCH],
                                  .quarters = values[QUARTERS]};
    return true;
}

static bool get_planes(const struct gguf_context *file, tada_plan *plan)
{
    const int32_t *fields[N_FIELDS];
    size_t n = (size_t)plan->n_layers * 2;
    const float *sensitivity = get_array(file, "tada.plan.sensitivity", GGUF_TYPE_FLOAT32, n, &n);
    for (int f = 0; f < N_FIELDS; f++) {
        fields[f] = get_array(file, field_keys[f], GGUF_TYPE_INT32, n, &n);
        /* Head sizes may be missing: they are unknown then. So may the bits of windows, which are 16 then. */
        if ((!fields[f] && f != HEAD_DIM && f != WINDOW_BITS) || !sensitivity) {
            return false;
        }
    }
    for (size_t i = 0; i < n; i++) {
        int32_t values[N_FIELDS];
        for (int f = 0; f < N_FIELDS; f++) {
            values[f] = fields[f] ? fields[f][i] : 0;
        }
        if (!set_fields(&plan->planes[i], values)) {
            return false;
        }
        plan->planes[i].sensitivity = sensitivity[i];
    }
    return true;
}

static bool get_points(const struct gguf_context *file, tada_plan *plan)
{
    size_t n = SIZE_MAX;
    if (!get_array(file, "tada.plan.point.cache", GGUF_TYPE_STRING, TADA_PLAN_POINTS, &n)) {
        return false;
    }
    const double *memory = get_array(file, "tada.plan.point.memory", GGUF_TYPE_FLOAT64, n, &n);
    const double *kld = get_array(file, "tada.plan.point.kld", GGUF_TYPE_FLOAT64, n, &n);
    const double *kld_se = get_array(file, "tada.plan.point.kld_se", GGUF_TYPE_FLOAT64, n, &n);
    if (!memory || !kld || !kld_se) {
        return false;
    }
    int64_t id = gguf_find_key(file, "tada.plan.point.cache");
    for (size_t i = 0; i < n; i++) {
        snprintf(plan->points[i].cache, sizeof plan->points[i].cache, "%s", gguf_get_arr_str(file, id, i));
        plan->points[i].memory = memory[i];
        plan->points[i].kld = kld[i];
        plan->points[i].kld_se = kld_se[i];
    }
    plan->n_points = (int)n;
    return true;
}

static bool get_weights(const struct gguf_context *file, FILE *bytes, size_t size, tada_plan *plan)
{
    for (int i = 0; i < plan->n_layers * 2; i++) {
        char name[GGML_MAX_NAME];
        tensor_name(name, sizeof name, i);
        int64_t id = gguf_find_tensor(file, name);
        if (id < 0) {
            continue;
        }
        size_t wanted = (size_t)plan->planes[i].width / 8 * sizeof(float);
        size_t at = gguf_get_data_offset(file), within = gguf_get_tensor_offset(file, id);
        if (gguf_get_tensor_type(file, id) != GGML_TYPE_F32 || gguf_get_tensor_size(file, id) != wanted ||
            wanted == 0 || at > size || within > size - at || wanted > size - at - within) {
            return false;
        }
        plan->planes[i].weights = malloc(wanted);
        if (!plan->planes[i].weights || fseek(bytes, (long)(at + within), SEEK_SET) != 0 ||
            fread(plan->planes[i].weights, wanted, 1, bytes) != 1) {
            return false;
        }
    }
    return true;
}

static enum tada_status parse_plan(const struct gguf_context *file, FILE *bytes, size_t size,
                                   const char *path, tada_plan **result, tada_error *error)
{
    char text[32];
    int version, n_layers;
    if (!get_text(file, "general.architecture", text, sizeof text) || strcmp(text, "tada") != 0 ||
        !get_text(file, "general.type", text, sizeof text) || strcmp(text, "plan") != 0) {
        return fail_plan(error, "%.120s is not a plan: make one with 'tada calibrate'.", path);
    }
    if (!get_number(file, "tada.plan.version", UINT16_MAX, &version) || version != VERSION) {
        return fail_plan(error, "The plan %.120s is of another version: make it again with 'tada calibrate'.",
                         path);
    }
    int64_t print = gguf_find_key(file, "tada.plan.fingerprint");
    tada_plan *plan = NULL;
    tada_error why = {"its numbers are out of range or missing"};
    if (get_number(file, "tada.plan.layers", TADA_PLAN_LAYERS, &n_layers)) {
        plan = tada_plan_create(n_layers);
    }
    if (!plan || print < 0 || gguf_get_kv_type(file, print) != GGUF_TYPE_UINT64 ||
        !get_text(file, "tada.plan.model", plan->model, sizeof plan->model) ||
        !get_text(file, "tada.plan.method", plan->method, sizeof plan->method) ||
        !get_number(file, "tada.plan.sinks", TADA_TILE_CELLS, &plan->sinks) ||
        !get_number(file, "tada.plan.context", INT32_MAX, &plan->n_ctx) || !get_planes(file, plan) ||
        !get_points(file, plan) || !get_weights(file, bytes, size, plan) ||
        tada_plan_check(plan, &why) != TADA_OK) {
        tada_plan_free(plan);
        return fail_plan(error, "The plan %.80s is damaged (%.100s): make it again with 'tada calibrate'.",
                         path, why.text);
    }
    plan->fingerprint = gguf_get_val_u64(file, print);
    *result = plan;
    return TADA_OK;
}

/* Whether a file begins like a GGUF file with as many entries as a plan may have: ggml would take memory for
 * any number that it claims. */
static bool begins_well(FILE *bytes)
{
    struct {
        char magic[4];
        uint32_t version;
        int64_t n_tensors, n_keys;
    } header;
    return fread(&header, sizeof header, 1, bytes) == 1 && memcmp(header.magic, GGUF_MAGIC, 4) == 0 &&
           header.version == GGUF_VERSION && header.n_tensors >= 0 &&
           header.n_tensors <= 2 * TADA_PLAN_LAYERS && header.n_keys >= 0 && header.n_keys <= MOST_KEYS;
}

enum tada_status plan_file_read(const char *path, tada_plan **plan, tada_error *error)
{
    struct stat status;
    /* A pipe would have us wait for who writes to it. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    FILE *bytes = fd >= 0 ? fdopen(fd, "rb") : NULL;
    *plan = NULL;
    if (!bytes || fstat(fileno(bytes), &status) != 0 || !S_ISREG(status.st_mode)) {
        int why = bytes ? EINVAL : errno;
        if (bytes) {
            fclose(bytes);
        } else if (fd >= 0) {
            close(fd);
        }
        return fail_plan(error, "The plan %.120s cannot be read (%s): give the path of a plan file.", path,
                         strerror(why));
    }
    struct gguf_context *file = status.st_size <= MOST_BYTES && begins_well(bytes)
                                    ? gguf_init_from_file(path, (struct gguf_init_params){.no_alloc = true})
                                    : NULL;
    enum tada_status result =
        file ? parse_plan(file, bytes, (size_t)status.st_size, path, plan, error)
             : fail_plan(error, "%.120s is damaged or not a plan: make one with 'tada calibrate'.", path);
    if (file) {
        gguf_free(file);
    }
    fclose(bytes);
    return result;
}

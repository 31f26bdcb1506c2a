/* Reads models.txt, and makes of it what GGUF files have: metadata, a vocabulary, weights. */
#include "shapes.h"

#include "ggml-backend.h"
#include "ggml.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- models.txt ---- */

const tiny_shape *shapes_find(const shape_list *list, const char *name)
{
    for (int i = 0; i < list->n; i++) {
        if (strcmp(list->shapes[i].name, name) == 0) {
            return &list->shapes[i];
        }
    }
    return NULL;
}

static bool is_group(const tiny_shape *shape)
{
    return shape->name[0] == '@';
}

static bool set(tiny_shape *shape, const char *key, const char *value)
{
    setting *one = shape->settings;
    while (one < shape->settings + shape->n_settings && strcmp(one->key, key) != 0) {
        one++;
    }
    if (one == shape->settings + SHAPE_SETTINGS_MAX || strlen(key) >= sizeof one->key ||
        strlen(value) >= sizeof one->value) {
        return false;
    }
    shape->n_settings += one == shape->settings + shape->n_settings;
    strcpy(one->key, key);
    strcpy(one->value, value);
    return true;
}

static bool inherit(tiny_shape *shape, const tiny_shape *parent)
{
    for (int i = 0; i < parent->n_settings; i++) {
        if (!set(shape, parent->settings[i].key, parent->settings[i].value)) {
            return false;
        }
    }
    if (!is_group(parent)) {
        strcpy(shape->architecture, parent->architecture);
        memcpy(shape->times, parent->times, sizeof shape->times);
        shape->n_times = parent->n_times;
    }
    return true;
}

/* "NAME = PARENT PARENT", without the line's end. */
static bool begin_shape(shape_list *list, char *line)
{
    char *rest, *name = strtok_r(line, " ", &rest), *equals = strtok_r(NULL, " ", &rest);
    if (list->n == SHAPES_MAX || strlen(name) >= SHAPE_NAME_MAX || shapes_find(list, name) ||
        (equals && strcmp(equals, "=") != 0)) {
        return false;
    }
    tiny_shape *shape = &list->shapes[list->n];
    memset(shape, 0, sizeof *shape);
    strcpy(shape->name, name);
    strcpy(shape->architecture, name);
    const tiny_shape *common = shapes_find(list, "@default");
    if (!is_group(shape) && common && !inherit(shape, common)) {
        return false;
    }
    for (char *word = strtok_r(NULL, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        const tiny_shape *parent = shapes_find(list, word);
        if (!parent || !inherit(shape, parent)) {
            return false;
        }
    }
    list->n++;
    return true;
}

static bool note(tiny_shape *shape, const char *word, const char *value)
{
    if (strcmp(word, "slow") == 0 && shape->n_slow < SHAPE_SLOW_MAX && strlen(value) < SHAPE_NAME_MAX) {
        strcpy(shape->slow[shape->n_slow++], value);
    } else if (strcmp(word, "without") == 0 && strlen(value) < sizeof shape->without) {
        strcpy(shape->without, value);
    } else if (strcmp(word, "plain") == 0 && strlen(value) < sizeof shape->plain) {
        strcpy(shape->plain, value);
    } else if (strcmp(word, "against") == 0 && strcmp(value, "q8_0") == 0) {
        shape->against_q8_0 = true;
    } else if (strcmp(word, "encoder") == 0) {
        shape->encoder = true;
    } else if (strcmp(word, "depth") == 0) {
        shape->depth = atoi(value);
    } else if (strcmp(word, "times") == 0 && shape->n_times < SHAPE_TIMES_MAX) {
        int i = shape->n_times++;
        return sscanf(value, "%23s %f", shape->times[i].part, &shape->times[i].factor) == 2;
    } else {
        return false;
    }
    return true;
}

/* "    KEY VALUE" or "    !WORD VALUE". */
static bool add_line(shape_list *list, char *line)
{
    char *key = line + strspn(line, " "), *value = key + strcspn(key, " ");
    if (*value) {
        *value++ = 0;
    }
    if (list->n == 0) {
        return false;
    }
    tiny_shape *shape = &list->shapes[list->n - 1];
    return *key == '!' ? note(shape, key + 1, value) : *value && set(shape, key, value);
}

bool shapes_read(const char *path, shape_list *list)
{
    char line[256];
    FILE *file = fopen(path, "r");
    list->n = 0;
    bool good = file;
    for (int number = 1; good && fgets(line, sizeof line, file); number++) {
        line[strcspn(line, "\n")] = 0;
        if (*line && *line != '#') {
            good = isspace((unsigned char)*line) ? add_line(list, line) : begin_shape(list, line);
        }
        if (!good) {
            fprintf(stderr, "%s: line %d is wrong\n", path, number);
        }
    }
    if (!file) {
        fprintf(stderr, "%s cannot be read\n", path);
    } else {
        fclose(file);
    }
    return good;
}

bool shapes_are_complete(const shape_list *list, const char *llama_arch_cpp)
{
    char line[512];
    int n = 0;
    FILE *file = fopen(llama_arch_cpp, "r");
    bool good = file;
    while (file && fgets(line, sizeof line, file)) {
        char name[SHAPE_NAME_MAX];
        if (sscanf(line, " { LLM_ARCH_%*[A-Z0-9_], \"%31[^\"(]\"", name) == 1) {
            n++;
            if (!shapes_find(list, name)) {
                fprintf(stderr, "models.txt has no architecture %s\n", name);
                good = false;
            }
        }
    }
    if (file) {
        fclose(file);
    }
    if (n == 0) {
        fprintf(stderr, "%s names no architecture\n", llama_arch_cpp);
    }
    return good && n > 0;
}

/* ---- metadata ---- */

static const char *value_of(const tiny_shape *shape, const char *key)
{
    for (int i = 0; i < shape->n_settings; i++) {
        if (strcmp(shape->settings[i].key, key) == 0) {
            return shape->settings[i].value;
        }
    }
    return "";
}

static void put_numbers(struct gguf_context *gguf, const char *key, const char *text)
{
    enum { MOST = 64 };
    int32_t whole[MOST];
    float real[MOST];
    uint64_t wide[MOST];
    int n = 0;
    bool is_real = strchr(text, '.'), is_wide = strncmp(text, "u64 ", 4) == 0;
    bool is_array = is_wide || strncmp(text, "i32 ", 4) == 0;
    text += is_array ? 4 : 0;
    while (*text && n < MOST) {
        real[n] = strtof(text, NULL);
        whole[n] = atoi(text);
        wide[n++] = strtoull(text, NULL, 10);
        text += strcspn(text, " ");
        text += strspn(text, " ");
    }
    if (is_wide) {
        gguf_set_arr_data(gguf, key, GGUF_TYPE_UINT64, wide, n);
    } else if (is_real && n == 1) {
        gguf_set_val_f32(gguf, key, real[0]);
    } else if (is_real) {
        gguf_set_arr_data(gguf, key, GGUF_TYPE_FLOAT32, real, n);
    } else if (n == 1 && !is_array) {
        gguf_set_val_u32(gguf, key, (uint32_t)whole[0]);
    } else {
        gguf_set_arr_data(gguf, key, GGUF_TYPE_INT32, whole, n);
    }
}

static void put_vocabulary(struct gguf_context *gguf, int n)
{
    char(*words)[12] = malloc(sizeof *words * n);
    const char **tokens = malloc(sizeof *tokens * n);
    float *scores = calloc(n, sizeof *scores);
    for (int i = 0; i < n; i++) {
        snprintf(words[i], sizeof words[i], "t%d", i);
        tokens[i] = words[i];
    }
    gguf_set_val_str(gguf, "tokenizer.ggml.model", "test");
    gguf_set_arr_str(gguf, "tokenizer.ggml.tokens", tokens, n);
    gguf_set_arr_data(gguf, "tokenizer.ggml.scores", GGUF_TYPE_FLOAT32, scores, n);
    gguf_set_val_u32(gguf, "tokenizer.ggml.token_type_count", 2);
    free(words);
    free(tokens);
    free(scores);
}

static struct gguf_context *metadata(const tiny_shape *shape)
{
    struct gguf_context *gguf = gguf_init_empty();
    gguf_set_val_str(gguf, "general.architecture", shape->architecture);
    put_vocabulary(gguf, atoi(value_of(shape, "vocab_size")));
    for (int i = 0; i < shape->n_settings; i++) {
        const char *value = shape->settings[i].value;
        char key[128];
        bool own = strncmp(shape->settings[i].key, "xielu.", 6) != 0;
        snprintf(key, sizeof key, "%s%s%s", own ? shape->architecture : "", own ? "." : "",
                 shape->settings[i].key);
        if (strcmp(value, "true") == 0 || strcmp(value, "false") == 0) {
            gguf_set_val_bool(gguf, key, *value == 't');
        } else if (strcmp(value, "none") != 0) {
            put_numbers(gguf, key, value);
        }
    }
    return gguf;
}

/* ---- weights ---- */

/* How weights are spread, by a part of their name: mean + spread x a normal value. The first line that fits.
 */
static const struct {
    const char *part; /* of the name with a point behind it */
    float mean, spread;
    enum { PLAIN, POSITIVE, NEGATIVE } sign;
} spreads[] = {
    {".ssm_a.", 0.1F, 1, NEGATIVE}, /* decay of a state */
    {"_scale", 1, 0.05F, PLAIN},      {".scale", 1, 0.05F, PLAIN},        {".bias", 0, 0.1F, PLAIN},
    {"norm", 1, 0.1F, PLAIN},         {"rope_f", 1, 1, POSITIVE}, /* factors of frequencies */
    {".attn_sinks", 0, 1, PLAIN},     {".ssm_d.", 1, 0.2F, PLAIN},        {"token_embd", 0, 0.15F, PLAIN},
    {"token_types", 0, 0.15F, PLAIN}, {"position_embd", 0, 0.15F, PLAIN},
};

static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
    return x ^ (x >> 31);
}

/* Four 16-bit numbers summed: near enough to a normal distribution of variance 1. */
static float normal(uint64_t *state)
{
    uint64_t x = mix(*state += 0x9e3779b97f4a7c15U);
    int sum = (int)(x & 0xffff) + (int)(x >> 16 & 0xffff) + (int)(x >> 32 & 0xffff) + (int)(x >> 48);
    return (float)(sum - 2 * 0xffff) * (1.7320508F / 0x10000);
}

typedef struct filling {
    const tiny_shape *shape;
    uint64_t seed;
} filling;

static void fill(struct ggml_tensor *tensor, void *user)
{
    const filling *how = user;
    uint64_t state = how->seed;
    for (const char *c = tensor->name; *c; c++) {
        state = mix(state + (unsigned char)*c);
    }
    /* What a matrix gives is as large as what it is given. Queries and keys are larger, so that attention
     * looks at few tokens, as that of a trained model does. */
    bool matrix = tensor->ne[1] > 1;
    float mean = 0, spread = matrix ? 1 / sqrtf((float)tensor->ne[0]) : 0.3F;
    if (matrix && (strstr(tensor->name, "attn_q") || strstr(tensor->name, "attn_k"))) {
        spread *= 1.8F;
    }
    int sign = PLAIN;
    char name[GGML_MAX_NAME + 1];
    snprintf(name, sizeof name, "%s.", tensor->name);
    for (size_t i = 0; i < sizeof spreads / sizeof *spreads; i++) {
        if (strstr(name, spreads[i].part)) {
            mean = spreads[i].mean, spread = spreads[i].spread, sign = spreads[i].sign;
            break;
        }
    }
    for (int i = 0; i < how->shape->n_times; i++) {
        float factor = strstr(name, how->shape->times[i].part) ? how->shape->times[i].factor : 1;
        mean *= factor, spread *= factor;
    }
    int64_t n = ggml_nelements(tensor);
    float *values = malloc(sizeof *values * n);
    for (int64_t i = 0; i < n; i++) {
        float x = spread * normal(&state);
        values[i] = sign == PLAIN ? mean + x : sign == POSITIVE ? mean + fabsf(x) : -mean - fabsf(x);
    }
    if (tensor->type == GGML_TYPE_F32) {
        ggml_backend_tensor_set(tensor, values, 0, ggml_nbytes(tensor));
    } else {
        ggml_fp16_t *halves = malloc(sizeof *halves * n);
        ggml_fp32_to_fp16_row(values, halves, n);
        ggml_backend_tensor_set(tensor, halves, 0, ggml_nbytes(tensor));
        free(halves);
    }
    free(values);
}

static bool go_on(float progress, void *user)
{
    (void)progress;
    (void)user;
    return true;
}

struct llama_model *shape_model(const tiny_shape *shape, uint64_t seed)
{
    struct gguf_context *gguf = metadata(shape);
    struct llama_model_params parameters = llama_model_default_params();
    parameters.progress_callback = go_on;
    filling how = {shape, seed};
    struct llama_model *model = llama_model_init_from_user(gguf, fill, &how, parameters);
    gguf_free(gguf);
    return model;
}

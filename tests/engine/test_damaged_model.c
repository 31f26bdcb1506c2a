/*
 * A model with a token whose numbers are not finite: the sequence that has it may be spoilt, the one beside
 * it in the same tiles and batches must not notice, nor the next one in its cells. test_damaged_model LIB_DIR
 * PLUGIN SPEC BOUND    (BOUND: of the relative error of the logits)
 */
#include "checks.h"
#include "plugin_functions.h"
#include "random_model.h"

#include "gguf.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

enum { CELLS = 768, PROMPT = 300, STEPS = 40, DAMAGED = 77, SOUND = 78, BATCH = 64 };

/* Makes the token's embedding as it should not be. */
static bool damage(const char *path)
{
    struct gguf_init_params params = {.no_alloc = true};
    struct gguf_context *gguf = gguf_init_from_file(path, params);
    int64_t tensor = gguf ? gguf_find_tensor(gguf, "token_embd.weight") : -1;
    bool done = false;
    if (tensor >= 0) {
        size_t row = gguf_get_tensor_size(gguf, tensor) / MODEL_VOCAB, at = gguf_get_data_offset(gguf);
        float values[] = {NAN, INFINITY, -INFINITY, NAN};
        FILE *file = fopen(path, "r+b");
        at += gguf_get_tensor_offset(gguf, tensor) + DAMAGED * row;
        done = file && fseek(file, (long)at, SEEK_SET) == 0 && fwrite(values, sizeof values, 1, file) == 1;
        done = file && fclose(file) == 0 && done;
    }
    gguf_free(gguf);
    return done;
}

/* Of sequence 1, some are the damaged one: its first, one in the middle, several in a row. */
static llama_token token_at(int seq, int pos, bool damaged)
{
    if (seq == 1 && (pos == 0 || pos == 70 || (pos >= 120 && pos < 125) || pos == PROMPT + 7)) {
        return damaged ? DAMAGED : SOUND;
    }
    llama_token token =
        (llama_token)(((unsigned)pos * 2654435761u ^ (unsigned)(seq + 1) * 40503u) >> 11) % MODEL_VOCAB;
    return token == DAMAGED ? SOUND : token;
}

static const char *our_spec;

static struct llama_context *context(struct llama_model *model, bool ours)
{
    struct llama_context_params params = llama_context_default_params();
    params.n_ctx = CELLS;
    params.n_batch = params.n_ubatch = 2 * BATCH;
    params.n_seq_max = 2;
    params.n_threads = params.n_threads_batch = 2;
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_ENABLED;
    params.kv_unified = true;
    set_cache(ours ? our_spec : "f16");
    return llama_init_from_model(model, params);
}

/* Positions [first, first + n) of both sequences, side by side. */
static bool decode(struct llama_context *c, int first, int n, bool damaged, int salt)
{
    struct llama_batch batch = llama_batch_init(2 * n, 0, 1);
    for (int i = 0; i < n; i++) {
        for (int seq = 0; seq < 2; seq++) {
            int at = batch.n_tokens++;
            batch.token[at] = token_at(seq + salt, first + i, damaged);
            batch.pos[at] = first + i;
            batch.n_seq_id[at] = 1;
            batch.seq_id[at][0] = seq;
            batch.logits[at] = true;
        }
    }
    bool done = llama_decode(c, batch) == 0;
    llama_batch_free(batch);
    return done;
}

/* How far sequence 0, and with `both` sequence 1, are from those of a sound model in f16. */
static double compare(struct llama_context *ours, struct llama_context *stock, int first, int end, int batch,
                      bool both, int salt)
{
    double squares = 0;
    int rows = 0;
    for (int at = first; at < end; at += batch) {
        int n = end - at < batch ? end - at : batch;
        if (!decode(ours, at, n, true, salt) || !decode(stock, at, n, false, salt)) {
            return INFINITY;
        }
        for (int i = 0; i < 2 * n; i++) {
            if (both || i % 2 == 0) {
                double error = relative_error(llama_get_logits_ith(ours, i), llama_get_logits_ith(stock, i),
                                              MODEL_VOCAB);
                squares += error * error;
                rows++;
            }
        }
    }
    return sqrt(squares / rows);
}

static int lines_with(const char *path, const char *text)
{
    char line[1024];
    int n = 0;
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file)) {
        n += strstr(line, text) != NULL;
    }
    if (file) {
        fclose(file);
    }
    return n;
}

static double metric(const char *path, const char *name)
{
    char line[1024];
    double value = -1;
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file)) {
        if (strncmp(line, name, strlen(name)) == 0) {
            value = atof(line + strlen(name));
        }
    }
    if (file) {
        fclose(file);
    }
    return value;
}

static void to_stderr(enum ggml_log_level level, const char *text, void *data)
{
    (void)level;
    (void)data;
    fputs(text, stderr);
}

int main(int argc, char **argv)
{
    char path[] = "tada-model-XXXXXX", log[] = "tada-log-XXXXXX", metrics[] = "tada-metrics-XXXXXX";
    if (argc != 5) {
        fprintf(stderr, "usage: test_damaged_model LIB_DIR PLUGIN SPEC BOUND\n");
        return 2;
    }
    double bound = atof(argv[4]);
    our_spec = argv[3];
    int file = mkstemp(path), log_file = mkstemp(log), metrics_file = mkstemp(metrics), terminal = dup(2);
    setenv("TADA_METRICS", metrics, 1);
    if (file < 0 || log_file < 0 || metrics_file < 0 || !load_plugin(argv[1], argv[2], argv[3]) ||
        !find_plugin_functions()) {
        return 1;
    }
    bool written = random_model_write(random_model_shape(0), path) && damage(path);
    struct llama_model *model =
        written ? llama_model_load_from_file(path, llama_model_default_params()) : NULL;
    close(file);
    unlink(path);
    if (!model) {
        fprintf(stderr, "the model is not loaded\n");
        return 1;
    }
    llama_log_set(to_stderr, NULL);
    dup2(log_file, 2);
    struct llama_context *ours = context(model, true), *stock = context(model, false);
    double error = compare(ours, stock, 0, PROMPT, BATCH, false, 0);
    report(error <= bound, "the prompt of the sequence beside it (error %.4f)", error);
    error = compare(ours, stock, PROMPT, PROMPT + STEPS, 1, false, 0);
    report(error <= bound, "... and what follows (error %.4f)", error);
    for (int i = 0; i < 2; i++) {
        llama_memory_seq_rm(llama_get_memory(i ? ours : stock), 1, -1, -1);
        llama_memory_seq_rm(llama_get_memory(i ? ours : stock), 0, -1, -1);
    }
    error = compare(ours, stock, 0, PROMPT, BATCH, true, 2);
    report(error <= bound, "the next sequences in its cells (error %.4f)", error);
    llama_free(ours);
    llama_free(stock);
    llama_model_free(model);
    dup2(terminal, 2);
    int n = lines_with(log, "not finite");
    report(n == 1 && lines_with(log, "layer 0 has values that are not finite") == 1,
           "one line of the log says so, and which layer (%d)", n);
    double k = metric(metrics, "tada_nonfinite_cells_total{kind=\"k\"} ");
    double v = metric(metrics, "tada_nonfinite_cells_total{kind=\"v\"} ");
    report(k >= 8 * MODEL_LAYERS && v >= 8 * MODEL_LAYERS, "the metrics count the rows (K %g, V %g)", k, v);
    unlink(log);
    unlink(metrics);
    return failures > 0;
}

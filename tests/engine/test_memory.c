/*
 * What a cache takes: address space for all cells, pages only for those that are used, and none of these any
 * more when it is cleared. test_memory LIB_DIR PLUGIN                         a random model, of which all
 * 8192 cells are filled test_memory LIB_DIR PLUGIN MODEL MIB [FILL]        65536 cells of a model: the
 * process may have so many MiB after a short prompt; FILL cells are filled (hours, for all)
 */
#include "checks.h"
#include "buffers.h"
#include "plugin_functions.h"
#include "sequences.h"

/* Small batches: llama.cpp keeps a mask of all cells for each token of one, which is as large as a cache. */
enum { BATCH = 32, SHORT = 16 };

/* As large as a cache must be to show in the memory of a process, with next to no weights. */
static const model_shape wide = {
    .name = "wide", .family = FAMILY_LLAMA, .heads = 4, .kv_heads = 4, .head_dim = 128};

/* MiB of the process that are in memory. */
static double resident(void)
{
    char line[128];
    double kib = NAN;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file)) {
        sscanf(line, "VmRSS: %lf", &kib);
    }
    if (file) {
        fclose(file);
    }
    return kib / 1024;
}

static struct llama_context *context(struct llama_model *model, uint32_t cells)
{
    struct llama_context_params params = llama_context_default_params();
    params.n_ctx = cells;
    params.n_batch = params.n_ubatch = BATCH;
    params.n_threads = params.n_threads_batch = 2;
    return llama_init_from_model(model, params);
}

static bool fill(struct llama_context *c, int from, int to)
{
    bool done = true;
    for (int at = from; at < to && done; at += BATCH) {
        int n = to - at < BATCH ? to - at : BATCH;
        struct llama_batch batch = llama_batch_init(n, 0, 1);
        batch.n_tokens = n;
        for (int i = 0; i < n; i++) {
            batch.token[i] = token_at(0, at + i);
            batch.pos[i] = at + i;
            batch.n_seq_id[i] = 1;
            batch.seq_id[i][0] = 0;
            batch.logits[i] = i == n - 1;
        }
        done = llama_decode(c, batch) == 0;
        llama_batch_free(batch);
    }
    return done;
}

static size_t used_bytes(const char *when)
{
    size_t reserved = 0, used = 0, f16 = 0;
    plugin.cache_bytes(&reserved, &used, &f16);
    report(used <= reserved && reserved < f16, "%s: %.2f of %.2f MiB are used, f16 takes %.2f", when,
           (double)used / 1048576, (double)reserved / 1048576, (double)f16 / 1048576);
    return used;
}

/* most: MiB of the process after a short prompt, 0: any. */
static void run(struct llama_model *model, uint32_t cells, int n_fill, double most)
{
    struct llama_context *c = model ? context(model, cells) : NULL;
    if (!c || !fill(c, 0, SHORT)) {
        report(false, "a context of %u cells computes", cells);
        return;
    }
    double told = buffers_mib(c, BUFFERS_CACHE, "TADA"), first = resident();
    size_t reserved = 0, f16_bytes = 0;
    plugin.cache_bytes(&reserved, NULL, &f16_bytes);
    double f16 = (double)f16_bytes / 1048576;
    report(told == (double)reserved / 1048576, "%u cells: llama.cpp knows the size (%.2f, %.2f MiB)", cells,
           told, (double)reserved / 1048576);
    report(most == 0 || first <= most, "%u cells: %.1f MiB after a short prompt%s", cells, first,
           most > 0 ? ", which is few" : "");
    size_t used_first = used_bytes("after a short prompt");
    if (n_fill > SHORT) {
        bool done = fill(c, SHORT, n_fill);
        double full = resident();
        size_t used_full = used_bytes("filled");
        report(done && used_full > used_first, "%d cells are filled: %.1f MiB", n_fill, full);
        /* A small cache may well be one large page of the system. */
        double share = (double)n_fill / cells, used_share = (double)used_full / (double)reserved;
        report(most == 0 || used_share <= 2 * share + 0.05, "%.1f %% of the cells take %.1f %% of the cache",
               100 * share, 100 * used_share);
        llama_memory_clear(llama_get_memory(c), true);
        double cleared = resident();
        size_t used_cleared = used_bytes("cleared");
        /* A process without weights is so small that all that llama.cpp keeps shows in it. */
        double enough = most > 0 ? 1.1 * first : first + 0.1 * f16;
        report(cleared <= enough, "cleared: %.1f MiB, %.1f after the short prompt", cleared, first);
        report(used_cleared <= used_first + reserved / 20, "cleared: pages of the cache are given back");
        done = fill(c, 0, SHORT);
        double again = resident();
        size_t used_again = used_bytes("after the short prompt again");
        report(done && again <= enough && used_again <= used_first + reserved / 20,
               "the short prompt again: %.1f MiB", again);
    }
    llama_free(c);
    size_t left = 1;
    plugin.cache_bytes(&reserved, &left, NULL);
    report(reserved == 0 && left == 0, "freed: nothing is left");
}

int main(int argc, char **argv)
{
    if (argc != 3 && argc != 5 && argc != 6) {
        fprintf(stderr, "usage: test_memory LIB_DIR PLUGIN [MODEL MIB [FILL]]\n");
        return 2;
    }
    if (!load_plugin(argv[1], argv[2], "tada") || !find_plugin_functions()) {
        return 1;
    }
    struct llama_model *model = argc == 3 ? random_model_load(&wide, llama_model_default_params())
                                          : llama_model_load_from_file(argv[3], llama_model_default_params());
    if (argc == 3) {
        run(model, 8192, 8192, 0);
    } else {
        run(model, 65536, argc == 6 ? atoi(argv[5]) : 0, atof(argv[4]));
    }
    llama_model_free(model);
    return failures > 0;
}

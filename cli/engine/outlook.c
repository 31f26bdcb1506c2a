#include "outlook.h"

#include "engine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST_SECONDS = 60 };

static double share_of(size_t bytes, size_t all)
{
    return all > 0 ? (double)bytes / (double)all : 0;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

void outlook_of(const struct model *model, const struct size_parts *f16, const struct size_parts *parts,
                struct outlook *outlook)
{
    const struct engine *engine = model->engine;
    size_t all = size_kv(f16), compressed = least(parts->compressed, all);
    size_t rows = least(parts->rows, all - compressed), elsewhere = least(parts->elsewhere, rows);
    *outlook = (struct outlook){
        .f16 = (double)all,
        .bytes = (double)size_kv(parts),
        .compressed = share_of(compressed, all),
        .elsewhere = share_of(elsewhere, all),
        .unread = share_of(rows - elsewhere, all),
        .wide = share_of(all - compressed - rows, all),
        .is_recurrent =
            engine->llama_model_is_recurrent(model->llama) || engine->llama_model_is_hybrid(model->llama),
        .n_swa = engine->llama_model_n_swa(model->llama),
    };
    memcpy(outlook->gpus, parts->gpus, sizeof outlook->gpus);
}

/* ---- in a process of its own ---- */

static bool look(const struct size_options *options, const char *spec, struct outlook *outlook)
{
    struct engine engine;
    struct size_model model;
    struct size_cache f16, cache;
    struct size_parts f16_parts, parts;
    if (engine_open(&engine) != 0 || size_open(&engine, options, &model) != 0) {
        return false;
    }
    bool done = size_choose(&model, "f16", &f16) == 0 && size_of(&f16, options->n_ctx, &f16_parts) == 0 &&
                size_choose(&model, spec, &cache) == 0 && size_of(&cache, options->n_ctx, &parts) == 0;
    if (done) {
        outlook_of(&model.model, &f16_parts, &parts, outlook);
    }
    return done;
}

/* Says nothing, leaves no core, and does not go on for ever. */
static void be_quiet(void)
{
    int nowhere = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO && nowhere >= 0; fd++) {
        dup2(nowhere, fd);
    }
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    setenv("GGML_NO_BACKTRACE", "1", 1);
    unsetenv("TADA_METRICS");
    alarm(MOST_SECONDS);
}

static bool read_all(int fd, void *data, size_t size)
{
    size_t done = 0;
    ssize_t n;
    do {
        n = read(fd, (char *)data + done, size - done);
        done += n > 0 ? (size_t)n : 0;
    } while (done < size && (n > 0 || (n < 0 && errno == EINTR)));
    return done == size;
}

bool outlook_look(const struct size_options *options, const char *spec, struct outlook *outlook)
{
    int ends[2];
    fflush(NULL);
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return false;
    }
    pid_t child = fork();
    if (child == 0) {
        struct outlook found;
        be_quiet();
        bool done = look(options, spec, &found);
        _exit(done && write(ends[1], &found, sizeof found) == (ssize_t)sizeof found ? 0 : 1);
    }
    close(ends[1]);
    bool known = child > 0 && read_all(ends[0], outlook, sizeof *outlook);
    close(ends[0]);
    while (child > 0 && waitpid(child, NULL, 0) < 0 && errno == EINTR) {
    }
    return known;
}

/* ---- in words ---- */

void outlook_tell(const struct outlook *o, char text[OUTLOOK_TEXT])
{
    static const double rounding = 0.005,
                        little = 16384; /* llama.cpp aligns tensors, and rounds what it logs */
    double percent = 100 * o->compressed;
    *text = '\0';
    if (o->f16 == 0) {
        snprintf(text, OUTLOOK_TEXT, "0 %% is compressed: this model has no KV cache%s.",
                 o->is_recurrent ? ", only recurrent states" : ", as it reads a text as a whole");
    } else if (1 - o->compressed < rounding || (1 - o->compressed) * o->f16 < little) {
        return;
    } else if (o->elsewhere >= o->unread && o->elsewhere >= o->wide) {
        snprintf(
            text, OUTLOOK_TEXT,
            "%.0f %% of the KV cache is compressed: layers on %s keep theirs there as it is; -nkvo keeps "
            "it in RAM, compressed.",
            percent, o->gpus);
    } else if (o->wide >= o->unread) {
        snprintf(
            text, OUTLOOK_TEXT,
            "%.0f %% of the KV cache is compressed: %s rows have widths that are no multiples of 16, and "
            "stay in f16.",
            percent, o->compressed > 0 ? "other" : "its");
    } else if (o->compressed == 0) {
        snprintf(text, OUTLOOK_TEXT,
                 "0 %% of the KV cache is compressed: this model is computed without flash attention, which "
                 "a compressed cache needs.");
    } else {
        snprintf(text, OUTLOOK_TEXT,
                 "%.0f %% of the KV cache is compressed: flash attention does not read the rest, which stays "
                 "in f16.",
                 percent);
    }
}

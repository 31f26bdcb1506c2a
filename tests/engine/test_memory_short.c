/*
 * Memory is short: each allocation of the plug-in fails once, and so do all from each one on, while a context
 * is made, computes, is restored, shifted, copied or saved, as rows or as codes. What llama.cpp is told to
 * have worked has worked; a context that is freed at once afterwards leaves nothing behind, and one that goes
 * on works again when memory is back.  test_memory_short LIB_DIR PLUGIN SPEC BOUND [SUBJECT]
 *
 * Each series of failures runs in a process of its own, so that one that ends badly does not hide the others.
 */
#include "checks.h"
#include "log_lines.h"
#include "plugin_functions.h"
#include "random_model.h"

#include <dlfcn.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    UBATCH = 64,
    PROMPT = 3 * UBATCH,
    CELLS = 256,
    STEPS = 3,
    DECODES = PROMPT / UBATCH + STEPS,
    MOST = 5000
};

static const model_shape shape = {
    .name = "gqa-64", .family = FAMILY_LLAMA, .heads = 4, .kv_heads = 2, .head_dim = 64};

static void (*faults_start)(long n, bool onwards);
static bool (*faults_stop)(void);
static long (*faults_live)(void);
static double bound;

/* What the parent sees of a child. */
static struct progress {
    long allocation; /* that fails now */
    long told;       /* how often llama.cpp heard of it */
    double most;     /* the largest relative error of logits */
    char wrong[512]; /* what was wrong first; "": nothing */
} * progress;

/* One context at work. */
typedef struct run {
    struct llama_context *c;
    float (*want)[MODEL_VOCAB]; /* the logits after each decode */
    uint8_t *state;             /* what restoring takes, and saving gives */
    size_t state_size;
    uint8_t *codes; /* the same as codes, of the run alone */
    size_t codes_size;
    bool record;   /* nothing fails: `want` is being filled */
    bool goes_on;  /* a decode that fails is done again, with memory */
    bool short_of; /* memory, still */
    bool told;     /* an error was returned */
    bool excused;  /* llama.cpp goes on after an error that it only logs: logits mean nothing */
    int n_decodes;
} run;

static void wrong(const run *r, const char *what)
{
    char line[256] = "nothing";
    if (!progress->wrong[0]) {
        log_find("TADA: ", "", line, sizeof line);
        snprintf(progress->wrong, sizeof progress->wrong, "allocation %ld: %s (decode %d; the log says: %s)",
                 progress->allocation, what, r->n_decodes, line);
    }
}

static void memory_is_back(run *r)
{
    if (r->short_of && !faults_stop()) {
        wrong(r, "an error, but no allocation has failed");
    }
    r->short_of = false;
}

static bool decode(struct llama_context *c, int seq, int first, int n, int salt)
{
    struct llama_batch batch = llama_batch_init(n, 0, 1);
    for (int i = 0; i < n; i++) {
        batch.token[i] = (first + i) * (37 + 2 * salt) % 199 + 3;
        batch.pos[i] = first + i;
        batch.n_seq_id[i] = 1;
        batch.seq_id[i][0] = seq;
        batch.logits[i] = i == n - 1;
    }
    batch.n_tokens = n;
    bool done = llama_decode(c, batch) == 0;
    llama_batch_free(batch);
    return done;
}

/* Decodes, and looks at the logits where that is said to have worked. may_be_lost: what it reads may have
 * been lost without an error, as a state that is restored cannot return one. */
static bool step(run *r, int seq, int first, int n, int salt, bool may_be_lost)
{
    bool done = decode(r->c, seq, first, n, salt);
    if (log_find("failed to", "K-shift", NULL, 0) > 0) {
        r->excused = true;
    }
    if (!done) {
        r->told = true;
        if (!r->goes_on) {
            return false;
        }
        memory_is_back(r);
        done = decode(r->c, seq, first, n, salt);
        if (!done && !may_be_lost && !r->excused) {
            wrong(r, "with memory again, decode fails a second time");
        }
    }
    if (done && r->record) {
        memcpy(r->want[r->n_decodes], llama_get_logits_ith(r->c, -1), sizeof *r->want);
    } else if (done && !r->excused) {
        double error = relative_error(llama_get_logits_ith(r->c, -1), r->want[r->n_decodes], MODEL_VOCAB);
        progress->most = error > progress->most ? error : progress->most;
        if (!(error <= bound)) {
            char text[80];
            snprintf(text, sizeof text, "decode has worked, with other logits (%.3g)", error);
            wrong(r, text);
        }
    }
    r->n_decodes++;
    return done;
}

/* ---- subjects: what there is before, and what is done while memory is short ---- */

static bool prompt(run *r)
{
    return decode(r->c, 0, 0, PROMPT, 0);
}

static bool nothing(run *r)
{
    (void)r;
    return true;
}

static bool compute(run *r)
{
    for (int i = 0; i < PROMPT; i += UBATCH) {
        if (!step(r, 0, i, UBATCH, 0, false)) {
            return false;
        }
    }
    for (int i = 0; i < STEPS; i++) {
        if (!step(r, 0, PROMPT + i, 1, 0, false)) {
            return false;
        }
    }
    return true;
}

/* Other tokens in place of the last ones, so that a tile that was compressed is written again. */
static bool rewind_and_compute(run *r)
{
    llama_memory_seq_rm(llama_get_memory(r->c), 0, PROMPT / 2 + 9, -1);
    for (int i = 0; i < 2; i++) {
        if (!step(r, 0, PROMPT / 2 + 9 + i * UBATCH, UBATCH, 5, false)) {
            return false;
        }
    }
    return true;
}

/* As when a context is full: the first half goes, the rest moves up. */
static bool shift(run *r)
{
    llama_memory_seq_rm(llama_get_memory(r->c), 0, 4, PROMPT / 2);
    llama_memory_seq_add(llama_get_memory(r->c), 0, PROMPT / 2, -1, -(PROMPT / 2 - 4));
    for (int i = 0; i < STEPS; i++) {
        if (!step(r, 0, PROMPT / 2 + 4 + i, 1, 0, false)) {
            return false;
        }
    }
    return true;
}

/* The stream of one sequence becomes that of another, which had tokens of its own. */
static bool two_prompts(run *r)
{
    return prompt(r) && decode(r->c, 1, 0, UBATCH, 3);
}

static bool copy(run *r)
{
    llama_memory_t memory = llama_get_memory(r->c);
    llama_memory_seq_rm(memory, 1, -1, -1);
    llama_memory_seq_cp(memory, 0, 1, -1, -1);
    for (int i = 0; i < STEPS; i++) {
        if (!step(r, 1, PROMPT + i, 1, 0, true)) {
            return false;
        }
    }
    return true;
}

/* The prompt from a state, and what follows. */
static bool restore(run *r)
{
    if (llama_state_seq_set_data(r->c, r->state, r->state_size, 0) != r->state_size) {
        r->told = true;
        return false;
    }
    for (int i = 0; i < STEPS; i++) {
        if (!step(r, 0, PROMPT + i, 1, 0, true)) {
            return false;
        }
    }
    return true;
}

/* The same where there are planes already, which had other rows. */
static bool restore_over(run *r)
{
    llama_memory_seq_rm(llama_get_memory(r->c), 0, -1, -1);
    return restore(r);
}

static bool other_prompt(run *r)
{
    return decode(r->c, 0, 0, PROMPT, 8);
}

static bool save(run *r)
{
    uint8_t *state = malloc(r->state_size);
    size_t size = llama_state_seq_get_data(r->c, state, r->state_size, 0);
    if (size == 0) {
        r->told = true;
    } else if (size != r->state_size || memcmp(state, r->state, size) != 0) {
        wrong(r, "a state has been saved that is not the context's");
    }
    free(state);
    return size > 0;
}

/* ---- states as codes, as tada serve keeps prompts and checkpoints ---- */

static size_t get(void *host, uint8_t *to, size_t size)
{
    return llama_state_seq_get_data(((run *)host)->c, to, size, 0);
}

static size_t set(void *host, const uint8_t *from, size_t size)
{
    return llama_state_seq_set_data(((run *)host)->c, from, size, 0);
}

static bool prompt_in_codes(run *r)
{
    free(r->codes);
    r->codes = NULL;
    if (!prompt(r)) {
        return false;
    }
    size_t plain = llama_state_seq_get_size(r->c, 0);
    r->codes_size = plugin.state_bytes(get, r, plain, 0);
    r->codes = malloc(r->codes_size + 1);
    return r->codes_size > 0 &&
           plugin.state_save(get, r, plain, NULL, 0, r->codes, r->codes_size) == r->codes_size;
}

/* One that is not restored is computed again. */
static bool restore_codes(run *r)
{
    llama_memory_seq_rm(llama_get_memory(r->c), 0, -1, -1);
    if (!plugin.state_restore(set, r, r->codes, r->codes_size)) {
        llama_memory_seq_rm(llama_get_memory(r->c), 0, -1, -1);
        r->told = true;
        return false;
    }
    for (int i = 0; i < STEPS; i++) {
        if (!step(r, 0, PROMPT + i, 1, 0, false)) {
            return false;
        }
    }
    return true;
}

static bool save_codes(run *r)
{
    size_t plain = llama_state_seq_get_size(r->c, 0);
    size_t size = plugin.state_bytes(get, r, plain, 0);
    uint8_t *codes = malloc(size + 1);
    bool done = size > 0 && plugin.state_save(get, r, plain, NULL, 0, codes, size) == size;
    r->told = r->told || !done;
    if (size > 0 && !done) {
        wrong(r, "a state cannot be saved whose size was told"); /* llama-server aborts then */
    }
    if (done && (size != r->codes_size || memcmp(codes, r->codes, size) != 0)) {
        wrong(r, "other codes are saved than with memory");
    }
    free(codes);
    return done;
}

static const struct subject {
    const char *name;
    bool (*prepare)(run *r);
    bool (*work)(run *r);
    bool make; /* memory is short while the context is made, too */
} subjects[] = {
    {"making", nothing, compute, true},
    {"computing", nothing, compute, false},
    {"rewinding", prompt, rewind_and_compute, false},
    {"shifting", prompt, shift, false},
    {"copying", two_prompts, copy, false},
    {"restoring", nothing, restore, false},
    {"restoring over", other_prompt, restore_over, false},
    {"saving", prompt, save, false},
    {"restoring codes", prompt_in_codes, restore_codes, false},
    {"saving codes", prompt_in_codes, save_codes, false},
};
enum { SUBJECTS = sizeof subjects / sizeof *subjects };

/* ---- one series: one subject, each of its allocations ---- */

typedef struct series {
    const struct subject *subject;
    bool onwards; /* all allocations from the n-th on fail, not it alone */
    bool goes_on; /* the context is used on, not freed at once */
} series;

static struct llama_context *make_context(struct llama_model *model, int n_threads)
{
    struct llama_context_params params = llama_context_default_params();
    params.n_ctx = 2 * CELLS;
    params.n_batch = PROMPT;
    params.n_ubatch = UBATCH;
    params.n_seq_max = 2;
    params.n_threads = params.n_threads_batch = n_threads;
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_ENABLED;
    params.kv_unified = false;
    return llama_init_from_model(model, params);
}

/* Everything from the beginning, with memory. */
static void do_again(run *r, const struct subject *subject)
{
    llama_memory_clear(llama_get_memory(r->c), false);
    r->n_decodes = 0;
    r->told = r->excused = r->goes_on = false;
    log_forget();
    if (!subject->prepare(r) || !subject->work(r)) {
        wrong(r, "with memory again, the same work from the beginning fails");
    }
}

/* Whether an allocation has failed. */
static bool fail(struct llama_model *model, const series *s, const run *like, long n)
{
    run r = *like;
    progress->allocation = n;
    r.goes_on = s->goes_on;
    log_forget();
    if (s->subject->make) {
        faults_start(n, s->onwards);
    }
    r.c = make_context(model, s->goes_on ? 2 : 1);
    if (!r.c) {
        progress->told++;
        bool hit = faults_stop();
        if (!hit || !s->subject->make) {
            wrong(&r, "no context, but no allocation has failed");
        }
        return hit;
    }
    if (!s->subject->prepare(&r)) {
        wrong(&r, "what is done before fails");
    }
    r.short_of = true;
    if (!s->subject->make) {
        faults_start(n, s->onwards);
    }
    bool done = s->subject->work(&r);
    if (!s->goes_on) {
        llama_free(r.c);
        free(r.codes);
    }
    bool hit = faults_stop();
    r.short_of = false;
    progress->told += r.told;
    if (!done && !hit) {
        wrong(&r, "an error, but no allocation has failed");
    }
    if (s->goes_on) {
        do_again(&r, s->subject);
        llama_free(r.c);
        free(r.codes);
    }
    return hit;
}

static struct llama_model *load(const char *const *arguments, const char *path)
{
    if (!load_plugin(arguments[1], arguments[2], arguments[3])) {
        return NULL;
    }
    llama_log_set(log_keep, NULL);
    void *library = dlopen(arguments[2], RTLD_NOW | RTLD_NOLOAD);
    *(void **)&faults_start = library ? dlsym(library, "tada_faults_start") : NULL;
    *(void **)&faults_stop = library ? dlsym(library, "tada_faults_stop") : NULL;
    *(void **)&faults_live = library ? dlsym(library, "tada_faults_live") : NULL;
    if (!faults_start || !faults_stop || !faults_live) {
        fprintf(stderr, "%s has no failing allocations\n", arguments[2]);
        return NULL;
    }
    return find_plugin_functions() ? llama_model_load_from_file(path, llama_model_default_params()) : NULL;
}

/* The state of the prompt, then what the work gives without failures. */
static bool record(struct llama_model *model, const struct subject *subject, run *r)
{
    *r = (run){.record = true, .want = calloc(DECODES, sizeof *r->want), .c = make_context(model, 1)};
    bool done = r->c && prompt(r);
    if (done) {
        r->state_size = llama_state_seq_get_size(r->c, 0);
        r->state = malloc(r->state_size);
        done = llama_state_seq_get_data(r->c, r->state, r->state_size, 0) == r->state_size;
    }
    llama_free(r->c);
    r->c = make_context(model, 1);
    done = done && r->c && subject->prepare(r) && subject->work(r);
    llama_free(r->c);
    free(r->codes);
    r->codes = NULL;
    r->record = false;
    r->n_decodes = 0;
    return done;
}

static int child(const char *const *arguments, const char *path, const series *s)
{
    struct llama_model *model = load(arguments, path);
    run want;
    if (!model || !record(model, s->subject, &want)) {
        snprintf(progress->wrong, sizeof progress->wrong, "without failures it does not work");
        return 1;
    }
    fail(model, s, &want, MOST); /* the second time: what is made once has been made */
    long live = faults_live();
    for (long n = 1; n < MOST && fail(model, s, &want, n); n++) {
        if (faults_live() != live) {
            char text[80];
            snprintf(text, sizeof text, "%ld blocks and bytes are left behind", faults_live() - live);
            wrong(&want, text);
            live = faults_live();
        }
    }
    llama_model_free(model);
    free(want.want);
    free(want.state);
    return 0;
}

/* Returns the number of failures that were tried. */
static long run_series(const char *const *arguments, const char *path, const series *s)
{
    *progress = (struct progress){0};
    fflush(stdout);
    pid_t process = fork();
    if (process == 0) {
        exit(child(arguments, path, s));
    }
    int status = -1;
    waitpid(process, &status, 0);
    char end[64] = "";
    if (WIFSIGNALED(status)) {
        snprintf(end, sizeof end, "signal %d at allocation %ld", WTERMSIG(status), progress->allocation);
    }
    long tried = progress->allocation - 1;
    bool good = !progress->wrong[0] && WIFEXITED(status) && WEXITSTATUS(status) == 0 && tried > 0;
    report(good, "%s: %ld failures of %s, then %s; told of %ld (error %.4f)%s%s%s%s", s->subject->name, tried,
           s->onwards ? "all from one on" : "a single one", s->goes_on ? "used on" : "freed at once",
           progress->told, progress->most, progress->wrong[0] ? ": " : "", progress->wrong, *end ? ": " : "",
           end);
    return tried;
}

int main(int argc, char **argv)
{
    if (argc != 5 && argc != 6) {
        fprintf(stderr, "usage: test_memory_short LIB_DIR PLUGIN SPEC BOUND [SUBJECT]\n");
        return 2;
    }
    bound = atof(argv[4]);
    progress = mmap(NULL, sizeof *progress, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    char path[] = "tada-model-XXXXXX";
    int file = mkstemp(path);
    if (progress == MAP_FAILED || file < 0 || !random_model_write(&shape, path)) {
        fprintf(stderr, "the model cannot be written\n");
        return 1;
    }
    long tried = 0;
    for (int i = 0; i < SUBJECTS * 4; i++) {
        series s = {&subjects[i / 4], i % 4 / 2, i % 2};
        if (argc < 6 || strcmp(argv[5], s.subject->name) == 0) {
            tried += run_series((const char *const *)argv, path, &s);
        }
    }
    close(file);
    unlink(path);
    report(tried > 100, "%ld failures in all", tried);
    return failures > 0;
}

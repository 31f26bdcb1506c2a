/* Tasks are asked of one cache: likelihoods of offered answers, and answers that the model writes. */
#include "exam.h"

#include "engine/lineup.h"
#include "engine/softmax.h"
#include "output/note.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Rows of a batch are seen as they are: it must be short, or little of a prompt would be seen compressed. */
enum { BATCH = 64, WORKED_TOKENS = 256, WORKED_BYTES = 8192 };

/* ---- texts ---- */

static int make_text(const struct model *model, const char *prompt, const char *answer,
                     struct exam_text *text)
{
    char *full = NULL;
    llama_token *start = NULL;
    int n_start = 0;
    if (asprintf(&full, "%s%s", prompt, answer) < 0) {
        return cli_fail("Memory is too short for the tasks: give fewer.");
    }
    int status = model_tokenize(model, full, strlen(full), true, false, &text->tokens, &text->n);
    status = status ? status : model_tokenize(model, prompt, strlen(prompt), true, false, &start, &n_start);
    free(full);
    /* A token may span the end of the prompt. At least one is the answer's, and one comes before it. */
    while (status == 0 && text->n_prompt < n_start && text->n_prompt < text->n - 1 &&
           text->tokens[text->n_prompt] == start[text->n_prompt]) {
        text->n_prompt++;
    }
    free(start);
    if (status == 0 && text->n_prompt < 1) {
        cli_fail("The prompt '%.40s' has no tokens that come before an answer: give a longer one.", prompt);
        status = EXIT_USAGE;
    }
    return status;
}

static int texts_of(const struct task *task)
{
    return task->choices ? task->n_choices : 1;
}

int exam_open(struct exam *exam, const struct model *model, const struct tasks *tasks)
{
    int n = 0, status = 0;
    for (int i = 0; i < tasks->n; i++) {
        n += texts_of(&tasks->list[i]);
    }
    *exam =
        (struct exam){.model = model, .tasks = tasks, .texts = calloc((size_t)n, sizeof(struct exam_text))};
    if (!exam->texts) {
        return cli_fail("Memory is too short for the tasks: give fewer.");
    }
    for (int i = 0; i < tasks->n; i++) {
        const struct task *task = &tasks->list[i];
        for (int j = 0; j < texts_of(task) && status == 0; j++) {
            struct exam_text *text = &exam->texts[exam->n_texts++];
            status = make_text(model, task->prompt, task->choices ? task->choices[j] : task->answer, text);
            int cells = *task->number && text->n < text->n_prompt + WORKED_TOKENS
                            ? text->n_prompt + WORKED_TOKENS
                            : text->n;
            exam->n_cells = cells > exam->n_cells ? cells : exam->n_cells;
            exam->longest_prompt =
                text->n_prompt > exam->longest_prompt ? text->n_prompt : exam->longest_prompt;
        }
    }
    return status;
}

void exam_close(struct exam *exam)
{
    for (int i = 0; i < exam->n_texts; i++) {
        free(exam->texts[i].tokens);
    }
    free(exam->texts);
    *exam = (struct exam){.texts = NULL};
}

/* ---- texts that share a prompt ---- */

/*
 * How many tokens that the texts of a task share are computed only once. An answer that was read makes the
 * cache compress tokens that must be exact when the next one is: as many as the window has, and the tiles
 * that it touches, are computed anew, so that all answers find the cache alike.
 */
static int tokens_to_share(const struct exam_text *texts, int n, int window)
{
    int common = texts[0].n_prompt - 1;
    for (int i = 1; i < n; i++) {
        int same = 0;
        while (same < common && same < texts[i].n_prompt - 1 &&
               texts[i].tokens[same] == texts[0].tokens[same]) {
            same++;
        }
        common = same;
    }
    int kept = common - window - 2 * TADA_TILE_CELLS;
    return kept < 0 ? 0 : kept / BATCH * BATCH;
}

double exam_tokens(const struct exam *exam, int window)
{
    double sum = 0;
    int first = 0;
    for (int i = 0; i < exam->tasks->n; i++) {
        const struct task *task = &exam->tasks->list[i];
        const struct exam_text *texts = &exam->texts[first];
        int n = texts_of(task), kept = tokens_to_share(texts, n, window);
        sum += kept > 0 ? texts[0].n_prompt : 0;
        for (int j = 0; j < n; j++) {
            sum += texts[j].n - kept;
        }
        sum += *task->number ? texts[0].n_prompt - kept + WORKED_TOKENS : 0;
        first += n;
    }
    return sum;
}

static int go_back(struct cache *cache, int kept)
{
    if (kept == 0) {
        cache_clear(cache);
        return 0;
    }
    return cache_rewind(cache, kept);
}

struct reading {
    double likelihood; /* sum of the log-likelihoods of the answer's tokens */
    bool expected;     /* each of them is the most likely one */
};

/* Tokens from `first` on; their answer is read only where they hold one. */
static int read_tokens(struct cache *cache, const struct exam_text *text, int first, int end,
                       struct work *work, struct reading *reading)
{
    *reading = (struct reading){0, true};
    for (int at = first; at < end; at += BATCH) {
        int n = end - at < BATCH ? end - at : BATCH;
        /* The row of a token tells the next one. */
        int from = at > text->n_prompt - 1 ? at : text->n_prompt - 1, n_rows = at + n - from;
        n_rows = n_rows < 0 ? 0 : n_rows;
        int status = interrupted() ? EXIT_INTERRUPTED : cache_decode(cache, text->tokens + at, n, at, n_rows);
        if (status != 0) {
            return status;
        }
        for (int row = 0; row < n_rows; row++) {
            const float *logits = cache_logits(cache, row);
            struct softmax softmax = softmax_of(logits, cache->model->n_vocab);
            llama_token next = text->tokens[from + row + 1];
            reading->likelihood += (double)logits[next] - softmax.log_sum;
            reading->expected = reading->expected && softmax.top == next;
        }
        work->done += n;
        progress_show(&work->progress, work->done, work->total, work->detail);
    }
    return 0;
}

/* The number that the model works out itself, after the first `kept` tokens of the prompt. */
static int work_out(struct cache *cache, const struct exam_text *text, int kept, struct work *work,
                    char number[MAX_NUMBER])
{
    static const char *const stops[] = {"\n\n", "Question:", NULL};
    char written[WORKED_BYTES] = "";
    struct reading nothing;
    int status = go_back(cache, kept);
    status = status ? status : read_tokens(cache, text, kept, text->n_prompt, work, &nothing);
    if (status == 0) {
        status = cache_answer(cache, text->n_prompt, WORKED_TOKENS, stops, written, sizeof written);
    }
    work->done += WORKED_TOKENS;
    answer_number(written, number);
    return status == 0 && interrupted() ? EXIT_INTERRUPTED : status;
}

/* ---- the exam ---- */

static int take_task(struct cache *cache, const struct task *task, const struct exam_text *texts, int window,
                     struct work *work, struct exam_score *score)
{
    int n = texts_of(task), best = 0, status = 0, kept = tokens_to_share(texts, n, window);
    struct reading answer = {0}, right_answer = {0}, nothing;
    int right = task->choices ? task->right : 0;
    double most = -INFINITY;
    if (kept > 0) {
        cache_clear(cache);
        status = read_tokens(cache, &texts[0], 0, texts[0].n_prompt - 1, work, &nothing);
    }
    for (int i = 0; i < n && status == 0; i++) {
        status = go_back(cache, kept);
        status = status ? status : read_tokens(cache, &texts[i], kept, texts[i].n - 1, work, &answer);
        right_answer = i == right ? answer : right_answer;
        best = i == 0 || answer.likelihood > most ? i : best;
        most = best == i ? answer.likelihood : most;
    }
    if (status != 0) {
        return status;
    }
    bool is_right = task->choices ? best == right : right_answer.expected;
    if (*task->number) {
        char number[MAX_NUMBER];
        status = work_out(cache, &texts[0], kept, work, number);
        is_right = strcmp(number, task->number) == 0;
    }
    score->n_right += is_right;
    score->likelihood += right_answer.likelihood / (texts[right].n - texts[right].n_prompt);
    return status;
}

int exam_take(const struct exam *exam, const char *spec, const tada_plan *plan, int n_threads,
              struct work *work, struct exam_score *score)
{
    struct cache cache;
    int window = cache_window(spec, plan), first = 0;
    double start = work->done;
    int status = cache_open(exam->model,
                            &(struct cache_options){.spec = spec,
                                                    .plan = plan,
                                                    .n_ctx = exam->n_cells,
                                                    .n_batch = BATCH,
                                                    .n_ubatch = BATCH,
                                                    .n_threads = n_threads},
                            &cache);
    *score = (struct exam_score){0, 0};
    for (int i = 0; i < exam->tasks->n && status == 0; i++) {
        const struct task *task = &exam->tasks->list[i];
        status = take_task(&cache, task, &exam->texts[first], window, work, score);
        first += texts_of(task);
    }
    score->likelihood /= exam->tasks->n;
    work->done = start + exam_tokens(exam, window);
    cache_close(&cache);
    return status;
}

bool exam_is_better(const struct exam_score *a, const struct exam_score *b)
{
    return a->n_right > b->n_right || (a->n_right == b->n_right && a->likelihood > b->likelihood);
}

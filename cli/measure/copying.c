#include "copying.h"

#include "output/note.h"
#include "output/random.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Objects fill at least so many percent of the document, and those that are told again the rest: from there
 * on a cache has no room for what it keeps finer, so that what is asked for is old for each of them. */
enum { OBJECTS_SHARE = 60, MAX_OBJECTS = 8192, MAX_LINE = 256 };
/* Characters that are given of each value, so that the one which is meant can be told. */
enum { GIVEN = 4 };

const int copy_depths[COPY_DEPTHS] = {40, 60, 80};

/* ---- documents ---- */

struct object {
    llama_token *tokens; /* of its line */
    bool *asked;         /* [n]: the token belongs to a value, beyond the start that is given of it */
    int n;
    int first; /* its place in the document */
    bool told;
};

struct objects {
    struct object list[MAX_OBJECTS];
    int n, longest; /* tokens */
};

static void write_line(uint64_t *state, char *line)
{
    uint64_t file = random_next(state) >> 16, hash = random_next(state);
    uint64_t size = random_next(state) % 90000000 + 10000000;
    snprintf(line, MAX_LINE,
             "{\"path\": \"%012" PRIx64 ".json\", \"hash\": \"%016" PRIx64 "\", \"size\": %" PRIu64 "}\n",
             file, hash, size);
}

/* Marks the characters of the values in a line, without the given ones. Between a name and its value may
 * stand whatever the vocabulary has for a blank. */
static void mark_values(const char *line, bool *asked)
{
    static const char mark[] = "\":";
    for (const char *at = line; (at = strstr(at, mark));) {
        at += strlen(mark);
        at += strcspn(at, "\"0123456789");
        at += *at == '"';
        for (int i = 0; at[i] && !strchr("\"}", at[i]); i++) {
            asked[at - line + i] = i >= GIVEN;
        }
    }
}

static int make_object(const struct model *model, uint64_t *state, struct object *object)
{
    char line[MAX_LINE], pieces[2 * MAX_LINE] = "";
    bool asked[2 * MAX_LINE] = {false};
    *object = (struct object){.tokens = NULL};
    write_line(state, line);
    int status = model_tokenize(model, line, strlen(line), false, false, &object->tokens, &object->n);
    object->asked = status == 0 ? calloc((size_t)object->n + 1, sizeof *object->asked) : NULL;
    if (status == 0 && !object->asked) {
        status = cli_fail("Memory is too short for the text: use a smaller context.");
    }
    /* The text of the tokens: a vocabulary may add a blank. */
    for (int i = 0; status == 0 && i < object->n; i++) {
        model_append_piece(model, object->tokens[i], pieces, sizeof pieces);
    }
    mark_values(pieces, asked);
    pieces[0] = '\0';
    for (int i = 0; status == 0 && i < object->n; i++) {
        object->asked[i] = asked[strlen(pieces)]; /* of its first character */
        model_append_piece(model, object->tokens[i], pieces, sizeof pieces);
    }
    return status;
}

/* Appends the line of an object to the document. */
static int append(struct copy_document *document, const struct object *object)
{
    int first = document->n;
    memcpy(document->tokens + first, object->tokens, (size_t)object->n * sizeof *object->tokens);
    memcpy(document->asked + first, object->asked, (size_t)object->n * sizeof *object->asked);
    document->n += object->n;
    return first;
}

static int add_objects(const struct model *model, int n_ctx, uint64_t *state, struct objects *objects,
                       struct copy_document *document)
{
    int most_again = n_ctx - (int)((long long)n_ctx * OBJECTS_SHARE / 100);
    while (objects->n < MAX_OBJECTS) {
        struct object *object = &objects->list[objects->n++];
        int status = make_object(model, state, object);
        objects->longest = object->n > objects->longest ? object->n : objects->longest;
        long long again = (long long)objects->longest * COPY_MOST_CASES;
        if (status != 0 || document->n + object->n > n_ctx - (again < most_again ? again : most_again)) {
            object->first = -1; /* it is not in the document */
            return status;
        }
        object->first = append(document, object);
    }
    return 0;
}

/* The one whose line ends nearest to `back` tokens before the place, of those that were not told again. */
static struct object *nearest_object(struct objects *objects, int place, int back)
{
    struct object *best = NULL;
    int least = INT_MAX;
    for (int i = 0; i < objects->n; i++) {
        struct object *object = &objects->list[i];
        int distance = abs(place - object->first - back);
        if (object->first >= 0 && !object->told && distance < least) {
            best = object;
            least = distance;
        }
    }
    return best;
}

/* Asks for as many objects of each depth; the deepest ones last, when the document is that long. */
static void add_cases(int n_ctx, struct objects *objects, struct copy_document *document)
{
    int n = (n_ctx - document->n) / objects->longest;
    n = (n < COPY_MOST_CASES ? n : COPY_MOST_CASES) / COPY_DEPTHS * COPY_DEPTHS;
    for (int i = 0; i < n; i++) {
        int depth = i * COPY_DEPTHS / n;
        struct object *object =
            nearest_object(objects, document->n, (int)((long long)n_ctx * copy_depths[depth] / 100));
        if (!object) {
            return;
        }
        int first = append(document, object);
        object->told = true;
        document->cases[document->n_cases++] = (struct copy_case){
            .depth = depth,
            .back = first - object->first,
            .first = first,
            .end = first + object->n,
        };
    }
}

int copy_make(const char *command, const struct model *model, int n_ctx, uint64_t seed,
              struct copy_document *document)
{
    const struct engine *engine = model->engine;
    struct objects *objects = calloc(1, sizeof *objects);
    *document = (struct copy_document){.tokens = malloc((size_t)n_ctx * sizeof *document->tokens),
                                       .asked = calloc((size_t)n_ctx, sizeof *document->asked)};
    int status = objects && document->tokens && document->asked
                     ? 0
                     : cli_fail("Memory is too short for the text: use a smaller context.");
    if (status == 0 && engine->llama_vocab_get_add_bos(model->vocab)) {
        document->tokens[document->n++] = engine->llama_vocab_bos(model->vocab);
    }
    if (status == 0) {
        status = add_objects(model, n_ctx, &seed, objects, document);
    }
    if (status == 0) {
        add_cases(n_ctx, objects, document);
    }
    if (status == 0 && document->n_cases < COPY_DEPTHS) {
        status =
            cli_usage(command, "A context of %d has no room for objects to copy: give a larger -c.", n_ctx);
    }
    for (int i = 0; objects && i < objects->n; i++) {
        free(objects->list[i].tokens);
        free(objects->list[i].asked);
    }
    free(objects);
    return status;
}

void copy_free(struct copy_document *document)
{
    free(document->tokens);
    free(document->asked);
    *document = (struct copy_document){.tokens = NULL};
}

/* ---- reading them ---- */

struct reading {
    const struct copy_document *document;
    double *margins; /* [n][n_caches] of the token after each position */
    int n_caches, n_vocab;
};

/* Of a token over the likeliest other one; what is no number is wrong. */
static double margin_of(const float *logits, int n, llama_token token)
{
    float other = -INFINITY;
    for (int i = 0; i < n; i++) {
        other = i != token && logits[i] > other ? logits[i] : other;
    }
    double margin = (double)logits[token] - (double)other;
    return isnan(margin) ? -INFINITY : margin;
}

static void take_row(void *context, int position, const float *const *logits)
{
    const struct reading *reading = context;
    for (int i = 0; i < reading->n_caches; i++) {
        reading->margins[position * reading->n_caches + i] =
            margin_of(logits[i], reading->n_vocab, reading->document->tokens[position + 1]);
    }
}

static struct copy_score score_of(const struct reading *reading, const struct copy_case *one, int cache)
{
    struct copy_score score = {0, INFINITY, false};
    int n = 0;
    for (int token = one->first; token < one->end; token++) {
        double margin = reading->margins[(token - 1) * reading->n_caches + cache];
        if (reading->document->asked[token]) {
            score.margin += (margin - score.margin) / ++n;
            score.least = fmin(score.least, margin);
        }
    }
    score.exact = n > 0 && score.least > 0;
    return score;
}

static int add_scores(const struct reading *reading, struct copy_scores *scores)
{
    const struct copy_document *document = reading->document;
    size_t n = (size_t)(scores->n_cases + document->n_cases), n_caches = (size_t)reading->n_caches;
    struct copy_score *list = reallocarray(scores->scores, n * n_caches, sizeof *list);
    scores->scores = list ? list : scores->scores;
    int *depths = reallocarray(scores->depths, n, sizeof *depths);
    scores->depths = depths ? depths : scores->depths;
    if (!list || !depths) {
        return cli_fail("Memory is too short for %zu cases: use fewer.", n);
    }
    scores->n_caches = reading->n_caches;
    for (int i = 0; i < document->n_cases; i++) {
        const struct copy_case *one = &document->cases[i];
        for (int cache = 0; cache < reading->n_caches; cache++) {
            list[scores->n_cases * reading->n_caches + cache] = score_of(reading, one, cache);
        }
        depths[scores->n_cases++] = one->depth;
        scores->back[one->depth] += one->back;
    }
    return 0;
}

int copy_read(struct along *along, const struct copy_document *document, struct copy_scores *scores)
{
    struct reading reading = {
        .document = document, .n_caches = along->lineup->n, .n_vocab = along->lineup->model->n_vocab};
    reading.margins = malloc((size_t)document->n * (size_t)reading.n_caches * sizeof *reading.margins);
    if (!reading.margins) {
        return cli_fail("Memory is too short: use a smaller context (-c).");
    }
    /* The last token has nothing to predict. */
    int status = along_read(along, document->tokens, 0, document->n - 1, document->cases[0].first - 1,
                            take_row, &reading);
    status = status ? status : add_scores(&reading, scores);
    free(reading.margins);
    return status;
}

void copy_scores_free(struct copy_scores *scores)
{
    free(scores->scores);
    free(scores->depths);
    *scores = (struct copy_scores){.scores = NULL};
}

/* ---- results ---- */

/* Means and standard errors, from sums of values and of their squares. */
struct sum {
    double values, squares;
};

static void add(struct sum *sum, double value)
{
    sum->values += value;
    sum->squares += value * value;
}

static struct estimate estimate_of(const struct sum *sum, int n)
{
    double mean = n > 0 ? sum->values / n : 0;
    double variance = n > 1 ? (sum->squares - n * mean * mean) / (n - 1) : 0;
    return (struct estimate){mean, n > 1 && variance > 0 ? sqrt(variance / n) : 0};
}

struct copy_summary copy_summarise(const struct copy_scores *scores, int cache, int depth)
{
    struct copy_summary summary = {.n = 0};
    struct sum margin = {0}, least = {0}, lost = {0};
    for (int i = 0; i < scores->n_cases; i++) {
        const struct copy_score *base = &scores->scores[i * scores->n_caches], *score = base + cache;
        if (depth >= 0 && scores->depths[i] != depth) {
            continue;
        }
        summary.n++;
        summary.exact += score->exact;
        summary.lost += base->exact && !score->exact;
        summary.won += score->exact && !base->exact;
        add(&margin, score->margin);
        add(&least, score->least);
        add(&lost, base->margin - score->margin);
    }
    summary.margin = estimate_of(&margin, summary.n);
    summary.least = estimate_of(&least, summary.n);
    summary.margin_lost = estimate_of(&lost, summary.n);
    return summary;
}

double copy_back(const struct copy_scores *scores, int depth)
{
    int n = copy_summarise(scores, 0, depth).n;
    return n > 0 ? scores->back[depth] / n : 0;
}

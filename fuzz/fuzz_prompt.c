/*
 * Prompts in a folder: whatever bytes lie in one of its files, it is left alone, removed or the prompt that
 * its label says. What is sound is found by its tokens, can be loaded and stored, and comes back as it was.
 */
#include "fuzz.h"

#include "folder.h"
#include "preload.h"
#include "session.h"
#include "state_file.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST = 1 << 16, PARTS = 6, TOKENS = 300 };

#define GIVEN "given.prompt"

typedef struct buffer {
    uint8_t *bytes;
    size_t size;
} buffer;

static char folder[128];

/* What the library says to the user. */
void preload_log(const char *format, ...)
{
    (void)format;
}

static void put(buffer *b, const void *bytes, size_t n)
{
    memcpy(b->bytes + b->size, bytes, n);
    b->size += n;
}

/* Rows of a plane, as far as a checksum makes them some. */
static void put_cells(buffer *b, fuzz_input *in, size_t n)
{
    fuzz_random random = fuzz_seed((uint32_t)fuzz_below(in, 65536));
    tada_crc crc;
    size_t from = b->size;
    for (size_t i = 0; i < n; i++) {
        uint8_t byte = (uint8_t)fuzz_bits(&random);
        put(b, &byte, 1);
    }
    tada_crc_init(&crc);
    uint32_t sum = tada_crc_add(&crc, 0, b->bytes + from, n);
    put(b, &sum, sizeof sum);
}

/* A label, most of the time, with tokens from a small alphabet, so that prompts begin alike. */
static void put_label(buffer *b, fuzz_input *in)
{
    state_part part = {STATE_LABEL, 0, 0};
    int n = 1 + fuzz_below(in, TOKENS);
    uint64_t key = (uint64_t)fuzz_below(in, 2);
    part.bytes = sizeof key + (uint64_t)n * sizeof(int32_t) + (fuzz_below(in, 16) ? 0 : 2);
    put(b, &part, sizeof part);
    put(b, &key, sizeof key);
    for (size_t i = sizeof key; i < part.bytes; i++) {
        uint8_t byte = i % 4 == 0 && i / 4 % 32 == 0 ? fuzz_byte(in) % 3 : 0;
        put(b, &byte, 1);
    }
}

/* Makes the numbers of the head right, as far as parts can be followed. */
static void correct(buffer *b)
{
    state_head head;
    if (b->size < sizeof head) {
        return;
    }
    memcpy(&head, b->bytes, sizeof head);
    memcpy(head.magic, STATE_MAGIC, sizeof head.magic);
    head.version = STATE_VERSION;
    head.bytes = b->size;
    head.n_parts = 0;
    head.plain = head.sum = 0;
    tada_crc crc;
    tada_crc_init(&crc);
    for (size_t at = sizeof head; b->size - at >= sizeof(state_part);) {
        state_part part;
        memcpy(&part, b->bytes + at, sizeof part);
        if (part.bytes > b->size - at - sizeof part) {
            break;
        }
        size_t summed = part.kind == STATE_ROWS ? sizeof part : sizeof part + (size_t)part.bytes;
        head.sum = tada_crc_add(&crc, head.sum, b->bytes + at, summed);
        head.plain += part.plain;
        head.n_parts++;
        at += sizeof part + (size_t)part.bytes;
    }
    memcpy(b->bytes, &head, sizeof head);
}

static void make(buffer *b, fuzz_input *in)
{
    state_head head = {STATE_MAGIC, STATE_VERSION, 0, 0, 0, 0, 0};
    put(b, &head, sizeof head);
    if (fuzz_below(in, 8)) {
        put_label(b, in);
    }
    for (int i = fuzz_below(in, PARTS); i > 0; i--) {
        state_part part = {(uint64_t)(fuzz_below(in, 2) ? STATE_ROWS : STATE_PLAIN), 0, 0};
        size_t n = (size_t)fuzz_below(in, 400);
        part.bytes = part.kind == STATE_ROWS ? n + sizeof(uint32_t) : n;
        part.plain = part.kind == STATE_ROWS ? 1 + (uint64_t)fuzz_below(in, 65536) : n;
        put(b, &part, sizeof part);
        if (part.kind == STATE_ROWS) {
            put_cells(b, in, n);
        } else {
            memset(b->bytes + b->size, fuzz_byte(in), n);
            b->size += n;
        }
    }
    correct(b);
    for (int i = fuzz_below(in, 4); i > 0; i--) {
        size_t at = (size_t)fuzz_below(in, 65536) % (fuzz_below(in, 2) && b->size > 120 ? 120 : b->size);
        b->bytes[at] = fuzz_byte(in);
    }
    b->size -= fuzz_below(in, 8) ? 0 : (size_t)fuzz_below(in, 65536) % b->size;
}

/* ---- in the folder ---- */

static void path_of(const char *name, char *path, size_t size)
{
    if ((size_t)snprintf(path, size, "%s/%s", folder, name) >= size) {
        fuzz_fail("a path is too long");
    }
}

static void write_file(const buffer *b)
{
    char path[256];
    path_of(GIVEN, path, sizeof path);
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (file < 0 || write(file, b->bytes, b->size) != (ssize_t)b->size || close(file) != 0) {
        fuzz_fail("a file cannot be written");
    }
}

static bool remove_file(const char *name)
{
    char path[256];
    path_of(name, path, sizeof path);
    return unlink(path) == 0;
}

static void leave(void)
{
    rmdir(folder);
}

static void begin(void)
{
    if (!folder[0]) {
        fuzz_path("prompts", folder, sizeof folder);
        if (mkdir(folder, 0700) != 0 || atexit(leave) != 0) {
            fuzz_fail("the folder %s cannot be made", folder);
        }
        folder_begin(folder, MOST);
    }
}

/* The tokens of a sound prompt, to be freed. */
static int32_t *tokens_of(const buffer *b, uint64_t *key, size_t *n)
{
    size_t bytes = 0;
    const prompt_label *label = state_label(b->bytes, b->size, &bytes);
    *n = label && state_check(b->bytes, b->size) ? prompt_label_tokens(bytes) : 0;
    if (*n == 0) {
        return NULL;
    }
    int32_t *tokens = fuzz_memory(*n * sizeof *tokens);
    prompt_label head;
    memcpy(&head, label, sizeof head);
    memcpy(tokens, (const uint8_t *)label + sizeof head, *n * sizeof *tokens);
    *key = head.key;
    return tokens;
}

static void load(const buffer *b, const char *name, uint64_t key, const int32_t *tokens, size_t n)
{
    stored_prompt p;
    if (!folder_load(name, key, &p)) {
        fuzz_fail("a sound prompt of %zu tokens is not loaded", n);
    }
    if (p.size != b->size || memcmp(p.bytes, b->bytes, p.size) != 0 || p.n != n ||
        memcmp(p.tokens, tokens, n * sizeof *tokens) != 0) {
        fuzz_fail("a prompt of %zu tokens is not what was stored", n);
    }
    folder_touch(name);
    free(p.bytes);
}

static void find(const buffer *b, uint64_t key, const int32_t *tokens, size_t n, char *name)
{
    if (folder_find(key, tokens, n, 0, n, name) != n || !folder_has(key, tokens, n)) {
        fuzz_fail("a sound prompt of %zu tokens is not found", n);
    }
    load(b, name, key, tokens, n);
    if (folder_find(key + 1, tokens, n, 0, n, name) > 0 || folder_find(key, tokens, n, 0, n - 1, name) > 0) {
        fuzz_fail("a prompt of %zu tokens is found for another model, or a smaller context", n);
    }
}

static void store(const buffer *b)
{
    uint8_t *copy = fuzz_memory(b->size);
    memcpy(copy, b->bytes, b->size);
    folder_put(copy, b->size);
}

/* It is stored by another name, and so is, at once, a prompt that goes on from it, which replaces it. */
static void store_both(const buffer *b, uint64_t key, const int32_t *tokens, size_t n)
{
    char name[64];
    state_part part;
    buffer more = {fuzz_memory(b->size + sizeof *tokens), b->size + sizeof *tokens};
    size_t head = sizeof(state_head), end = head + sizeof part + sizeof key + n * sizeof *tokens;
    memcpy(more.bytes, b->bytes, end);
    memset(more.bytes + end, 1, sizeof *tokens);
    memcpy(more.bytes + end + sizeof *tokens, b->bytes + end, b->size - end);
    memcpy(&part, more.bytes + head, sizeof part);
    part.bytes += sizeof *tokens;
    memcpy(more.bytes + head, &part, sizeof part);
    correct(&more);
    remove_file(GIVEN);
    store(b);
    store(&more);
    if (!folder_has(key, tokens, n)) {
        fuzz_fail("a prompt that is being written is not known");
    }
    folder_flush();
    if (folder_find(key, tokens, n, 0, n, name) > 0) {
        fuzz_fail("a prompt that another one begins with stays");
    }
    if (folder_find(key, tokens, n, 0, n + 1, name) != n || !remove_file(name)) {
        fuzz_fail("a stored prompt has gone");
    }
    free(more.bytes);
}

/* What `tada pack -t` says: it looks into cells, too. */
static void look(const buffer *b)
{
    char path[256];
    session_facts facts;
    tada_error error = {""};
    path_of(GIVEN, path, sizeof path);
    bool good = session_look(path, NULL, &facts, &error) == TADA_OK;
    bool is_state = state_is_packed(b->bytes, b->size);
    if ((good && is_state && !state_check(b->bytes, b->size)) || (!good && strlen(error.text) < 10)) {
        fuzz_fail("a file is %s: %s", good ? "taken, but damaged" : "refused", error.text);
    }
}

/* Damaged ones are removed when they are loaded: whatever they were found by. */
static void load_damaged(uint64_t key)
{
    stored_prompt p;
    if (folder_load(GIVEN, key, &p)) {
        fuzz_fail("a damaged prompt is loaded");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input in = {data, size, 0};
    buffer b = {fuzz_memory(MOST + size), 0};
    uint64_t key = 0;
    size_t n;
    char name[64];
    const int32_t some[] = {0, 0, 1};
    begin();
    int what = fuzz_below(&in, 4);
    if (what < 2) {
        put(&b, data + (size > 0), size - (size > 0));
    } else {
        make(&b, &in);
    }
    if (what == 1) {
        correct(&b);
    }
    int32_t *tokens = tokens_of(&b, &key, &n);
    write_file(&b);
    look(&b);
    folder_find(0, some, 3, 0, TOKENS, name);
    if (tokens) {
        find(&b, key, tokens, n, name);
        store_both(&b, key, tokens, n);
    } else {
        load_damaged(0);
        load_damaged(1);
        remove_file(GIVEN);
    }
    if (folder_find(key, tokens ? tokens : some, tokens ? n : 3, 0, MOST, name) > 0) {
        fuzz_fail("a prompt is found that is not there");
    }
    free(tokens);
    free(b.bytes);
    return 0;
}

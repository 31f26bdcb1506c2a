/* Prompts in files of a folder: labelled states (common/state_file.h), which are found by their tokens. */
#ifndef TADA_PRELOAD_FOLDER_H
#define TADA_PRELOAD_FOLDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A stored prompt in memory. */
typedef struct stored_prompt {
    char name[64];
    uint8_t *bytes; /* of its state, owned; NULL: none */
    size_t size;
    const int32_t *tokens; /* in the bytes */
    size_t n;
} stored_prompt;

/* How many tokens are the same from the first on, of n. */
size_t tokens_common(const int32_t *a, const int32_t *b, size_t n);
/* Keeps prompts in the folder, of `most` bytes in all. */
void folder_begin(const char *path, uint64_t most);
/* The prompt that has most of these tokens in front, more than `least`, and at most so many in all. Returns
 * how many; 0: there is none. */
size_t folder_find(uint64_t key, const int32_t *tokens, size_t n, size_t least, size_t most, char *name);
/* Whether there is, or will be, one that begins with these tokens. */
bool folder_has(uint64_t key, const int32_t *tokens, size_t n);
/* False: it is gone, or damaged. All checksums are right otherwise. */
bool folder_load(const char *name, uint64_t key, stored_prompt *prompt);
/* It was used now. */
void folder_touch(const char *name);
/* Stores a labelled state, which is the folder's then. Comes back before it is on the disk. */
void folder_put(uint8_t *bytes, size_t size);
/* Waits until all is on the disk. */
void folder_flush(void);

/* FNV-1a of 64 bits, going on from `before`; KEY_START for no bytes. */
#define KEY_START 0xcbf29ce484222325u
uint64_t key_add(uint64_t before, const void *bytes, size_t n);

#endif

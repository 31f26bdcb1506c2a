#include "state_file.h"

#include <string.h>

bool state_is_packed(const void *from, size_t size)
{
    return size >= sizeof(state_head) && memcmp(from, STATE_MAGIC, sizeof STATE_MAGIC - 1) == 0;
}

bool state_begin(state_reader *r, const void *from, size_t size)
{
    *r = (state_reader){.passed = 0};
    if (!state_is_packed(from, size)) {
        return false;
    }
    memcpy(&r->head, from, sizeof r->head);
    r->at = (const uint8_t *)from + sizeof r->head;
    r->end = (const uint8_t *)from + size;
    tada_crc_init(&r->crc);
    return r->head.version == STATE_VERSION && r->head.bytes == size && r->head.plain > 0 &&
           r->head.plain <= PTRDIFF_MAX;
}

bool state_next(state_reader *r, state_part *part, const uint8_t **bytes)
{
    if (r->n_read == r->head.n_parts || (size_t)(r->end - r->at) < sizeof *part) {
        return false;
    }
    memcpy(part, r->at, sizeof *part);
    bool is_label = part->kind == STATE_LABEL;
    *bytes = r->at + sizeof *part;
    if (part->kind > STATE_LABEL || part->bytes > (size_t)(r->end - *bytes) ||
        part->plain > r->head.plain - r->passed ||
        (part->kind == STATE_PLAIN && part->plain != part->bytes) || is_label != (part->plain == 0) ||
        (is_label && r->n_read > 0)) {
        return false;
    }
    r->sum = tada_crc_add(&r->crc, r->sum, part, sizeof *part);
    if (part->kind != STATE_ROWS) {
        r->sum = tada_crc_add(&r->crc, r->sum, *bytes, (size_t)part->bytes);
    }
    r->at = *bytes + part->bytes;
    r->passed += part->plain;
    r->n_read++;
    return true;
}

bool state_ended(const state_reader *r)
{
    return r->n_read == r->head.n_parts && r->at == r->end && r->passed == r->head.plain &&
           r->sum == r->head.sum;
}

bool state_cells_sound(const uint8_t *cells, size_t bytes)
{
    tada_crc crc;
    uint32_t sum;
    if (bytes < sizeof sum) {
        return false;
    }
    size_t n = bytes - sizeof sum;
    memcpy(&sum, cells + n, sizeof sum);
    tada_crc_init(&crc);
    return tada_crc_add(&crc, 0, cells, n) == sum;
}

bool state_check(const void *from, size_t size)
{
    state_reader r;
    state_part part;
    const uint8_t *bytes;
    bool sound = state_begin(&r, from, size);
    while (sound && state_next(&r, &part, &bytes)) {
        sound = part.kind != STATE_ROWS || state_cells_sound(bytes, (size_t)part.bytes);
    }
    return sound && state_ended(&r);
}

const void *state_label(const void *from, size_t have, size_t *bytes)
{
    state_head head;
    state_part part;
    if (have < sizeof head + sizeof part || !state_is_packed(from, have)) {
        return NULL;
    }
    memcpy(&head, from, sizeof head);
    memcpy(&part, (const uint8_t *)from + sizeof head, sizeof part);
    if (head.version != STATE_VERSION || head.n_parts == 0 || part.kind != STATE_LABEL ||
        head.bytes < sizeof head + sizeof part || part.bytes > head.bytes - sizeof head - sizeof part) {
        return NULL;
    }
    *bytes = (size_t)part.bytes;
    return (const uint8_t *)from + sizeof head + sizeof part;
}

size_t prompt_label_tokens(size_t bytes)
{
    size_t n = bytes > sizeof(prompt_label) ? (bytes - sizeof(prompt_label)) / sizeof(int32_t) : 0;
    return bytes == sizeof(prompt_label) + n * sizeof(int32_t) ? n : 0;
}

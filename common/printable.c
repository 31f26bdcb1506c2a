/* Which characters a terminal may get, and how the others are escaped. */
#include "printable.h"

#include <stdbool.h>
#include <string.h>

int utf8_length(const unsigned char *text)
{
    int length = *text < 0x80                    ? 1
                 : *text >= 0xC2 && *text < 0xE0 ? 2
                 : *text >= 0xE0 && *text < 0xF0 ? 3
                 : *text >= 0xF0 && *text < 0xF5 ? 4
                                                 : 0;
    for (int i = 1; i < length; i++) {
        if ((text[i] & 0xC0) != 0x80) {
            return 0;
        }
    }
    bool overlong = (*text == 0xE0 && text[1] < 0xA0) || (*text == 0xF0 && text[1] < 0x90);
    bool outside = (*text == 0xED && text[1] >= 0xA0) || (*text == 0xF4 && text[1] >= 0x90);
    return overlong || outside ? 0 : length;
}

/* Controls (C0, DEL, C1), separators of lines and paragraphs, and what turns the direction of writing. */
static bool is_control(const unsigned char *text, int length)
{
    if (length == 1) {
        return *text < 0x20 || *text == 0x7F;
    }
    if (length == 2) {
        return (text[0] == 0xC2 && text[1] < 0xA0) || (text[0] == 0xD8 && text[1] == 0x9C);
    }
    return length == 3 && text[0] == 0xE2 &&
           ((text[1] == 0x80 &&
             (text[2] == 0x8E || text[2] == 0x8F || (text[2] >= 0xA8 && text[2] <= 0xAE))) ||
            (text[1] == 0x81 && text[2] >= 0xA6 && text[2] <= 0xA9));
}

const char *printable(const char *text, char *to, size_t size)
{
    const unsigned char *from = (const unsigned char *)text;
    size_t used = 0;
    while (*from) {
        int length = utf8_length(from);
        bool hides = length == 0 || is_control(from, length);
        length += length == 0;
        size_t needs = (size_t)length * (hides ? 4 : 1);
        if (used + needs >= size) {
            break;
        }
        if (hides) {
            for (int i = 0; i < length; i++) {
                used += (size_t)snprintf(to + used, size - used, "\\x%02x", from[i]);
            }
        } else {
            memcpy(to + used, from, (size_t)length);
            used += (size_t)length;
        }
        from += length;
    }
    to[used] = '\0';
    return to;
}

void printable_json(const char *json, FILE *to)
{
    for (const unsigned char *from = (const unsigned char *)json; *from;) {
        int length = utf8_length(from);
        if (length == 0) { /* file names may hold any bytes, JSON may not */
            fputs("\\ufffd", to);
            length = 1;
        } else if (*from == '\n' || *from == '\t' || !is_control(from, length)) {
            fwrite(from, 1, (size_t)length, to);
        } else {
            fprintf(to, "\\u%04x",
                    length == 1   ? *from
                    : length == 2 ? (from[0] & 0x1F) << 6 | (from[1] & 0x3F)
                                  : (from[0] & 0x0F) << 12 | (from[1] & 0x3F) << 6 | (from[2] & 0x3F));
        }
        from += length;
    }
}

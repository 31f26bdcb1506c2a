#include "cli.h"

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

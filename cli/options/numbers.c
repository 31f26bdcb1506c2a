#include "numbers.h"

#include <limits.h>

static bool is_digit(char c)
{
    return c >= '0' && c <= '9'; /* isdigit may follow the locale */
}

bool number_whole(const char *text, long long least, long long most, long long *number)
{
    long long value = 0;
    const char *at = text;
    for (; is_digit(*at); at++) {
        int digit = *at - '0';
        if (value > (LLONG_MAX - digit) / 10) {
            return false;
        }
        value = 10 * value + digit;
    }
    if (at == text || *at || value < least || value > most) {
        return false;
    }
    *number = value;
    return true;
}

size_t number_decimal(const char *text, double *number)
{
    /* The digits and the power of ten are exact as doubles with so many digits, so that their quotient is
     * rounded once. */
    enum { MOST_DIGITS = 15 };
    double digits = 0, scale = 1;
    int n_digits = 0;
    const char *at = text;
    for (; is_digit(*at); at++) {
        digits = 10 * digits + (*at - '0');
        n_digits += digits > 0;
    }
    if (at == text || n_digits > MOST_DIGITS) {
        return 0;
    }
    if (*at == '.' && is_digit(at[1])) {
        for (at++; is_digit(*at); at++) {
            if (n_digits < MOST_DIGITS && scale < 1e15) {
                digits = 10 * digits + (*at - '0');
                n_digits += digits > 0;
                scale *= 10;
            }
        }
    }
    *number = digits / scale;
    return (size_t)(at - text);
}

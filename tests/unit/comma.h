/* A locale whose numbers have a comma: one that is there, or one that localedef makes. */
#ifndef TADA_TEST_COMMA_H
#define TADA_TEST_COMMA_H

#include "folder.h"

#include <locale.h>
#include <string.h>

static inline bool set_comma_locale(void)
{
    static const char *const names[] = {"de_DE.UTF-8", "de_DE.utf8", "de_DE", "fr_FR.UTF-8", "fr_FR.utf8"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (setlocale(LC_NUMERIC, names[i]) && strcmp(localeconv()->decimal_point, ",") == 0) {
            return true;
        }
    }
    return false;
}

/* False, with the reason: there is none, and none can be made. */
static inline bool comma_locale(void)
{
    char command[128];
    if (set_comma_locale()) {
        return true;
    }
    if (!make_folder()) {
        printf("no folder for a locale can be made\n");
        return false;
    }
    snprintf(command, sizeof command, "localedef -i de_DE -f UTF-8 ./%s/de_DE.UTF-8", folder);
    bool made = system(command) == 0 && setenv("LOCPATH", folder, 1) == 0 && set_comma_locale();
    if (!made) {
        printf("there is no locale with a comma, and localedef cannot make one\n");
    }
    return remove_folder() && made;
}

static inline void comma_locale_done(void)
{
    setlocale(LC_NUMERIC, "C");
}

#endif

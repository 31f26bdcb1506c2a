#include "specs.h"

#include "nearest.h"
#include "output/note.h"

#include <stdio.h>
#include <string.h>

/* The types of llama.cpp are those of caches. */
const char *const spec_names[] = {
    "tada", "tada:high", "tada:compact", "tada:balanced", "tada:paper", "kivi:2", "kivi:4", "f16", "q8_0",
    "q4_0", "q4_1",      "q5_0",         "q5_1",          "iq4_nl",     "bf16",   "f32",    NULL};

/* Appends the name that is nearest to a part of the text; false: none is. */
static bool add_nearest(const char *part, size_t n, char *text, size_t size)
{
    char wanted[64];
    if (n >= sizeof wanted) {
        return false;
    }
    snprintf(wanted, sizeof wanted, "%.*s", (int)n, part);
    struct nearest nearest = nearest_to(wanted);
    for (int i = 0; spec_names[i]; i++) {
        nearest_try(&nearest, spec_names[i], strlen(spec_names[i]));
    }
    size_t used = strlen(text);
    return *nearest.name && (size_t)snprintf(text + used, size - used, "%s", nearest.name) < size - used;
}

/* The spec that was most likely meant, such as "q8_0/q4_0" by "q8/q4"; false: unknown. Only the name is
 * guessed: what follows it stays, and numbers of bits are no names. */
static bool guess_name(const char *text, char *meant, size_t size)
{
    const char *option = strchr(text, '=');
    size_t n = strlen(text);
    while (option && option > text && *option != ':') {
        option--;
    }
    n = option && option > text ? (size_t)(option - text) : n;
    const char *slash = memchr(text, '/', n);
    size_t first = slash ? (size_t)(slash - text) : n;
    meant[0] = '\0';
    bool known = add_nearest(text, first, meant, size);
    if (known && slash) {
        size_t used = strlen(meant);
        snprintf(meant + used, size - used, "/");
        known = add_nearest(slash + 1, n - first - 1, meant, size);
    }
    size_t used = strlen(meant);
    bool has_bits = strncmp(text, "tada:", 5) == 0 && text[5] >= '0' && text[5] <= '9';
    return known && !has_bits && (size_t)snprintf(meant + used, size - used, "%s", text + n) < size - used;
}

static bool guess(const char *text, char *meant, size_t size)
{
    tada_spec spec;
    size_t n = strlen(text);
    if (n >= size) {
        return false;
    }
    for (size_t i = 0; i <= n; i++) {
        meant[i] = text[i] >= 'A' && text[i] <= 'Z' ? (char)(text[i] - 'A' + 'a') : text[i];
    }
    bool is_path = strchr(text, '@') != NULL;
    bool found = (!is_path && strcmp(meant, text) != 0 && tada_spec_parse(meant, &spec, NULL) == TADA_OK) ||
                 (!is_path && guess_name(text, meant, size));
    return found && strcmp(meant, text) != 0 && tada_spec_parse(meant, &spec, NULL) == TADA_OK;
}

int spec_take(const char *command, const char *from, const char *text, tada_spec *spec)
{
    tada_error error = {""};
    char meant[256];
    if (tada_spec_parse(text, spec, &error) == TADA_OK) {
        return 0;
    }
    return guess(text, meant, sizeof meant)
               ? cli_usage(command, "%s%s Did you mean %s?", from, error.text, meant)
               : cli_usage(command, "%s%s", from, error.text);
}

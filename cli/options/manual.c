/* The manual page of a command (mdoc). Its source has the prose; synopsis and options come from the table. */
#include "options.h"

#include <ctype.h>
#include <string.h>

enum { COLUMNS = 80 };

/* Text that is being filled into lines. */
struct text {
    FILE *stream;
    int column;
};

static void end_line(struct text *text)
{
    if (text->column > 0) {
        fputc('\n', text->stream);
        text->column = 0;
    }
}

/* Characters that mean something to roff. */
static void put_escaped(const char *word, size_t n, FILE *stream)
{
    for (size_t i = 0; i < n; i++) {
        if (word[i] == '\\') {
            fputs("\\e", stream);
        } else {
            if (i == 0 && (*word == '.' || *word == '\'')) {
                fputs("\\&", stream);
            }
            fputc(word[i], stream);
        }
    }
}

static void put_word(struct text *text, const char *word, size_t n)
{
    if (text->column > 0 && text->column + 1 + (int)n > COLUMNS) {
        end_line(text);
    }
    if (text->column > 0) {
        fputc(' ', text->stream);
    }
    put_escaped(word, n, text->stream);
    text->column += 1 + (int)n;
    if (word[n - 1] == '.' || word[n - 1] == ';') {
        end_line(text); /* a sentence a line, as manual pages have it */
    }
}

/* ---- macros within the text ---- */

static bool is_opening(char c)
{
    return c == '(';
}

static bool is_closing(char c)
{
    return strchr(".,:;)?!", c) != NULL;
}

/* A word as `macro`, with what stands around it. The macro takes n characters after `skip` ones. */
static void put_macro(struct text *text, const char *macro, const char *word, size_t n, const char *after)
{
    end_line(text);
    fprintf(text->stream, ".%s", macro);
    fputc(' ', text->stream);
    put_escaped(word, n, text->stream);
    for (; *after && *after != ' '; after++) {
        fprintf(text->stream, " %c", *after);
    }
    fputc('\n', text->stream);
}

static size_t length_of_command(const char *word)
{
    static const char start[] = "'tada help ";
    size_t n = strlen(start);
    if (strncmp(word, start, n) != 0) {
        return 0;
    }
    size_t end = strcspn(word + n, "'");
    return word[n + end] ? n + end + 1 : 0;
}

/* How many characters at the start of a word are a variable or an option; 0: it is an ordinary word. */
static size_t length_of_name(const char *word, size_t n)
{
    while (n > 0 && is_closing(word[n - 1])) {
        n--;
    }
    bool variable = n > 1 && word[0] == '$', option = n > 1 && word[0] == '-';
    for (size_t i = 1; i < n; i++) {
        variable = variable && (isupper((unsigned char)word[i]) || word[i] == '_');
        option = option && (isalnum((unsigned char)word[i]) || word[i] == '-');
    }
    return variable || option ? n : 0;
}

/* A word or a reference; returns what comes after it. */
static const char *put_next(struct text *text, const char *word)
{
    char opening[] = {*word, ' ', '\0'}, macro[8];
    bool opens = is_opening(*word);
    const char *inner = word + opens;
    size_t command = length_of_command(inner), n = strcspn(inner, " ");
    if (command > 0) {
        static const char start[] = "'tada help ";
        size_t length = command - strlen(start) - 1;
        end_line(text);
        fprintf(text->stream, ".Xr %stada-%.*s 1", opens ? opening : "", (int)length, inner + strlen(start));
        inner += command;
        for (; *inner && *inner != ' '; inner++) {
            fprintf(text->stream, " %c", *inner);
        }
        fputc('\n', text->stream);
        return inner;
    }
    size_t name = length_of_name(inner, n);
    if (name == 0) {
        put_word(text, word, n + opens);
        return inner + n;
    }
    bool variable = *inner == '$';
    snprintf(macro, sizeof macro, "%s%s%s", variable ? "Ev" : "Fl", opens ? " " : "", opens ? "(" : "");
    put_macro(text, macro, inner + 1, name - 1, inner + name);
    return inner + n;
}

static void put_text(struct text *text, const char *words)
{
    while (*words) {
        words += strspn(words, " ");
        words = *words ? put_next(text, words) : words;
    }
}

/* Prints the help of an option as a sentence: in the table it has neither a capital nor a full stop. */
static void put_help(const struct option_row *row, FILE *stream)
{
    char words[512];
    struct text text = {stream, 0};
    const char *usual = option_default(row);
    snprintf(words, sizeof words, "%s%s%s%s.", row->help, usual ? " (default: " : "", usual ? usual : "",
             usual ? ")" : "");
    words[0] = (char)toupper((unsigned char)words[0]);
    put_text(&text, words);
    end_line(&text);
}

/* ---- synopsis and options ---- */

static void put_value(const struct option_row *row, FILE *stream)
{
    if (!row->value) {
        return;
    }
    bool literal = row->words && strcmp(row->words, row->value) == 0;
    fputs(literal ? " Cm " : " Ar ", stream);
    for (const char *c = row->value; *c; c++) {
        fputc(literal ? *c : tolower((unsigned char)*c), stream);
    }
}

static void put_name(const char *name, size_t length, FILE *stream)
{
    fprintf(stream, "Fl %.*s", (int)length - 1, name + 1);
}

static void write_synopsis(const struct command *command, FILE *stream)
{
    bool more = false, joins = false;
    size_t length;
    fprintf(stream, ".Nm tada %s\n", command->name);
    if (command->operand) {
        fprintf(stream, ".Ar ");
        for (const char *c = command->operand; *c; c++) {
            fputc(tolower((unsigned char)*c), stream);
        }
        fputc('\n', stream);
    }
    for (const struct option_row *row = command->options; !option_is_last(row); row++) {
        bool shows = row->in_usage && !row->hidden;
        more = more || (!shows && !row->hidden && row->names && row->kind != OPTION_HELP &&
                        row->kind != OPTION_REFUSED && row->kind != OPTION_END);
        if (shows) {
            fputs(joins ? " | " : ".Op ", stream);
            const char *name = option_name(row->names, 0, &length);
            put_name(name, length, stream);
            put_value(row, stream);
            joins = row->or_next;
            fputs(joins ? "" : "\n", stream);
        }
    }
    fputs(more ? ".Op Ar option ...\n" : "", stream);
    fputs(command->passes_to ? ".Op Fl -\n.Op Ar argument ...\n" : "", stream);
}

static void write_row(const struct option_row *row, FILE *stream)
{
    const char *name;
    size_t length;
    if (row->kind == OPTION_HEADING) {
        fprintf(stream, ".El\n.Pp\n%c%s:\n.Bl -tag -width Ds\n", toupper((unsigned char)row->help[0]),
                row->help + 1);
        return;
    }
    for (int i = 0; (name = option_name(row->names, i, &length)); i++) {
        fputs(i ? " , " : ".It ", stream);
        put_name(name, length, stream);
    }
    put_value(row, stream);
    fputc('\n', stream);
    put_help(row, stream);
}

static void write_options(const struct command *command, FILE *stream)
{
    fputs(".Bl -tag -width Ds\n", stream);
    for (const struct option_row *row = command->options; !option_is_last(row); row++) {
        if (!row->hidden && row->kind != OPTION_REFUSED) {
            write_row(row, stream);
        }
    }
    fputs(".El\n", stream);
}

int manual_write(const struct command *command, FILE *source, FILE *stream)
{
    char line[1024];
    int n_parts = 0;
    while (fgets(line, sizeof line, source)) {
        if (strcmp(line, ".\\\" synopsis\n") == 0) {
            write_synopsis(command, stream);
            n_parts++;
        } else if (strcmp(line, ".\\\" options\n") == 0) {
            write_options(command, stream);
            n_parts++;
        } else {
            fputs(line, stream);
        }
    }
    return n_parts;
}

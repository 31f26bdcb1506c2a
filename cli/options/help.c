/* The help of a command, from its table. */
#include "options.h"

#include "output/lines.h"

#include <string.h>

enum { WIDEST_NAMES = 24 };

/* ---- text ---- */

static size_t length_of_line(const char *text)
{
    return strcspn(text, "\n");
}

static size_t length_of_term(const char *text)
{
    size_t n = strcspn(text, "\t\n");
    return text[n] == '\t' ? n : 0;
}

/* The widest term of the list that begins here. */
static int width_of_list(const char *text)
{
    size_t width = 0;
    for (size_t n; (n = length_of_term(text)) > 0; text += *text == '\n') {
        width = n > width ? n : width;
        text += length_of_line(text);
    }
    return (int)width;
}

static const char *print_list(const char *text, FILE *stream)
{
    int width = width_of_list(text);
    for (size_t n; (n = length_of_term(text)) > 0; text += *text == '\n') {
        struct line line = {stream, 0, 0};
        line_put(&line, text, n);
        line.indent = width + 2;
        line_pad(&line, line.indent);
        line_fill(&line, text + n + 1, length_of_line(text) - n - 1);
        line_end(&line);
        text += length_of_line(text);
    }
    return text;
}

void help_text(const char *text, FILE *stream)
{
    while (*text) {
        size_t n = length_of_line(text);
        if (length_of_term(text) > 0) {
            text = print_list(text, stream);
            continue;
        }
        if (strncmp(text, "  ", 2) == 0) {
            fprintf(stream, "%.*s\n", (int)n, text);
        } else {
            struct line line = {stream, 0, 0};
            line_fill(&line, text, n);
            line_end(&line);
        }
        text += n + (text[n] == '\n');
    }
}

/* ---- usage ---- */

static size_t copy_name(const struct option_row *row, char *text, size_t size)
{
    size_t length;
    const char *name = option_name(row->names, 0, &length);
    const char *separator = row->value ? " " : "";
    return (size_t)snprintf(text, size, "%.*s%s%s", (int)length, name, separator,
                            row->value ? row->value : "");
}

void help_usage(const struct command *command, FILE *stream, int indent)
{
    struct line line = {stream, indent, indent};
    char text[160] = "";
    size_t used = 0;
    bool more = false;
    if (command->operand) {
        line_put(&line, command->operand, strlen(command->operand));
    }
    for (const struct option_row *row = command->options; !option_is_last(row); row++) {
        bool shows = row->in_usage && !row->hidden;
        more = more || (!shows && !row->hidden && row->names && row->kind != OPTION_HELP &&
                        row->kind != OPTION_REFUSED && row->kind != OPTION_END);
        if (shows) {
            used += (size_t)snprintf(text + used, sizeof text - used, "%s", used ? " | " : "[");
            used += copy_name(row, text + used, sizeof text - used);
            if (!row->or_next) {
                used += (size_t)snprintf(text + used, sizeof text - used, "]");
                line_put(&line, text, used);
                used = 0;
            }
        }
    }
    if (more) {
        line_put(&line, "[OPTIONS...]", strlen("[OPTIONS...]"));
    }
    if (command->passes_to) {
        int n = snprintf(text, sizeof text, "[--] [%s...]", command->passes_to);
        line_put(&line, text, (size_t)n);
    }
    line_end(&line);
}

/* ---- options ---- */

static bool is_shown(const struct option_row *row)
{
    return !row->hidden && row->kind != OPTION_REFUSED;
}

/* "-c, --ctx-size N" */
static int print_names(const struct option_row *row, char *text, size_t size)
{
    return snprintf(text, size, "%s%s%s", row->names, row->value ? " " : "", row->value ? row->value : "");
}

static int width_of_names(const struct option_row *rows)
{
    char text[160];
    int width = 0;
    for (; !option_is_last(rows); rows++) {
        int n = rows->names && is_shown(rows) ? print_names(rows, text, sizeof text) : 0;
        width = n <= WIDEST_NAMES && n > width ? n : width;
    }
    return width;
}

static void print_row(const struct option_row *row, int column, FILE *stream)
{
    char text[512];
    struct line line = {stream, 2, 2};
    if (row->kind == OPTION_HEADING) {
        fprintf(stream, "\n%s:\n", row->help);
        return;
    }
    int n = print_names(row, text, sizeof text);
    fprintf(stream, "  %s", text);
    line.column += n;
    if (line.column + 2 > column) {
        line_end(&line);
    }
    line.indent = column;
    line_pad(&line, column);
    const char *usual = option_default(row);
    n = snprintf(text, sizeof text, "%s%s%s%s", row->help, usual ? " (default: " : "", usual ? usual : "",
                 usual ? ")" : "");
    line_fill(&line, text, (size_t)n);
    line_end(&line);
}

void help_print(const struct command *command, FILE *stream)
{
    int indent = fprintf(stream, "usage: tada %s ", command->name);
    help_usage(command, stream, indent);
    fputc('\n', stream);
    help_text(command->about, stream);
    fputs("\noptions:\n", stream);
    int column = 2 + width_of_names(command->options) + 2;
    for (const struct option_row *row = command->options; !option_is_last(row); row++) {
        if (is_shown(row)) {
            print_row(row, column, stream);
        }
    }
    fputc('\n', stream);
    help_text(command->notes, stream);
}

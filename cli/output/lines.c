/* Words are put into lines, one after the other. */
#include "lines.h"

#include <stdbool.h>
#include <string.h>

enum { COLUMNS = 80 };

void line_pad(struct line *line, int column)
{
    while (line->column < column) {
        fputc(' ', line->stream);
        line->column++;
    }
}

void line_end(struct line *line)
{
    fputc('\n', line->stream);
    line->column = 0;
}

void line_put(struct line *line, const char *text, size_t n)
{
    bool begins = line->column <= line->indent;
    if (!begins && line->column + 1 + (int)n > COLUMNS) {
        line_end(line);
        begins = true;
    }
    line_pad(line, begins ? line->indent : line->column + 1);
    fprintf(line->stream, "%.*s", (int)n, text);
    line->column += (int)n;
}

void line_fill(struct line *line, const char *text, size_t n)
{
    for (size_t at = 0; at < n;) {
        size_t word = 0;
        while (at + word < n && text[at + word] != ' ') {
            word++;
        }
        if (word > 0) {
            line_put(line, text + at, word);
        }
        at += word + 1;
    }
}

void line_print(FILE *stream, int column, int indent, const char *text)
{
    struct line line = {stream, column, indent};
    line_fill(&line, text, strlen(text));
    line_end(&line);
}

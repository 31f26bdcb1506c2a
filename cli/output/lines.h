/* Text in lines of 80 columns. */
#ifndef TADA_CLI_OUTPUT_LINES_H
#define TADA_CLI_OUTPUT_LINES_H

#include <stddef.h>
#include <stdio.h>

/* A line that is being filled; further lines begin at `indent`. */
struct line {
    FILE *stream;
    int column, indent;
};

/* Blanks up to a column. */
void line_pad(struct line *line, int column);
/* Appends a word, or a term of several words, to the line; it is never split between two lines. */
void line_put(struct line *line, const char *text, size_t n);
/* Appends n characters, word by word. */
void line_fill(struct line *line, const char *text, size_t n);
void line_end(struct line *line);
/* A whole text, where `column` columns of the line are printed already; ends the line. */
void line_print(FILE *stream, int column, int indent, const char *text);

#endif

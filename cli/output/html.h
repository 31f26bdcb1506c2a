/* Pages for people: one file of HTML that needs nothing else. */
#ifndef TADA_CLI_OUTPUT_HTML_H
#define TADA_CLI_OUTPUT_HTML_H

#include <stdio.h>

/* A text from outside. */
void html_text(FILE *file, const char *text);
/* All up to the headline "TITLE", with the style that all pages have and more of one's own; the rest of the
 * page ends with "</body></html>". */
void html_begin(FILE *file, const char *title, const char *style);

#endif

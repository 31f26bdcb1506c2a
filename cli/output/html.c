#include "html.h"

#include "note.h"

void html_text(FILE *file, const char *text)
{
    for (text = SHOWN(text); *text; text++) {
        switch (*text) {
        case '<':
            fputs("&lt;", file);
            break;
        case '>':
            fputs("&gt;", file);
            break;
        case '&':
            fputs("&amp;", file);
            break;
        case '"':
            fputs("&quot;", file);
            break;
        default:
            fputc(*text, file);
        }
    }
}

void html_begin(FILE *file, const char *title, const char *style)
{
    fputs("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>TaDA: ", file);
    html_text(file, title);
    fprintf(
        file,
        "</title><style>:root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;max-width:60em;"
        "margin:2em auto;padding:0 1em}table{border-collapse:collapse}td,th{padding:.1em "
        ".7em;text-align:right}"
        "td:first-child,th:first-child{text-align:left}th{border-bottom:1px "
        "solid}%s</style></head><body>\n<h1>",
        style);
    html_text(file, title);
    fputs("</h1>\n", file);
}

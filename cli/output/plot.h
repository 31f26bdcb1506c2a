/* Plots, drawn by gnuplot. */
#ifndef TADA_CLI_OUTPUT_PLOT_H
#define TADA_CLI_OUTPUT_PLOT_H

#include "new_file.h"

#include <stdbool.h>

/* A chart with lines over the same points. */
struct plot_panel {
    const char *title, *x_label, *y_label;
    int n_points, n_lines;
    const double *x;          /* [n_points], from 0 on */
    const char *const *names; /* [n_lines] */
    const double *y;          /* [n_lines][n_points], from 0 on */
};

/* Whether the name of a file says its format, .svg or .png. Standard output is an SVG. */
bool plot_is_known(const char *path);
/* Whether gnuplot is there, to be asked before long work. EXIT_USAGE: it is not, and a message says so. */
int plot_check(void);
/* Writes a file with the panels, one below the other. Prints what is wrong and returns an exit status. */
int plot_write(const char *path, const new_file_rules *rules, const struct plot_panel *panels, int n_panels);

#endif

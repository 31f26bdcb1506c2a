/* Sharing out memory: which option each of several planes gets, so that errors add up to the least within a
 * budget. */
#ifndef TADA_CLI_CALIBRATE_ALLOCATION_H
#define TADA_CLI_CALIBRATE_ALLOCATION_H

#include <stdbool.h>

enum { ALLOCATION_OPTIONS = 64 };

/* What one plane can have, in the order of rising bytes. */
struct allocation_plane {
    int n;
    double bytes[ALLOCATION_OPTIONS];
    double error[ALLOCATION_OPTIONS]; /* expected share of the KL divergence */
    int choice;                       /* the result */
};

/*
 * Chooses for n planes the options whose errors add up to the least while their bytes stay within `budget`:
 * by Lagrangian relaxation, then by single steps that still fit. False: even the smallest options are too
 * large; they are the choice then.
 */
bool allocation_solve(struct allocation_plane *planes, int n, double budget);

#endif

/* Allocation of memory: chooses an option for each plane, so that the sum of errors is least within a budget.
 */
#ifndef TADA_CLI_CALIBRATE_ALLOCATION_H
#define TADA_CLI_CALIBRATE_ALLOCATION_H

#include <stdbool.h>

enum { ALLOCATION_OPTIONS = 64 };

/* The options of one plane, in the order of rising bytes. */
struct allocation_plane {
    int n;
    double bytes[ALLOCATION_OPTIONS];
    double error[ALLOCATION_OPTIONS]; /* expected part of the KL divergence, nats */
    int choice;                       /* result: which option */
};

/*
 * Chooses options for n planes: first by Lagrangian relaxation, then by single steps that still fit. budget:
 * bytes of all planes. False: even the smallest options are too large, and they are chosen.
 */
bool allocation_solve(struct allocation_plane *planes, int n, double budget);

#endif

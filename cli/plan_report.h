/* A plan as a page for people. */
#ifndef TADA_PLAN_REPORT_H
#define TADA_PLAN_REPORT_H

#include "tada.h"

/* Writes one HTML file that needs nothing else: what was measured, bits and sensitivity of each layer,
 * weights of the channels. Prints what is wrong and returns an exit status. */
int plan_report_write(const tada_plan *plan, const char *path);

#endif

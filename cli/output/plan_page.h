/* A plan as an HTML page. */
#ifndef TADA_CLI_OUTPUT_PLAN_PAGE_H
#define TADA_CLI_OUTPUT_PLAN_PAGE_H

#include "tada.h"
#include "new_file.h"

/* Plane i of a plan in the order K of layer 0, V of layer 0, K of layer 1, ...; NULL: there is no such one.
 */
const tada_plan_plane *plan_plane(const tada_plan *plan, int i);
/* How many there are. */
int plan_planes(const tada_plan *plan);

/* Writes one HTML file that needs nothing else: what was measured, bits and sensitivity of each layer,
 * weights of the channels. Prints what is wrong and returns an exit status. */
int plan_report_write(const tada_plan *plan, const char *path, const new_file_rules *rules);

/* Names of members of a recipe as cache specs have them. The strings are static. */
const char *plan_centring_name(const tada_recipe *recipe);
const char *plan_rotation_name(const tada_recipe *recipe);
const char *plan_axis_name(const tada_recipe *recipe);

#endif

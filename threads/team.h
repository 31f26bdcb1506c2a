/*
 * Teams: threads for programs that use libtada, which starts none of its own. A team lends them to the
 * library (tada_threads); between two pieces of work they sleep.
 *
 * One piece of work at a time: a team is used by one thread at a time, which takes part in the work as number
 * 0, and work may not use its own team.
 */
#ifndef TADA_TEAM_H
#define TADA_TEAM_H

#include "tada.h"

typedef struct tada_team tada_team;

/* n threads, the caller's among them. Where the system gives fewer, the team has fewer: tada_team_lend tells
 * how many. NULL: memory is short. */
tada_team *tada_team_create(int n);
void tada_team_free(tada_team *team); /* NULL is fine */

/* Has threads look for new work for some 100 microseconds before they sleep: for measurements, as to wake one
 * takes longer than attention over a short context. On a busy machine it costs more than it gives. */
void tada_team_stay_awake(tada_team *team);

/* What to hand to the library; it lives as long as the team. */
const tada_threads *tada_team_lend(const tada_team *team);

/* Calls one(context, thread, i) for each i from 0 to n - 1, by whichever thread is free. */
typedef void (*tada_each)(void *context, int thread, int64_t i);
void tada_team_each(const tada_team *team, int64_t n, tada_each one, void *context);

/* CPUs that this process may use, 1 at least. */
int tada_team_cpus(void);

#endif

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

typedef struct thread_team thread_team;

/* n threads, the caller's among them. Where the system gives fewer, the team has fewer: team_lend tells
 * how many. NULL: memory is short. */
thread_team *team_create(int n);
void team_free(thread_team *team); /* NULL is fine */

/* Has threads look for new work for some 100 microseconds before they sleep: for measurements, as to wake one
 * takes longer than attention over a short context. On a busy machine it costs more than it gives. */
void team_stay_awake(thread_team *team);

/* What to hand to the library; it lives as long as the team. */
const tada_threads *team_lend(const thread_team *team);

/* Calls one(context, thread, i) for each i from 0 to n - 1, by whichever thread is free. */
typedef void (*team_work)(void *context, int thread, int64_t i);
void team_each(const thread_team *team, int64_t n, team_work one, void *context);

/* CPUs that this process may use, 1 at least. */
int team_cpus(void);

#endif

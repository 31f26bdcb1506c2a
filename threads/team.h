/*
 * Teams of threads, for programs that use libtada: the library starts no threads. A team lends its threads to
 * the library as a tada_threads. Between two pieces of work they sleep.
 *
 * One thread at a time uses a team. It takes part in the work as thread 0. Work must not use its own team.
 */
#ifndef TADA_TEAM_H
#define TADA_TEAM_H

#include "tada.h"

typedef struct thread_team thread_team;

/* Makes a team of n threads, of which the caller's is one. Where the system gives fewer, the team has fewer,
 * as team_lend tells. NULL: memory is short. */
thread_team *team_create(int n);
void team_free(thread_team *team); /* NULL: nothing to do */

/* Makes threads spin for about 100 microseconds before they sleep. For measurements: waking a thread takes
 * longer than attention over a short context. On a busy machine spinning costs more than it saves. */
void team_stay_awake(thread_team *team);

/* The threads as the library takes them; valid as long as the team. */
const tada_threads *team_lend(const thread_team *team);

/* Calls one(context, thread, i) for each i from 0 to n - 1, on whichever thread is free. Returns when all
 * calls are done. */
typedef void (*team_work)(void *context, int thread, int64_t i);
void team_each(const thread_team *team, int64_t n, team_work one, void *context);

/* The number of CPUs that this process may use, at least 1. */
int team_cpus(void);

#endif

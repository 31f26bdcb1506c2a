/* Teams: workers that wait for the next round of work, for a while spinning and then asleep. */
#define _GNU_SOURCE
#include "team.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

enum { LOOKS = 4000 }; /* how often a thread that stays awake looks for work before it sleeps */

typedef struct worker {
    thread_team *team;
    pthread_t thread;
    int number;
} worker;

struct thread_team {
    tada_threads lent;
    worker *workers; /* [lent.n - 1] */
    pthread_mutex_t lock;
    pthread_cond_t begun, ended;
    atomic_int looks; /* before a thread sleeps */
    /* Changed with the lock held. */
    _Atomic unsigned long round; /* pieces of work so far */
    _Atomic int busy;            /* workers that are not done with this one */
    bool stop;
    tada_work work;
    void *context;
};

static void pause_briefly(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory");
#endif
}

static void *worker_main(void *argument)
{
    worker *me = argument;
    thread_team *team = me->team;
    unsigned long seen = 0;
    for (;;) {
        for (int i = 0; i < team->looks && atomic_load(&team->round) == seen; i++) {
            pause_briefly();
        }
        pthread_mutex_lock(&team->lock);
        while (team->round == seen) {
            pthread_cond_wait(&team->begun, &team->lock);
        }
        seen = team->round;
        bool stop = team->stop;
        pthread_mutex_unlock(&team->lock);
        if (stop) {
            return NULL;
        }
        team->work(team->context, me->number, team->lent.n);
        pthread_mutex_lock(&team->lock);
        if (--team->busy == 0) {
            pthread_cond_signal(&team->ended);
        }
        pthread_mutex_unlock(&team->lock);
    }
}

static void begin_work(thread_team *team, tada_work work, void *context, bool stop)
{
    pthread_mutex_lock(&team->lock);
    team->work = work;
    team->context = context;
    team->stop = stop;
    team->busy = team->lent.n - 1;
    team->round++;
    pthread_cond_broadcast(&team->begun);
    pthread_mutex_unlock(&team->lock);
}

static void team_run(void *pool, tada_work work, void *context)
{
    thread_team *team = pool;
    if (team->lent.n == 1) {
        work(context, 0, 1);
        return;
    }
    begin_work(team, work, context, false);
    work(context, 0, team->lent.n);
    for (int i = 0; i < team->looks && atomic_load(&team->busy) > 0; i++) {
        pause_briefly();
    }
    pthread_mutex_lock(&team->lock);
    while (team->busy > 0) {
        pthread_cond_wait(&team->ended, &team->lock);
    }
    pthread_mutex_unlock(&team->lock);
}

thread_team *team_create(int n)
{
    thread_team *team = calloc(1, sizeof *team);
    n = n < 1 ? 1 : n;
    if (!team || !(team->workers = calloc((size_t)n, sizeof *team->workers))) {
        free(team);
        return NULL;
    }
    /* With default attributes these do not fail where threads are those of Linux. */
    pthread_mutex_init(&team->lock, NULL);
    pthread_cond_init(&team->begun, NULL);
    pthread_cond_init(&team->ended, NULL);
    team->lent = (tada_threads){1, team_run, team};
    for (; team->lent.n < n; team->lent.n++) {
        worker *w = &team->workers[team->lent.n - 1];
        *w = (worker){.team = team, .number = team->lent.n};
        if (pthread_create(&w->thread, NULL, worker_main, w) != 0) {
            break;
        }
    }
    return team;
}

void team_free(thread_team *team)
{
    if (!team) {
        return;
    }
    begin_work(team, NULL, NULL, true);
    for (int i = 0; i < team->lent.n - 1; i++) {
        pthread_join(team->workers[i].thread, NULL);
    }
    pthread_cond_destroy(&team->ended);
    pthread_cond_destroy(&team->begun);
    pthread_mutex_destroy(&team->lock);
    free(team->workers);
    free(team);
}

void team_stay_awake(thread_team *team)
{
    team->looks = LOOKS;
}

const tada_threads *team_lend(const thread_team *team)
{
    return &team->lent;
}

typedef struct each {
    team_work one;
    void *context;
    int64_t n;
    _Atomic int64_t next;
} each;

static void each_part(void *context, int thread, int n_threads)
{
    each *e = context;
    (void)n_threads;
    for (int64_t i; (i = e->next++) < e->n;) {
        e->one(e->context, thread, i);
    }
}

void team_each(const thread_team *team, int64_t n, team_work one, void *context)
{
    each e = {one, context, n, 0};
    if (n > 1) {
        team->lent.run(team->lent.pool, each_part, &e);
    } else {
        each_part(&e, 0, 1);
    }
}

int team_cpus(void)
{
    cpu_set_t set;
    int n =
        sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : (int)sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n;
}

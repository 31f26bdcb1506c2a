#include "schedule.h"

int schedule_next(const struct turn *turns, int n, double left)
{
    int best = -1;
    for (int i = 0; i < n; i++) {
        const struct turn *turn = &turns[i];
        if (turn->done < turn->most && turn->expect <= left &&
            (best < 0 || turn->spent / turn->share < turns[best].spent / turns[best].share)) {
            best = i;
        }
    }
    return best;
}

void schedule_count(struct turn *turn, double seconds)
{
    turn->spent += seconds;
    turn->expect = seconds;
    turn->done++;
}

/* Which task is next, so that each gets its share of the time. */
#ifndef TADA_CLI_VERDICT_SCHEDULE_H
#define TADA_CLI_VERDICT_SCHEDULE_H

struct turn {
    double share;   /* of the time, in any unit */
    double spent;   /* seconds so far */
    double expect;  /* seconds that the next piece will take */
    int done, most; /* pieces; it ends with the last */
};

/* Of those that have something left which fits in `left` seconds, the one that is furthest behind its share,
 * the first of equals; -1: none. */
int schedule_next(const struct turn *turns, int n, double left);
/* Counts a piece that took so many seconds; the next one is expected to take as long. */
void schedule_count(struct turn *turn, double seconds);

#endif

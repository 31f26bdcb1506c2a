/* Times and what is said about many of them. */
#ifndef BENCH_SAMPLES_H
#define BENCH_SAMPLES_H

typedef struct bench_summary {
    double min, median, max;
} bench_summary;

/* Monotonic, in seconds. */
double bench_clock(void);

/* What the calling thread has had of the processor, in seconds. */
double bench_thread_clock(void);

/* Sorts the values; n >= 1. */
bench_summary bench_summarise(double *values, int n);

#endif

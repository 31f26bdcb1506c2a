/*
 * Threads for work outside of the host's graphs: saving and restoring states, copies, shifts. The plug-in has
 * no threads of its own. It computes a graph of one node, and ggml's threads do the work in it.
 */
#ifndef PLUGIN_BASE_THREADS_H
#define PLUGIN_BASE_THREADS_H

#include "tada.h"

/* Notes how many threads the host computes a graph with; threads_lend lends as many from now on. */
void threads_note(int n);
/* Threads for calls of the library: as many as threads_note said last, 1 before that. */
tada_threads threads_lend(void);

#endif

/*
 * Threads for what is done outside of the host's graphs (states that are saved and restored, copies, shifts):
 * the plug-in has none of its own, so a graph of one node borrows those of ggml.
 */
#ifndef PLUGIN_BASE_THREADS_H
#define PLUGIN_BASE_THREADS_H

#include "tada.h"

/* A graph was computed with so many: the host's own choice, which holds from now on. */
void threads_note(int n);
/* 1 until a graph has been computed. */
tada_threads threads_lend(void);

#endif

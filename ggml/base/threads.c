/* Borrowing ggml's threads: a graph of one custom node, whose function does the work of the library. */
#include "threads.h"

#include "cpu.h"
#include "custom.h"

#include "ggml-impl.h"

#include <stdatomic.h>

static atomic_int n_of_host = 1;

typedef struct call {
    tada_work work;
    void *context;
    int n;
} call;

void threads_note(int n)
{
    atomic_store_explicit(&n_of_host, n, memory_order_relaxed);
}

/* ggml may start fewer threads than it was asked for. */
static void run_node(struct ggml_tensor *tensor, int thread, int n_threads, void *context)
{
    const call *c = context;
    (void)tensor;
    for (int i = thread; i < c->n; i += n_threads) {
        c->work(c->context, i, c->n);
    }
}

static void run_on_host(void *pool, tada_work work, void *context)
{
    call c = {work, context, (int)(intptr_t)pool};
    struct ggml_tensor tensor, *nodes[] = {&tensor};
    struct ggml_cgraph graph = {.size = 1, .n_nodes = 1, .nodes = nodes};
    ggml_backend_t backend = c.n > 1 ? cpu_backend_make(c.n) : NULL;
    custom_make(&tensor, NULL, run_node, &c);
    if (!backend || cpu_compute(backend, &graph) != GGML_STATUS_SUCCESS) {
        /* Nothing ran: ggml fails before it begins, as nobody can abort this graph. */
        run_node(NULL, 0, 1, &c);
    }
    if (backend) {
        cpu_backend_free(backend);
    }
}

tada_threads threads_lend(void)
{
    int n = atomic_load_explicit(&n_of_host, memory_order_relaxed);
    n = n > 1 ? n : 1;
    return (tada_threads){n, run_on_host, (void *)(intptr_t)n};
}

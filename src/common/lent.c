#include "lent.h"

#include "error.h"

enum tada_status tada_lent_check(const tada_threads *threads, tada_error *error)
{
    return !threads || (threads->n >= 1 && threads->run)
               ? TADA_OK
               : tada_fail(error, TADA_E_ARGUMENT,
                           "Lend at least one thread, with a function that runs them, or none (NULL).");
}

int tada_lent_count(const tada_threads *threads)
{
    return threads ? threads->n : 1;
}

void tada_lent_run(const tada_threads *threads, tada_work work, void *context)
{
    if (threads) {
        threads->run(threads->pool, work, context);
    } else {
        work(context, 0, 1);
    }
}

/* Part of a plug-in whose allocations fail when test_faults wants it. */
#include "../unit/faults.h"

#include "tada.h"

TADA_API void tada_faults_start(long n);
TADA_API bool tada_faults_stop(void);

/* The n-th allocation of the plug-in from now on fails. */
void tada_faults_start(long n)
{
    faults_start(n);
    faults_armed = true;
}

/* Whether it has. */
bool tada_faults_stop(void)
{
    faults_armed = false;
    return faults_hit;
}

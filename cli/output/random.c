/* splitmix64. */
#include "random.h"

uint64_t random_next(uint64_t *state)
{
    uint64_t bits = *state += 0x9E3779B97F4A7C15;
    bits = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9;
    bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EB;
    return bits ^ (bits >> 31);
}

double random_share(uint64_t *state)
{
    return (double)(random_next(state) >> 11) * 0x1p-53;
}

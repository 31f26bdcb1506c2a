/* Conversions from and to f16, and the rotation. */
#include "guard.h"
#include "numbers.h"
#include "sets.h"
#include "tests.h"

/* Every f16 number, at every place of a vector, and in a vector's tail. */
void test_half_to_float(void **state)
{
    const tada_kernels *k = TEST_BEGIN(state);
    for (enum guard_side side = 0; side < GUARD_SIDES; side++) {
        for (int n = 0; n <= 70; n++) {
            for (int start = 0; start < 65536; start += n == 33 || n == 64 ? n : 4099) {
                guard_start(side);
                uint16_t *from = guard_take((size_t)n, sizeof *from);
                float *to = guard_take((size_t)n, sizeof *to);
                for (int i = 0; i < n; i++) {
                    from[i] = (uint16_t)(start + i);
                }
                case_is("half_to_float of %d from %#x on", n, (unsigned)start);
                k->half_to_float(from, to, n);
                guard_check();
                for (int i = 0; i < n; i++) {
                    bool nan = (from[i] & 0x7fff) > 0x7c00, infinite = (from[i] & 0x7fff) == 0x7c00;
                    double want = infinite ? INFINITY : nan ? NAN : fabs(half_value(from[i]));
                    want = from[i] & 0x8000 ? -want : want;
                    if (!same_float(to[i], (float)want) || !signbit(to[i]) != !(from[i] & 0x8000)) {
                        fail_case("%#x became %g", (unsigned)from[i], (double)to[i]);
                    }
                }
            }
        }
    }
}

static bool half_is_nan(uint16_t h)
{
    return (h & 0x7fff) > 0x7c00;
}

static void check_to_half(const tada_kernels *k, const float *values, int n, enum guard_side side)
{
    guard_start(side);
    float *from = guard_take((size_t)n, sizeof *from);
    uint16_t *to = guard_take((size_t)n, sizeof *to), *want = guard_take((size_t)n, sizeof *want);
    memcpy(from, values, (size_t)n * sizeof *from);
    k->half_from_float(from, to, n);
    tada_kernels_scalar.half_from_float(from, want, n);
    guard_check();
    for (int i = 0; i < n; i++) {
        /* What is not a number keeps its sign; its payload is of no interest. */
        bool same = to[i] == want[i] || (half_is_nan(to[i]) && half_is_nan(want[i]) && isnan(from[i]) &&
                                         to[i] >> 15 == want[i] >> 15);
        if (same && fabsf(from[i]) < 65520) {
            same = to[i] == half_round((double)from[i]);
        }
        if (!same) {
            fail_case("value %d, %a, became %#x instead of %#x", i, (double)from[i], (unsigned)to[i],
                      (unsigned)want[i]);
        }
    }
}

/* Every f16 number, the ties between each two, and their neighbours; then any bits. */
void test_half_from_float(void **state)
{
    const tada_kernels *k = TEST_BEGIN(state);
    float values[80];
    for (enum guard_side side = 0; side < GUARD_SIDES; side++) {
        for (int h = 0; h < 0x7c00; h += 10) {
            int n = 0;
            for (int i = h; i < h + 10; i++) {
                double here = half_value((uint16_t)i);
                double next = i + 1 < 0x7c00 ? half_value((uint16_t)(i + 1)) : 65536;
                float tie = (float)((here + next) / 2), sign = random_below(2) ? -1.0f : 1.0f;
                values[n++] = sign * (float)here;
                values[n++] = sign * nextafterf((float)here, INFINITY);
                values[n++] = sign * nextafterf(tie, 0);
                values[n++] = sign * tie;
                values[n++] = sign * nextafterf(tie, INFINITY);
            }
            case_is("half_from_float of ties from %#x on", (unsigned)h);
            check_to_half(k, values, n, side);
        }
        for (int kind = 0; kind < NUMBERS_KINDS; kind++) {
            for (int n = 0; n <= 70; n++) {
                for (int again = 0; again < (kind == NUMBERS_ANY_BITS ? 60 : 1); again++) {
                    numbers_fill(values, 1, 0, n, kind);
                    case_is("half_from_float of %d, input %d", n, kind);
                    check_to_half(k, values, n, side);
                }
            }
        }
    }
}

void test_hadamard(void **state)
{
    const tada_kernels *k = TEST_BEGIN(state);
    for (enum guard_side side = 0; side < GUARD_SIDES; side++) {
        for (int kind = 0; kind < NUMBERS_KINDS; kind++) {
            for (int block = 1; block <= 1024; block *= 2) {
                for (int blocks = 0; blocks <= 5; blocks++) {
                    int n = block * blocks;
                    guard_start(side);
                    float *x = guard_take((size_t)n, sizeof *x), *y = guard_take((size_t)n, sizeof *y);
                    double *rotated = guard_take((size_t)n, sizeof *rotated);
                    numbers_fill(x, 1, 0, n, kind);
                    memcpy(y, x, (size_t)n * sizeof *y);
                    case_is("hadamard of %d blocks of %d, input %d", blocks, block, kind);
                    k->hadamard(x, n, block);
                    guard_check();
                    for (int i = 0; i < n && kind == NUMBERS_NORMAL && block <= 64; i++) {
                        const float *from = y + i / block * block;
                        rotated[i] = 0;
                        for (int j = 0; j < block; j++) {
                            rotated[i] +=
                                (double)(__builtin_parity((unsigned)(i % block & j)) ? -from[j] : from[j]);
                        }
                        assert_true(fabs(rotated[i] / sqrt(block) - (double)x[i]) < 1e-5);
                    }
                    tada_kernels_scalar.hadamard(y, n, block);
                    int64_t at = first_difference(x, y, n);
                    if (at >= 0) {
                        fail_case("value %d is %a instead of %a", (int)at, (double)x[at], (double)y[at]);
                    }
                }
            }
        }
    }
}

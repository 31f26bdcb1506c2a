/* Rotary positions (RoPE, arXiv 2104.09864) and their stretching (YaRN, arXiv 2309.00071), computed as ggml
 * does on a CPU. */
#ifndef TADA_PLANE_ROPE_H
#define TADA_PLANE_ROPE_H

#include "tada.h"

/* NULL: the rope can turn rows of `width` values. Else a sentence that says why not. */
const char *tada_rope_problem(const tada_rope *rope, int width);

/* Whether the rope makes rows longer or shorter (attn_factor, YaRN), by more than f16 can show. */
bool tada_rope_stretches(const tada_rope *rope);

/* Whether both ropes turn the same values by the same angles. */
bool tada_rope_equals(const tada_rope *a, const tada_rope *b);

/* A copy with its factors, in one piece of memory that the caller frees with free. NULL: memory is short. */
tada_rope *tada_rope_copy(const tada_rope *rope);

/* angles [n_dims]: the cosines, then the sines, by which the pairs of a head turn over a distance. */
void tada_rope_angles(const tada_rope *rope, int32_t distance, float *angles);

/* Turns the n_dims values of one head by the angles, or back by them: q . R k = (R^T q) . k. */
void tada_rope_turn(const tada_rope *rope, const float *angles, float *x);
void tada_rope_turn_back(const tada_rope *rope, const float *angles, float *x);

/* Turns all heads of a row in f16. */
void tada_rope_turn_row(const tada_rope *rope, const float *angles, uint16_t *row);

#endif

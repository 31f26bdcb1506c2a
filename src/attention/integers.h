/* Attention on integers: the codes of a cold tile become integers of 16 bits, for so many rows that this
 * pays.
 */
#ifndef TADA_ATTENTION_INTEGERS_H
#define TADA_ATTENTION_INTEGERS_H

#include "codec/tile.h"

/* True when scales and means belong to what is summed over: channels of K, cells of V. */
bool tada_integers_can(const tada_codec *codec);

/* Floats of scratch that the functions below need. */
size_t tada_integers_scratch(const tada_codec *codec);

/* Queries [m][dim] as integers [m][dim], and what a unit of each is: not finite when a query is not. */
void tada_integers_queries(const float *q, int m, int dim, int16_t *integers, float *inverse);

/*
 * scores [m][lds], 64 columns, = q [m][head_dim] times K of one coding head of a cold tile; q, rotated where
 * the codec rotates, also as integers from tada_integers_queries. Cells not in `mask` have score 0. Both
 * factors are rounded to some 2^-17 of their length, once what all cells of a channel share is taken out of
 * K.
 */
void tada_integers_scores(const tada_codec *codec, const tada_cold *cold, uint64_t mask, int head,
                          const float *q, const int16_t *integers, const float *inverse, int m, float *scores,
                          size_t lds, float *scratch);

/* out [m][ldo] += weights [m][ldw], 64 columns, times V, still rotated. Weights of cells not in `mask` become
 * zero; sums [m]: of the weights, or more. */
void tada_integers_values(const tada_codec *codec, const tada_cold *cold, uint64_t mask, int head,
                          float *weights, size_t ldw, const float *sums, int m, float *out, size_t ldo,
                          float *scratch);

#endif

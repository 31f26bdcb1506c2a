/* The tests of all kernels; each takes a kernel_set as its state. */
#ifndef TADA_TEST_TESTS_H
#define TADA_TEST_TESTS_H

void test_half_to_float(void **state);
void test_half_from_float(void **state);
void test_hadamard(void **state);
void test_transpose_floats(void **state);
void test_quantise(void **state);
void test_quantise_again(void **state);
void test_unpack(void **state);
void test_factors(void **state);
void test_factors_narrow(void **state);
void test_join_factors(void **state);
void test_decode(void **state);

void test_transpose_halves(void **state);
void test_multiply(void **state);
void test_scores_rows(void **state);
void test_values_rows(void **state);
void test_softmax(void **state);
void test_softmax_not_finite(void **state);

void test_codes(void **state);
void test_codes_anywhere(void **state);
void test_codes_largest(void **state);
void test_codes_not_finite(void **state);
void test_sections(void **state);

void test_widen(void **state);
void test_weights_to_integers(void **state);
void test_integers(void **state);
void test_rows_dot(void **state);

void test_refined_decode(void **state);
void test_refined_attention(void **state);
void test_attention(void **state);

#endif

#include "random_model.h"

#include "ggml.h"
#include "gguf.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { EMBD = 128, FF = 192, EXPERTS = 2, ROPE_MLA = 32, RANK_Q = 64, RANK_KV = 96, CONVOLUTION = 3 };

typedef struct writer {
    struct ggml_context *tensors;
    struct gguf_context *file;
    const char *arch;
    uint64_t state;
} writer;

static float uniform(writer *w)
{
    w->state = w->state * 6364136223846793005u + 1442695040888963407u;
    return (float)(w->state >> 40) / 8388608.0f - 1.0f;
}

static void number(writer *w, const char *key, uint32_t value)
{
    char name[100];
    snprintf(name, sizeof name, "%s.%s", w->arch, key);
    gguf_set_val_u32(w->file, name, value);
}

static void real(writer *w, const char *key, float value)
{
    char name[100];
    snprintf(name, sizeof name, "%s.%s", w->arch, key);
    gguf_set_val_f32(w->file, name, value);
}

/* Values of the size `size`, or, when it is negative, all of the value -size. layer < 0: no layer. */
static void tensor(writer *w, int layer, const char *part, int64_t in, int64_t out, int64_t many, float size)
{
    char name[100];
    if (layer < 0) {
        snprintf(name, sizeof name, "%s", part);
    } else {
        snprintf(name, sizeof name, "blk.%d.%s", layer, part);
    }
    struct ggml_tensor *t = many > 1  ? ggml_new_tensor_3d(w->tensors, GGML_TYPE_F32, in, out, many)
                            : out > 1 ? ggml_new_tensor_2d(w->tensors, GGML_TYPE_F32, in, out)
                                      : ggml_new_tensor_1d(w->tensors, GGML_TYPE_F32, in);
    float *x = t->data;
    for (int64_t i = 0; i < in * out * many; i++) {
        x[i] = size < 0 ? -size : size * uniform(w);
    }
    ggml_set_name(t, name);
    gguf_add_tensor(w->file, t);
}

/* A matrix that keeps the size of what it is applied to, times `gain`. */
static void matrix(writer *w, int layer, const char *part, int64_t in, int64_t out, float gain)
{
    tensor(w, layer, part, in, out, 1, gain * sqrtf(3.0f / (float)in));
}

/* Makes all heads of the last tensor, a matrix of so many columns in and dim a head, alike. */
static void share(writer *w, int64_t in, int64_t dim, int64_t heads, float common)
{
    struct ggml_tensor *last = NULL;
    for (struct ggml_tensor *t = ggml_get_first_tensor(w->tensors); t;
         t = ggml_get_next_tensor(w->tensors, t)) {
        last = t;
    }
    float *x = last->data;
    for (int64_t i = heads * dim * in - 1; i >= 0 && common > 0; i--) {
        float own = i < dim * in ? 0 : sqrtf(1 - common) * x[i];
        x[i] = own + (i < dim * in ? x[i] : sqrtf(common) * x[i % (dim * in)]);
    }
}

/* Every other layer of a hybrid model has attention. */
static bool has_attention(const model_shape *s, int layer)
{
    return s->family != FAMILY_HYBRID || layer % 2 == 1;
}

static void header(writer *w, const model_shape *s)
{
    bool rms = s->family != FAMILY_MPT;
    int value_dim = s->value_dim ? s->value_dim : s->head_dim;
    gguf_set_val_str(w->file, "general.architecture", w->arch);
    gguf_set_val_str(w->file, "general.name", s->name);
    gguf_set_val_str(w->file, "tokenizer.ggml.model", "none");
    number(w, "vocab_size", MODEL_VOCAB);
    number(w, "context_length", 8192);
    number(w, "embedding_length", EMBD);
    number(w, "block_count", MODEL_LAYERS);
    number(w, "feed_forward_length", FF);
    number(w, "attention.head_count", (uint32_t)s->heads);
    if (s->family == FAMILY_HYBRID) {
        uint32_t kv_heads[MODEL_LAYERS];
        for (int l = 0; l < MODEL_LAYERS; l++) {
            kv_heads[l] = has_attention(s, l) ? (uint32_t)s->kv_heads : 0;
        }
        gguf_set_arr_data(w->file, "lfm2.attention.head_count_kv", GGUF_TYPE_UINT32, kv_heads, MODEL_LAYERS);
        number(w, "shortconv.l_cache", CONVOLUTION);
    } else {
        number(w, "attention.head_count_kv", (uint32_t)s->kv_heads);
    }
    real(w, rms ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon", 1e-5f);
    if (s->family == FAMILY_MLA) {
        number(w, "attention.key_length", RANK_KV + ROPE_MLA);
        number(w, "attention.value_length", RANK_KV);
        number(w, "attention.key_length_mla", (uint32_t)s->head_dim);
        number(w, "attention.value_length_mla", (uint32_t)value_dim);
        number(w, "attention.q_lora_rank", RANK_Q);
        number(w, "attention.kv_lora_rank", RANK_KV);
        number(w, "rope.dimension_count", ROPE_MLA);
        number(w, "leading_dense_block_count", MODEL_LAYERS);
        number(w, "expert_feed_forward_length", FF);
        number(w, "expert_shared_count", 0);
        return;
    }
    number(w, "attention.key_length", (uint32_t)s->head_dim);
    number(w, "attention.value_length", (uint32_t)value_dim);
    number(w, "rope.dimension_count", (uint32_t)s->head_dim);
    if (s->swa) {
        number(w, "attention.sliding_window", (uint32_t)s->swa);
    }
    if (s->family == FAMILY_GEMMA2) {
        real(w, "attn_logit_softcapping", 20.0f);
        real(w, "final_logit_softcapping", 30.0f);
    } else if (s->family == FAMILY_MPT) {
        real(w, "attention.max_alibi_bias", 8.0f);
    } else if (s->family == FAMILY_SINKS) {
        number(w, "expert_count", EXPERTS);
        number(w, "expert_used_count", EXPERTS);
        number(w, "expert_feed_forward_length", FF);
    }
}

static void attention(writer *w, const model_shape *s, int l)
{
    int64_t dim = s->head_dim, value_dim = s->value_dim ? s->value_dim : s->head_dim;
    int64_t q = s->heads * dim, k = s->kv_heads * dim, v = s->kv_heads * value_dim;
    /* Sharper than random scores would be, so that an error in K shows. */
    float gain = 1.8f;
    if (s->family == FAMILY_MLA) {
        matrix(w, l, "attn_q_a.weight", EMBD, RANK_Q, 1);
        tensor(w, l, "attn_q_a_norm.weight", RANK_Q, 1, 1, -1);
        matrix(w, l, "attn_q_b.weight", RANK_Q, q, gain);
        matrix(w, l, "attn_kv_a_mqa.weight", EMBD, RANK_KV + ROPE_MLA, 1);
        tensor(w, l, "attn_kv_a_norm.weight", RANK_KV, 1, 1, -1);
        tensor(w, l, "attn_k_b.weight", dim - ROPE_MLA, RANK_KV, s->heads, 0.2f);
        tensor(w, l, "attn_v_b.weight", RANK_KV, value_dim, s->heads, 0.2f);
        matrix(w, l, "attn_output.weight", s->heads * value_dim, EMBD, 1);
        return;
    }
    if (s->family == FAMILY_MPT) {
        matrix(w, l, "attn_qkv.weight", EMBD, q + k + v, gain);
    } else {
        matrix(w, l, "attn_q.weight", EMBD, q, gain);
        matrix(w, l, "attn_k.weight", EMBD, k, gain);
        share(w, EMBD, dim, s->kv_heads, s->common);
        matrix(w, l, "attn_v.weight", EMBD, v, 1);
        share(w, EMBD, value_dim, s->kv_heads, s->common);
    }
    matrix(w, l, "attn_output.weight", s->heads * dim, EMBD, 1);
    if (s->family == FAMILY_HYBRID) {
        tensor(w, l, "attn_q_norm.weight", dim, 1, 1, -1);
        tensor(w, l, "attn_k_norm.weight", dim, 1, 1, -1);
    }
    if (s->family == FAMILY_SINKS) {
        tensor(w, l, "attn_sinks.weight", s->heads, 1, 1, 3);
        tensor(w, l, "attn_output.bias", EMBD, 1, 1, 0.1f);
    }
}

/* A short convolution in place of attention. */
static void convolution(writer *w, int l)
{
    matrix(w, l, "shortconv.conv.weight", CONVOLUTION, EMBD, 1);
    matrix(w, l, "shortconv.in_proj.weight", EMBD, 3 * EMBD, 1);
    matrix(w, l, "shortconv.out_proj.weight", EMBD, EMBD, 1);
}

static void feed_forward(writer *w, const model_shape *s, int l)
{
    if (s->family == FAMILY_SINKS) {
        matrix(w, l, "ffn_gate_inp.weight", EMBD, EXPERTS, 1);
        tensor(w, l, "ffn_gate_inp.bias", EXPERTS, 1, 1, 0.1f);
        tensor(w, l, "ffn_gate_exps.weight", EMBD, FF, EXPERTS, 0.1f);
        tensor(w, l, "ffn_up_exps.weight", EMBD, FF, EXPERTS, 0.1f);
        tensor(w, l, "ffn_down_exps.weight", FF, EMBD, EXPERTS, 0.1f);
        tensor(w, l, "ffn_gate_exps.bias", FF, EXPERTS, 1, 0.1f);
        tensor(w, l, "ffn_up_exps.bias", FF, EXPERTS, 1, 0.1f);
        tensor(w, l, "ffn_down_exps.bias", EMBD, EXPERTS, 1, 0.1f);
        return;
    }
    if (s->family != FAMILY_MPT) {
        matrix(w, l, "ffn_gate.weight", EMBD, FF, 1);
    }
    matrix(w, l, "ffn_up.weight", EMBD, FF, 1);
    matrix(w, l, "ffn_down.weight", FF, EMBD, 1);
}

bool random_model_write(const model_shape *s, const char *path)
{
    static const char *const names[] = {"llama", "gemma2", "mpt", "deepseek2", "gpt-oss", "lfm2"};
    struct ggml_init_params params = {(size_t)64 << 20, NULL, false};
    writer w = {ggml_init(params), gguf_init_empty(), names[s->family], 12345};
    header(&w, s);
    tensor(&w, -1, "token_embd.weight", EMBD, MODEL_VOCAB, 1, s->family == FAMILY_GEMMA2 ? 0.15f : 1.7f);
    tensor(&w, -1, s->family == FAMILY_HYBRID ? "token_embd_norm.weight" : "output_norm.weight", EMBD, 1, 1,
           -1);
    if (s->family != FAMILY_GEMMA2) {
        matrix(&w, -1, "output.weight", EMBD, MODEL_VOCAB, 2);
    }
    for (int l = 0; l < MODEL_LAYERS; l++) {
        tensor(&w, l, "attn_norm.weight", EMBD, 1, 1, -1);
        if (has_attention(s, l)) {
            attention(&w, s, l);
        } else {
            convolution(&w, l);
        }
        if (s->family != FAMILY_SINKS) {
            tensor(&w, l, "ffn_norm.weight", EMBD, 1, 1, -1);
        }
        if (s->family == FAMILY_GEMMA2 || s->family == FAMILY_SINKS) {
            tensor(&w, l, "post_attention_norm.weight", EMBD, 1, 1, -1);
        }
        if (s->family == FAMILY_GEMMA2) {
            tensor(&w, l, "post_ffw_norm.weight", EMBD, 1, 1, -1);
        }
        feed_forward(&w, s, l);
    }
    bool done = gguf_write_to_file(w.file, path, false);
    gguf_free(w.file);
    ggml_free(w.tensors);
    return done;
}

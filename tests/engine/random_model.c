#include "random_model.h"

#include "ggml.h"
#include "gguf.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { EMBD = 128, FF = 192, EXPERTS = 2, ROPE_MLA = 32, RANK_Q = 64, RANK_KV = 96, LORA_RANK = 4 };
/* Of recurrent layers: the convolution, Mamba's inner size, its states and its heads. */
enum { KERNEL = 4, INNER = 2 * EMBD, STATES = 16, STATE_HEADS = 8 };

static const model_shape shapes[] = {
    {"gqa-64", FAMILY_LLAMA, 4, 2, 64, 0, 0, 0, 0},
    {"mha-32", FAMILY_LLAMA, 3, 3, 32, 0, 0, 0, 0},
    {"mqa-128", FAMILY_LLAMA, 3, 1, 128, 0, 0, 0, 0},
    {"gqa-256", FAMILY_LLAMA, 2, 2, 256, 0, 0, 0, 0},
    {"gqa-96", FAMILY_LLAMA, 6, 2, 96, 0, 0, 0, 0},
    {"window-64", FAMILY_GEMMA2, 4, 2, 64, 0, 64, 0, 0},
    {"window-256", FAMILY_GEMMA2, 2, 1, 128, 0, 256, 0, 0},
    {"alibi", FAMILY_MPT, 4, 4, 32, 0, 0, 0, 0},
    {"mla", FAMILY_MLA, 4, 1, 64, 64, 0, 0, 0},
    {"factors", FAMILY_LLAMA3, 4, 2, 64, 0, 0, 0, 0},
    {"yarn", FAMILY_QWEN2, 2, 1, 64, 0, 0, 0, 0},
    {"conv", FAMILY_CONV, 2, 1, 64, 0, 0, 0, 0},
    {"mamba", FAMILY_MAMBA, 4, 2, 64, 0, 0, 0, 0},
    {"sinks", FAMILY_SINKS, 4, 2, 64, 0, 128, 0, 0},
};

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

static struct ggml_tensor *last_tensor(writer *w)
{
    struct ggml_tensor *last = NULL;
    for (struct ggml_tensor *t = ggml_get_first_tensor(w->tensors); t;
         t = ggml_get_next_tensor(w->tensors, t)) {
        last = t;
    }
    return last;
}

/* Makes all heads of the last tensor, a matrix of so many columns in and dim a head, alike. */
static void share(writer *w, int64_t in, int64_t dim, int64_t heads, float common)
{
    float *x = last_tensor(w)->data;
    for (int64_t i = heads * dim * in - 1; i >= 0 && common > 0; i--) {
        float own = i < dim * in ? 0 : sqrtf(1 - common) * x[i];
        x[i] = own + (i < dim * in ? x[i] : sqrtf(common) * x[i % (dim * in)]);
    }
}

/* Scales two rows of each head of the last tensor, a matrix of so many columns in and dim a head; a pair that
 * RoPE turns. */
static void enlarge(writer *w, int64_t in, int64_t dim, int64_t heads, float factor)
{
    struct ggml_tensor *t = last_tensor(w);
    float *x = t->data;
    for (int64_t h = 0; h < heads && factor > 0; h++) {
        for (int64_t i = 0; i < 2 * in; i++) {
            x[(h * dim + dim - 2) * in + i] *= factor;
        }
    }
}

const model_shape *random_model_shape(int index)
{
    return index < (int)(sizeof shapes / sizeof shapes[0]) ? &shapes[index] : NULL;
}

static bool is_recurrent(const model_shape *s, int layer)
{
    return model_is_hybrid(s) && layer != MODEL_LAYERS / 2;
}

/* Three special tokens, then a token for each byte but the last three, which no text has. */
static void vocabulary(writer *w)
{
    char text[MODEL_VOCAB][8];
    const char *tokens[MODEL_VOCAB];
    int32_t types[MODEL_VOCAB];
    float scores[MODEL_VOCAB] = {0};
    static const char *const special[] = {"<unk>", "<s>", "</s>"};
    for (int i = 0; i < MODEL_VOCAB; i++) {
        snprintf(text[i], sizeof text[i], "<0x%02X>", i < 3 ? 0 : i - 3);
        tokens[i] = i < 3 ? special[i] : text[i];
        types[i] = i == 0 ? 2 : i < 3 ? 3 : 6; /* unknown, control, byte */
    }
    gguf_set_val_str(w->file, "tokenizer.ggml.model", "llama");
    gguf_set_arr_str(w->file, "tokenizer.ggml.tokens", tokens, MODEL_VOCAB);
    gguf_set_arr_data(w->file, "tokenizer.ggml.scores", GGUF_TYPE_FLOAT32, scores, MODEL_VOCAB);
    gguf_set_arr_data(w->file, "tokenizer.ggml.token_type", GGUF_TYPE_INT32, types, MODEL_VOCAB);
    gguf_set_val_bool(w->file, "tokenizer.ggml.add_space_prefix", false);
}

static void recurrent_header(writer *w, const model_shape *s)
{
    int32_t heads[MODEL_LAYERS];
    char name[100];
    for (int l = 0; l < MODEL_LAYERS; l++) {
        heads[l] = is_recurrent(s, l) ? 0 : s->kv_heads;
    }
    snprintf(name, sizeof name, "%s.attention.head_count_kv", w->arch);
    gguf_set_arr_data(w->file, name, GGUF_TYPE_INT32, heads, MODEL_LAYERS);
    if (s->family == FAMILY_CONV) {
        number(w, "shortconv.l_cache", KERNEL);
        return;
    }
    number(w, "ssm.conv_kernel", KERNEL);
    number(w, "ssm.inner_size", INNER);
    number(w, "ssm.state_size", STATES);
    number(w, "ssm.time_step_rank", STATE_HEADS);
    number(w, "ssm.group_count", 1);
}

static void header(writer *w, const model_shape *s)
{
    bool rms = s->family != FAMILY_MPT;
    int value_dim = s->value_dim ? s->value_dim : s->head_dim;
    gguf_set_val_str(w->file, "general.architecture", w->arch);
    gguf_set_val_str(w->file, "general.name", s->name);
    vocabulary(w);
    number(w, "vocab_size", MODEL_VOCAB);
    number(w, "context_length", 8192);
    number(w, "embedding_length", EMBD);
    number(w, "block_count", MODEL_LAYERS);
    number(w, "feed_forward_length", FF);
    number(w, "attention.head_count", (uint32_t)s->heads);
    if (model_is_hybrid(s)) {
        recurrent_header(w, s);
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
    } else if (s->family == FAMILY_LLAMA3) {
        real(w, "rope.scaling.attn_factor", 1.05f);
    } else if (s->family == FAMILY_QWEN2) {
        gguf_set_val_str(w->file, "qwen2.rope.scaling.type", "yarn");
        real(w, "rope.scaling.factor", 4.0f);
        number(w, "rope.scaling.original_context_length", 256);
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
    if (s->family == FAMILY_CONV) {
        tensor(w, l, "attn_q_norm.weight", dim, 1, 1, -1.5f);
        tensor(w, l, "attn_k_norm.weight", dim, 1, 1, -1.5f);
    }
    if (s->family == FAMILY_MPT) {
        matrix(w, l, "attn_qkv.weight", EMBD, q + k + v, gain);
    } else {
        matrix(w, l, "attn_q.weight", EMBD, q, gain);
        enlarge(w, EMBD, dim, s->heads, s->large > 0 ? 1 / s->large : 0);
        matrix(w, l, "attn_k.weight", EMBD, k, gain);
        enlarge(w, EMBD, dim, s->kv_heads, s->large);
        share(w, EMBD, dim, s->kv_heads, s->common);
        matrix(w, l, "attn_v.weight", EMBD, v, 1);
        share(w, EMBD, value_dim, s->kv_heads, s->common);
    }
    if (s->family == FAMILY_QWEN2) {
        tensor(w, l, "attn_q.bias", q, 1, 1, 0.3f);
        tensor(w, l, "attn_k.bias", k, 1, 1, 1);
        tensor(w, l, "attn_v.bias", v, 1, 1, 0.1f);
    }
    matrix(w, l, "attn_output.weight", s->heads * dim, EMBD, 1);
    if (s->family == FAMILY_SINKS) {
        tensor(w, l, "attn_sinks.weight", s->heads, 1, 1, 3);
        tensor(w, l, "attn_output.bias", EMBD, 1, 1, 0.1f);
    }
}

static void recurrence(writer *w, const model_shape *s, int l)
{
    if (s->family == FAMILY_CONV) {
        tensor(w, l, "shortconv.conv.weight", KERNEL, EMBD, 1, 0.8f);
        matrix(w, l, "shortconv.in_proj.weight", EMBD, 3 * EMBD, 1);
        matrix(w, l, "shortconv.out_proj.weight", EMBD, EMBD, 1);
        return;
    }
    int64_t mixed = INNER + 2 * STATES;
    matrix(w, l, "ssm_in.weight", EMBD, INNER + mixed + STATE_HEADS, 1);
    tensor(w, l, "ssm_conv1d.weight", KERNEL, mixed, 1, 0.8f);
    tensor(w, l, "ssm_conv1d.bias", mixed, 1, 1, 0.1f);
    tensor(w, l, "ssm_dt.bias", STATE_HEADS, 1, 1, 0.5f);
    tensor(w, l, "ssm_a", 1, STATE_HEADS, 1, 1); /* made negative below */
    char name[100];
    snprintf(name, sizeof name, "blk.%d.ssm_a", l);
    struct ggml_tensor *a = ggml_get_tensor(w->tensors, name);
    for (int i = 0; i < STATE_HEADS; i++) {
        ((float *)a->data)[i] = -0.1f - fabsf(((float *)a->data)[i]);
    }
    tensor(w, l, "ssm_d", 1, STATE_HEADS, 1, 1);
    tensor(w, l, "ssm_norm.weight", INNER, 1, 1, -1);
    matrix(w, l, "ssm_out.weight", INNER, EMBD, 1);
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
    static const char *const names[] = {"llama", "gemma2", "mpt",  "deepseek2",    "gpt-oss",
                                        "llama", "qwen2",  "lfm2", "granitehybrid"};
    struct ggml_init_params params = {(size_t)64 << 20, NULL, false};
    writer w = {ggml_init(params), gguf_init_empty(), names[s->family], 12345};
    header(&w, s);
    tensor(&w, -1, "token_embd.weight", EMBD, MODEL_VOCAB, 1, s->family == FAMILY_GEMMA2 ? 0.15f : 1.7f);
    tensor(&w, -1, s->family == FAMILY_CONV ? "token_embd_norm.weight" : "output_norm.weight", EMBD, 1, 1,
           -1);
    if (s->family == FAMILY_LLAMA3) {
        tensor(&w, -1, "rope_freqs.weight", s->head_dim / 2, 1, 1, 0.5f);
        float *factors = ggml_get_tensor(w.tensors, "rope_freqs.weight")->data;
        for (int i = 0; i < s->head_dim / 2; i++) {
            factors[i] += 1.5f;
        }
    }
    if (s->family != FAMILY_GEMMA2) {
        matrix(&w, -1, "output.weight", EMBD, MODEL_VOCAB, 2);
    }
    for (int l = 0; l < MODEL_LAYERS; l++) {
        tensor(&w, l, "attn_norm.weight", EMBD, 1, 1, -1);
        if (is_recurrent(s, l)) {
            recurrence(&w, s, l);
        } else {
            attention(&w, s, l);
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

bool random_adapter_write(const model_shape *s, const char *path)
{
    static const char *const parts[] = {"attn_q", "attn_k", "attn_v"};
    struct ggml_init_params params = {(size_t)8 << 20, NULL, false};
    writer w = {ggml_init(params), gguf_init_empty(), "llama", 54321};
    gguf_set_val_str(w.file, "general.architecture", w.arch);
    gguf_set_val_str(w.file, "general.type", "adapter");
    gguf_set_val_str(w.file, "adapter.type", "lora");
    gguf_set_val_f32(w.file, "adapter.lora.alpha", LORA_RANK);
    for (int l = 0; l < MODEL_LAYERS; l++) {
        for (int i = 0; i < 3; i++) {
            char name[64];
            snprintf(name, sizeof name, "%s.weight.lora_a", parts[i]);
            matrix(&w, l, name, EMBD, LORA_RANK, 1);
            snprintf(name, sizeof name, "%s.weight.lora_b", parts[i]);
            matrix(&w, l, name, LORA_RANK, (i == 0 ? s->heads : s->kv_heads) * s->head_dim, 1);
        }
    }
    bool done = gguf_write_to_file(w.file, path, false);
    gguf_free(w.file);
    ggml_free(w.tensors);
    return done;
}

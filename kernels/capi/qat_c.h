/* qat's CUDA kernels for programs in any language: raw device pointers, sizes, a stream, a scheme as text, an error
 * code.
 *
 * Tensors are row-major and contiguous. A scheme is written as in qat::parse_spec, e.g. "int4:group32:symmetric";
 * groups lie along the columns. Pointers are device memory unless said otherwise; optional ones may be null. Other
 * pointers are refused, but not while a graph is captured. Every call queues work on the stream and returns: nothing is
 * allocated or waited for, so calls can be captured in CUDA graphs, and results are the same from run to run. A call
 * that fails has queued nothing; qat_last_error() says what was found and what is accepted.
 */
#ifndef QAT_C_H
#define QAT_C_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum qat_status {
  QAT_OK = 0,
  QAT_INVALID_ARGUMENT = 1,
  QAT_SHAPE_MISMATCH = 2,
  QAT_UNSUPPORTED = 3,
  QAT_DEVICE = 4, /* no usable GPU, or the GPU refused */
  QAT_OTHER = 5
} qat_status;

typedef enum qat_dtype { QAT_FLOAT32 = 0, QAT_BFLOAT16 = 1 } qat_dtype;

/* Where work is queued. Workspace: device memory that a call may use until its work is done. */
typedef struct qat_cuda {
  void* stream; /* cudaStream_t; null: the default stream */
  void* workspace;
  size_t workspace_bytes;
} qat_cuda;

/* What the last failing call of this thread said; "" before the first. Host memory, valid until the next failing call.
 */
const char* qat_last_error(void);
const char* qat_version(void);

/* One line about the current GPU into text (host memory, `capacity` bytes). */
qat_status qat_cuda_device(char* text, size_t capacity);

/* Device memory for callers without a framework. */
qat_status qat_cuda_allocate(void** p, size_t bytes);
qat_status qat_cuda_free(void* p);
/* Copies either way, after the work queued on the stream, and waits. */
qat_status qat_cuda_copy(const qat_cuda* cuda, void* to, const void* from, size_t bytes);
qat_status qat_cuda_wait(const qat_cuda* cuda);

/* y = fake_quantize(x) with scale and zero point chosen from x (either output may be null). x, y: (rows, columns).
 * pass_mask: optional, (rows * columns + 7) / 8 bytes; bit i % 8 of byte i / 8: element i passes its gradient. */
qat_status qat_cuda_fake_quantize(const qat_cuda* cuda, const char* spec, qat_dtype dtype, const void* x, int64_t rows,
                                  int64_t columns, void* y, float* scale, float* zero_point, uint8_t* pass_mask);
/* The same with given parameters. */
qat_status qat_cuda_fake_quantize_with(const qat_cuda* cuda, const char* spec, qat_dtype dtype, const void* x,
                                       int64_t rows, int64_t columns, const float* scale, const float* zero_point,
                                       void* y, uint8_t* pass_mask);
/* Straight-through gradient: dx = dy where x is inside the range, scaled as autograd scales it. */
qat_status qat_cuda_fake_quantize_backward(const qat_cuda* cuda, const char* spec, qat_dtype dtype, const void* dy,
                                           const void* x, int64_t rows, int64_t columns, const float* scale,
                                           const float* zero_point, void* dx);
qat_status qat_cuda_fake_quantize_backward_masked(const qat_cuda* cuda, const char* spec, qat_dtype dtype,
                                                  const void* dy, const uint8_t* pass_mask, int64_t rows,
                                                  int64_t columns, const float* scale, const float* zero_point,
                                                  void* dx);

/* packed = codes of quantize(x), spec's bits wide, without gaps (int4: two to a byte, the even column in the low half),
 * with scale and zero point chosen from x; and back. */
qat_status qat_cuda_quantize_packed(const qat_cuda* cuda, const char* spec, qat_dtype dtype, const void* x,
                                    int64_t rows, int64_t columns, uint8_t* packed, float* scale, float* zero_point);
qat_status qat_cuda_dequantize_packed(const qat_cuda* cuda, const char* spec, qat_dtype dtype, const uint8_t* packed,
                                      int64_t rows, int64_t columns, const float* scale, const float* zero_point,
                                      void* y);

/* Learned step size quantization: dx (null: not wanted) as fake_quantize_backward, and dscale = factor * the gradient
 * of the scales, one per group; fp32. Workspace: 4 bytes for each 4096 elements of groups longer than that. */
qat_status qat_cuda_lsq_backward(const qat_cuda* cuda, const char* spec, const float* dy, const float* x, int64_t rows,
                                 int64_t columns, const float* scale, const float* zero_point, float factor, float* dx,
                                 float* dscale);

/* y = fake_quantize(x) to FP8, MXFP8, MXFP6, MXFP4 or NVFP4. spec: ELEMENT:GRANULARITY:RULE as in
 * qat::parse_scaled_float_spec, e.g. "e4m3:token:amax", "e2m1:group32:mx_floor", "e2m1:group16:nvfp4". tensor_amax (one
 * fp32; of this or an earlier step) is read under tensor granularity and the rule nvfp4; null: taken from x first, into
 * 256 bytes of workspace. scale and pass_mask: optional outputs. */
qat_status qat_cuda_fake_quantize_float(const qat_cuda* cuda, const char* spec, qat_dtype dtype, const void* x,
                                        int64_t rows, int64_t columns, void* y, const float* tensor_amax, float* scale,
                                        uint8_t* pass_mask);
/* dx = dy where the mask's bit is set, else 0; dx may be dy. */
qat_status qat_cuda_mask_gradient(const qat_cuda* cuda, qat_dtype dtype, const void* dy, const uint8_t* pass_mask,
                                  int64_t count, void* dx);
/* amax = the largest finite magnitude of `count` elements. */
qat_status qat_cuda_tensor_amax(const qat_cuda* cuda, qat_dtype dtype, const void* x, int64_t count, float* amax);

/* AdamW over many tensors in one launch, with quantization-aware training folded in. spec: null for a plain tensor; for
 * a fake-quantized one the step takes gradients through the straight-through estimator under `scale`, updates, chooses
 * new scales into `scale` (and zero_point) and writes the fake-quantized copy. Everything but name and spec: device
 * memory. */
typedef struct qat_adamw_tensor {
  const char* name;
  const char* spec;
  int64_t rows, columns;
  float* value;         /* (rows, columns) fp32 master */
  const void* gradient; /* (rows, columns) */
  float* mean;          /* (rows, columns) */
  float* square;        /* (rows, columns) */
  void* copy;           /* (rows, columns); null: none, for plain tensors */
  float* scale;         /* (tiles) */
  float* zero_point;    /* (tiles); null where the mapping has a constant one */
} qat_adamw_tensor;
/* Host memory: tensors, and table and works where not null, which the caller then copies to the device. */
qat_status qat_cuda_adamw_plan(qat_dtype gradient, qat_dtype copy, const qat_adamw_tensor* tensors, int64_t count,
                               void* table, size_t* table_bytes, void* works, size_t* works_bytes);
/* step = 1, 2, ...; table, works: device memory; works_bytes as the plan said. */
qat_status qat_cuda_adamw(const qat_cuda* cuda, qat_dtype gradient, qat_dtype copy, const void* table,
                          const void* works, size_t works_bytes, double learning_rate, double beta1, double beta2,
                          double eps, double weight_decay, int64_t step);

/* RMSNorm of x, or of sum = x + residual where there is a residual (sum may be either; null without), and with a spec
 * (null: none) the fake quantization of its output: y, or codes, or both; scale, zero_point, inv_rms (rows): optional.
 * x, residual, sum, y: (rows, columns) of dtype; weight (columns) fp32; scale, zero_point (tiles). */
qat_status qat_cuda_rmsnorm(const qat_cuda* cuda, const char* spec, qat_dtype dtype, const void* x,
                            const void* residual, void* sum, const float* weight, float eps, int64_t rows,
                            int64_t columns, float* inv_rms, void* y, int8_t* codes, float* scale, float* zero_point);
/* dx (+)= and, where not null, dweight (+)= from dy, the gradient of the output as fake-quantized under spec (null:
 * not), scale and zero_point. Workspace: qat_cuda_rmsnorm_backward_bytes where dweight is wanted. */
qat_status qat_cuda_rmsnorm_backward_bytes(qat_dtype dtype, int64_t rows, int64_t columns, size_t* bytes);
qat_status qat_cuda_rmsnorm_backward(const qat_cuda* cuda, const char* spec, qat_dtype dtype, const void* x,
                                     const float* weight, const float* inv_rms, const void* dy, int64_t rows,
                                     int64_t columns, const float* scale, const float* zero_point, void* dx,
                                     int32_t accumulate_dx, float* dweight, int32_t accumulate_dweight);
/* kind 0: silu(gate) * up, 1: GELU (tanh form) of gate, up null. Rows of gate and up are `stride` elements apart (0:
 * columns), y is contiguous. The rest as in rmsnorm. */
qat_status qat_cuda_activation(const qat_cuda* cuda, int32_t kind, const char* spec, qat_dtype dtype, const void* gate,
                               const void* up, int64_t rows, int64_t columns, int64_t stride, void* y, int8_t* codes,
                               float* scale, float* zero_point);
/* dgate, dup: rows `stride` apart, may be gate and up. */
qat_status qat_cuda_activation_backward(const qat_cuda* cuda, int32_t kind, const char* spec, qat_dtype dtype,
                                        const void* gate, const void* up, const void* dy, int64_t rows, int64_t columns,
                                        int64_t stride, const float* scale, const float* zero_point, void* dgate,
                                        void* dup);

/* Int4 weights for the tensor cores. Row-major: codes (rows, (columns + 1) / 2) bytes of signed nibbles, the first in
 * the low half; scales (rows, groups), groups = ceil(columns / group). The sizes of the tiled form, in bytes and in
 * scales: */
qat_status qat_cuda_int4_tiles(int64_t rows, int64_t columns, int64_t group, int64_t* code_bytes, int64_t* scale_count);
qat_status qat_cuda_prepack_int4(const qat_cuda* cuda, int64_t rows, int64_t columns, int64_t group,
                                 qat_dtype scale_dtype, const uint8_t* codes, const void* scales, uint8_t* tiled_codes,
                                 void* tiled_scales);
/* y (rows, columns) bfloat16, from the tiled form. */
qat_status qat_cuda_dequantize_int4(const qat_cuda* cuda, int64_t rows, int64_t columns, int64_t group,
                                    qat_dtype scale_dtype, const uint8_t* tiled_codes, const void* tiled_scales,
                                    void* y);
/* How a product is cut up; all zero: chosen from the shape. The fields are those of qat::cuda::W4A16Config. */
typedef struct qat_w4a16_config {
  int32_t form; /* 0 auto, 1 stream, 2 tiles */
  int32_t tile_tokens, tile_rows, stages, blocks, warp_tokens, every_tile;
} qat_w4a16_config;
/* y (tokens, rows) bfloat16 = x (tokens, columns) bfloat16 * weight (rows, columns)^T. counters: optional; as many
 * zeros as qat_cuda_w4a16_plan says, left zero by every call. Host memory: config (may be null). */
qat_status qat_cuda_w4a16_plan(int64_t tokens, int64_t rows, int64_t columns, int64_t group, qat_dtype scale_dtype,
                               const qat_w4a16_config* config, size_t* workspace_bytes, int64_t* counters,
                               qat_w4a16_config* chosen);
qat_status qat_cuda_w4a16_gemm(const qat_cuda* cuda, int64_t tokens, int64_t rows, int64_t columns, int64_t group,
                               qat_dtype scale_dtype, const void* x, const uint8_t* tiled_codes,
                               const void* tiled_scales, void* y, uint32_t* counters, const qat_w4a16_config* config);
/* Causal attention of bfloat16: q, out (batch, tokens, heads, head_dim), k, v (batch, tokens, kv_heads, head_dim),
 * scale 1 / sqrt(head_dim). log_sum_exp (batch, heads, tokens): what backward needs. form: 0; others are shapes of
 * tiles to compare. */
qat_status qat_cuda_attention(const qat_cuda* cuda, int64_t batch, int64_t tokens, int64_t heads, int64_t kv_heads,
                              int64_t head_dim, const void* q, const void* k, const void* v, void* out,
                              float* log_sum_exp, int32_t form);
/* Workspace: 8 bytes per query and head, queries rounded up to 128. */
qat_status qat_cuda_attention_backward(const qat_cuda* cuda, int64_t batch, int64_t tokens, int64_t heads,
                                       int64_t kv_heads, int64_t head_dim, const void* q, const void* k, const void* v,
                                       const void* out, const float* log_sum_exp, const void* dout, void* dq, void* dk,
                                       void* dv, int32_t form);

/* A Llama in training on the GPU (qat::nn::CudaLlama). weight, activation: schemes of the linear layers, null for
 * bfloat16. */
typedef struct qat_llama qat_llama;
typedef struct qat_llama_options {
  int64_t dim, hidden_dim, n_layers, n_heads, n_kv_heads, head_dim, vocab_size, max_seq_len;
  int32_t tied;
  int64_t batch, length; /* of a step */
  const char* weight;
  const char* activation;
  double weight_decay, clip_norm;
} qat_llama_options;
qat_status qat_cuda_llama_workspace(const qat_llama_options* options, size_t* bytes);
/* Weights are random, of deviation 0.02, and those of norms 1, until they are set. */
qat_status qat_cuda_llama_create(const qat_cuda* cuda, const qat_llama_options* options, uint64_t seed,
                                 qat_llama** llama);
qat_status qat_cuda_llama_destroy(qat_llama* llama);
/* values: host memory, a Hugging Face tensor name's values. After the last of them set the learning rate and go on. */
qat_status qat_cuda_llama_set(qat_llama* llama, const char* name, const float* values, int64_t size);
/* The learning rate of step 1, 2, ...; not to be captured in a graph. */
qat_status qat_cuda_llama_learning_rate(qat_llama* llama, double learning_rate, int64_t step);
/* Forward, backward, clipping, AdamW. tokens, targets: (batch * length) int32 in device memory. */
qat_status qat_cuda_llama_step(const qat_cuda* cuda, qat_llama* llama, const int32_t* tokens, const int32_t* targets);
/* Mean loss of the last step; waits for it. loss: host memory. */
qat_status qat_cuda_llama_loss(const qat_cuda* cuda, qat_llama* llama, float* loss);

#ifdef __cplusplus
}
#endif

#endif

/* qat's CUDA kernels for programs in any language: raw device pointers, sizes, a stream, a scheme as text, an error
 * code.
 *
 * Tensors are row-major and contiguous. A scheme is written as in qat::parse_spec, e.g. "int4:group32:symmetric";
 * groups lie along the columns. Pointers are device memory unless said otherwise; optional ones may be null. Every call
 * queues work on the stream and returns: nothing is allocated or waited for, so calls can be captured in CUDA graphs,
 * and results are the same from run to run. A call that fails has queued nothing; qat_last_error() says what was found
 * and what is accepted.
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
#ifdef __cplusplus
}
#endif

#endif

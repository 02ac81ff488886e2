// The C interface to attention.
#include "qat/kernels/cuda/attention.hpp"
#include "capi.hpp"

using namespace qat;

extern "C" {

qat_status qat_cuda_attention(const qat_cuda* cuda, int64_t batch, int64_t tokens, int64_t heads, int64_t kv_heads,
                              int64_t head_dim, const void* q, const void* k, const void* v, void* out,
                              float* log_sum_exp, int32_t form) {
  return capi::guarded([&] {
    capi::check_arguments(cuda, "attention", QAT_BFLOAT16,
                          {{"q", q}, {"k", k}, {"v", v}, {"out", out}, {"log_sum_exp", log_sum_exp, true}});
    cuda::AttentionArgs<bfloat16> a;
    a.extents = cuda::attention_extents(batch, tokens, tokens, heads, kv_heads, head_dim);
    a.q = static_cast<const bfloat16*>(q);
    a.k = static_cast<const bfloat16*>(k);
    a.v = static_cast<const bfloat16*>(v);
    a.out = static_cast<bfloat16*>(out);
    a.log_sum_exp = log_sum_exp;
    a.form = form;
    cuda::attention(capi::backend(cuda), a);
  });
}
qat_status qat_cuda_attention_backward(const qat_cuda* cuda, int64_t batch, int64_t tokens, int64_t heads,
                                       int64_t kv_heads, int64_t head_dim, const void* q, const void* k, const void* v,
                                       const void* out, const float* log_sum_exp, const void* dout, void* dq, void* dk,
                                       void* dv, int32_t form) {
  return capi::guarded([&] {
    capi::check_arguments(cuda, "attention_backward", QAT_BFLOAT16,
                          {{"q", q},
                           {"k", k},
                           {"v", v},
                           {"out", out},
                           {"log_sum_exp", log_sum_exp},
                           {"dout", dout},
                           {"dq", dq},
                           {"dk", dk},
                           {"dv", dv}});
    cuda::AttentionBackwardArgs<bfloat16> a;
    a.extents = cuda::attention_extents(batch, tokens, tokens, heads, kv_heads, head_dim);
    a.q = static_cast<const bfloat16*>(q);
    a.k = static_cast<const bfloat16*>(k);
    a.v = static_cast<const bfloat16*>(v);
    a.out = static_cast<const bfloat16*>(out);
    a.log_sum_exp = log_sum_exp;
    a.dout = static_cast<const bfloat16*>(dout);
    a.dq = static_cast<bfloat16*>(dq);
    a.dk = static_cast<bfloat16*>(dk);
    a.dv = static_cast<bfloat16*>(dv);
    a.form = form;
    cuda::attention_backward(capi::backend(cuda), a);
  });
}

}  // extern "C"

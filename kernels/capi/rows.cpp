// The C interface to passes over rows that fake-quantize what they compute: RMSNorm and activations.
#include "capi.hpp"
#include "qat/kernels/cuda/activation.hpp"
#include "qat/kernels/cuda/rmsnorm.hpp"

using namespace qat;

namespace {
cuda::Activation kind_of(const char* operation, int32_t kind) {
  QAT_CHECK(kind == 0 || kind == 1, kInvalidArgument, operation, ": kind is ", kind,
            "; accepted: 0 (SwiGLU), 1 (GELU, tanh form)");
  return static_cast<cuda::Activation>(kind);
}
/// The scheme that `text` names, kept in `storage`; null for null.
const QuantSpec* spec_or_null(const char* operation, const char* text, QuantSpec& storage) {
  if (text == nullptr) return nullptr;
  storage = capi::spec(operation, text);
  return &storage;
}
}  // namespace

extern "C" {

qat_status qat_cuda_rmsnorm(const qat_cuda* cuda, const char* spec, qat_dtype dtype, const void* x,
                            const void* residual, void* sum, const float* weight, float eps, int64_t rows,
                            int64_t columns, float* inv_rms, void* y, int8_t* codes, float* scale, float* zero_point) {
  return capi::guarded([&] {
    capi::check_arguments(cuda, "rmsnorm", dtype,
                          {{"x", x},
                           {"weight", weight},
                           {"residual", residual, true},
                           {"sum", sum, true},
                           {"inv_rms", inv_rms, true},
                           {"y", y, true},
                           {"codes", codes, true},
                           {"scale", scale, true},
                           {"zero_point", zero_point, true}});
    QuantSpec storage;
    const QuantSpec* const s = spec_or_null("rmsnorm", spec, storage);
    capi::with_dtype("rmsnorm", dtype, [&]<class T>(T) {
      cuda::RmsNormArgs<T> args;
      args.x = static_cast<const T*>(x);
      args.residual = static_cast<const T*>(residual);
      args.sum = static_cast<T*>(sum);
      args.weight = weight;
      args.eps = eps;
      args.rows = rows;
      args.columns = columns;
      args.inv_rms = inv_rms;
      args.output.spec = s;
      args.output.y = static_cast<T*>(y);
      args.output.codes = codes;
      args.output.scale = scale;
      args.output.zero_point = zero_point;
      cuda::rmsnorm(capi::backend(cuda), args);
    });
  });
}
qat_status qat_cuda_rmsnorm_backward_bytes(qat_dtype dtype, int64_t rows, int64_t columns, size_t* bytes) {
  return capi::guarded([&] {
    capi::with_dtype("rmsnorm_backward", dtype,
                     [&]<class T>(T) { *bytes = cuda::rmsnorm_backward_bytes<T>(rows, columns); });
  });
}
qat_status qat_cuda_rmsnorm_backward(const qat_cuda* cuda, const char* spec, qat_dtype dtype, const void* x,
                                     const float* weight, const float* inv_rms, const void* dy, int64_t rows,
                                     int64_t columns, const float* scale, const float* zero_point, void* dx,
                                     int32_t accumulate_dx, float* dweight, int32_t accumulate_dweight) {
  return capi::guarded([&] {
    capi::check_arguments(cuda, "rmsnorm_backward", dtype,
                          {{"x", x},
                           {"weight", weight},
                           {"inv_rms", inv_rms},
                           {"dy", dy},
                           {"dx", dx},
                           {"scale", scale, true},
                           {"zero_point", zero_point, true},
                           {"dweight", dweight, true}});
    QuantSpec storage;
    const QuantSpec* const s = spec_or_null("rmsnorm_backward", spec, storage);
    capi::with_dtype("rmsnorm_backward", dtype, [&]<class T>(T) {
      cuda::RmsNormBackwardArgs<T> args;
      args.x = static_cast<const T*>(x);
      args.weight = weight;
      args.inv_rms = inv_rms;
      args.dy = static_cast<const T*>(dy);
      args.rows = rows;
      args.columns = columns;
      args.dx = static_cast<T*>(dx);
      args.accumulate_dx = accumulate_dx != 0;
      args.dweight = dweight;
      args.accumulate_dweight = accumulate_dweight != 0;
      args.quantized.spec = s;
      args.quantized.scale = scale;
      args.quantized.zero_point = zero_point;
      cuda::rmsnorm_backward(capi::backend(cuda), args);
    });
  });
}
qat_status qat_cuda_activation(const qat_cuda* cuda, int32_t kind, const char* spec, qat_dtype dtype, const void* gate,
                               const void* up, int64_t rows, int64_t columns, int64_t stride, void* y, int8_t* codes,
                               float* scale, float* zero_point) {
  return capi::guarded([&] {
    capi::check_arguments(cuda, "activation", dtype,
                          {{"gate", gate},
                           {"up", up, true},
                           {"y", y, true},
                           {"codes", codes, true},
                           {"scale", scale, true},
                           {"zero_point", zero_point, true}});
    QuantSpec storage;
    const QuantSpec* const s = spec_or_null("activation", spec, storage);
    capi::with_dtype("activation", dtype, [&]<class T>(T) {
      cuda::ActivationArgs<T> args;
      args.kind = kind_of("activation", kind);
      args.gate = static_cast<const T*>(gate);
      args.up = static_cast<const T*>(up);
      args.rows = rows;
      args.columns = columns;
      args.gate_stride = args.up_stride = stride;
      args.output.spec = s;
      args.output.y = static_cast<T*>(y);
      args.output.codes = codes;
      args.output.scale = scale;
      args.output.zero_point = zero_point;
      cuda::activation(capi::backend(cuda), args);
    });
  });
}
qat_status qat_cuda_activation_backward(const qat_cuda* cuda, int32_t kind, const char* spec, qat_dtype dtype,
                                        const void* gate, const void* up, const void* dy, int64_t rows, int64_t columns,
                                        int64_t stride, const float* scale, const float* zero_point, void* dgate,
                                        void* dup) {
  return capi::guarded([&] {
    capi::check_arguments(cuda, "activation_backward", dtype,
                          {{"gate", gate},
                           {"dy", dy},
                           {"dgate", dgate},
                           {"up", up, true},
                           {"dup", dup, true},
                           {"scale", scale, true},
                           {"zero_point", zero_point, true}});
    QuantSpec storage;
    const QuantSpec* const s = spec_or_null("activation_backward", spec, storage);
    capi::with_dtype("activation_backward", dtype, [&]<class T>(T) {
      cuda::ActivationBackwardArgs<T> args;
      args.kind = kind_of("activation_backward", kind);
      args.gate = static_cast<const T*>(gate);
      args.up = static_cast<const T*>(up);
      args.dy = static_cast<const T*>(dy);
      args.rows = rows;
      args.columns = columns;
      args.gate_stride = args.up_stride = stride;
      args.dgate = static_cast<T*>(dgate);
      args.dup = static_cast<T*>(dup);
      args.quantized.spec = s;
      args.quantized.scale = scale;
      args.quantized.zero_point = zero_point;
      cuda::activation_backward(capi::backend(cuda), args);
    });
  });
}

}  // extern "C"

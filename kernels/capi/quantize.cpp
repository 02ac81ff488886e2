// The C interface to fake quantization.
#include "capi.hpp"
#include "qat/kernels/cuda/fake_quantize.hpp"

using namespace qat;

namespace {
cuda::QuantizeExtras with_mask(std::uint8_t* pass_mask) {
  cuda::QuantizeExtras extras;
  extras.pass_mask = pass_mask;
  return extras;
}
}  // namespace

extern "C" {

qat_status qat_cuda_fake_quantize(const qat_cuda* cuda, const char* spec, qat_dtype dtype, const void* x, int64_t rows,
                                  int64_t columns, void* y, float* scale, float* zero_point, uint8_t* pass_mask) {
  return capi::guarded([&] {
    const QuantSpec s = capi::spec("fake_quantize", spec);
    capi::with_dtype("fake_quantize", dtype, [&]<class T>(T) {
      cuda::fake_quantize_dynamic(capi::backend(cuda), s, static_cast<const T*>(x), rows, columns, static_cast<T*>(y),
                                  scale, zero_point, with_mask(pass_mask));
    });
  });
}
qat_status qat_cuda_fake_quantize_with(const qat_cuda* cuda, const char* spec, qat_dtype dtype, const void* x,
                                       int64_t rows, int64_t columns, const float* scale, const float* zero_point,
                                       void* y, uint8_t* pass_mask) {
  return capi::guarded([&] {
    const QuantSpec s = capi::spec("fake_quantize", spec);
    capi::with_dtype("fake_quantize", dtype, [&]<class T>(T) {
      cuda::fake_quantize(capi::backend(cuda), s, static_cast<const T*>(x), rows, columns, scale, zero_point,
                          static_cast<T*>(y), with_mask(pass_mask));
    });
  });
}
qat_status qat_cuda_fake_quantize_backward(const qat_cuda* cuda, const char* spec, qat_dtype dtype, const void* dy,
                                           const void* x, int64_t rows, int64_t columns, const float* scale,
                                           const float* zero_point, void* dx) {
  return capi::guarded([&] {
    const QuantSpec s = capi::spec("fake_quantize_backward", spec);
    capi::with_dtype("fake_quantize_backward", dtype, [&]<class T>(T) {
      cuda::fake_quantize_backward(capi::backend(cuda), s, static_cast<const T*>(dy), static_cast<const T*>(x), rows,
                                   columns, scale, zero_point, SteMask::kInclusive, static_cast<T*>(dx));
    });
  });
}
qat_status qat_cuda_fake_quantize_backward_masked(const qat_cuda* cuda, const char* spec, qat_dtype dtype,
                                                  const void* dy, const uint8_t* pass_mask, int64_t rows,
                                                  int64_t columns, const float* scale, const float* zero_point,
                                                  void* dx) {
  return capi::guarded([&] {
    const QuantSpec s = capi::spec("fake_quantize_backward", spec);
    capi::with_dtype("fake_quantize_backward", dtype, [&]<class T>(T) {
      cuda::fake_quantize_backward_masked(capi::backend(cuda), s, static_cast<const T*>(dy), pass_mask, rows, columns,
                                          scale, zero_point, static_cast<T*>(dx));
    });
  });
}

}  // extern "C"

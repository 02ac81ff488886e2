// The C interface to quantization.
#include "qat/kernels/cuda/quantize.hpp"
#include "capi.hpp"

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
    capi::check_arguments(
        cuda, "fake_quantize", dtype,
        {{"x", x}, {"y", y}, {"scale", scale, true}, {"zero_point", zero_point, true}, {"pass_mask", pass_mask, true}});
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
    capi::check_arguments(
        cuda, "fake_quantize", dtype,
        {{"x", x}, {"scale", scale}, {"y", y}, {"zero_point", zero_point, true}, {"pass_mask", pass_mask, true}});
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
    capi::check_arguments(cuda, "fake_quantize_backward", dtype,
                          {{"dy", dy}, {"x", x}, {"scale", scale}, {"dx", dx}, {"zero_point", zero_point, true}});
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
    capi::check_arguments(
        cuda, "fake_quantize_backward", dtype,
        {{"dy", dy}, {"pass_mask", pass_mask}, {"dx", dx}, {"scale", scale, true}, {"zero_point", zero_point, true}});
    const QuantSpec s = capi::spec("fake_quantize_backward", spec);
    capi::with_dtype("fake_quantize_backward", dtype, [&]<class T>(T) {
      cuda::fake_quantize_backward_masked(capi::backend(cuda), s, static_cast<const T*>(dy), pass_mask, rows, columns,
                                          scale, zero_point, static_cast<T*>(dx));
    });
  });
}
qat_status qat_cuda_quantize_packed(const qat_cuda* cuda, const char* spec, qat_dtype dtype, const void* x,
                                    int64_t rows, int64_t columns, uint8_t* packed, float* scale, float* zero_point) {
  return capi::guarded([&] {
    capi::check_arguments(cuda, "quantize_packed", dtype,
                          {{"x", x}, {"packed", packed}, {"scale", scale, true}, {"zero_point", zero_point, true}});
    const QuantSpec s = capi::spec("quantize_packed", spec);
    capi::with_dtype("quantize_packed", dtype, [&]<class T>(T) {
      cuda::quantize_packed_dynamic(capi::backend(cuda), s, static_cast<const T*>(x), rows, columns, packed, scale,
                                    zero_point);
    });
  });
}
qat_status qat_cuda_dequantize_packed(const qat_cuda* cuda, const char* spec, qat_dtype dtype, const uint8_t* packed,
                                      int64_t rows, int64_t columns, const float* scale, const float* zero_point,
                                      void* y) {
  return capi::guarded([&] {
    capi::check_arguments(cuda, "dequantize_packed", dtype,
                          {{"packed", packed}, {"scale", scale}, {"y", y}, {"zero_point", zero_point, true}});
    const QuantSpec s = capi::spec("dequantize_packed", spec);
    capi::with_dtype("dequantize_packed", dtype, [&]<class T>(T) {
      cuda::dequantize_packed(capi::backend(cuda), s, packed, rows, columns, scale, zero_point, static_cast<T*>(y));
    });
  });
}

}  // extern "C"

// The C interface to learned scales and to floats under shared scales.
#include "qat/kernels/cuda/scaled_float.hpp"

#include "capi.hpp"
#include "qat/kernels/cuda/lsq.hpp"

using namespace qat;

extern "C" {

qat_status qat_cuda_lsq_backward(const qat_cuda* cuda, const char* spec, const float* dy, const float* x, int64_t rows,
                                 int64_t columns, const float* scale, const float* zero_point, float factor, float* dx,
                                 float* dscale) {
  return capi::guarded([&] {
    capi::check_arguments(cuda, "lsq_backward", QAT_BFLOAT16,
                          {{"dy", dy},
                           {"x", x},
                           {"scale", scale},
                           {"zero_point", zero_point, true},
                           {"dx", dx, true},
                           {"dscale", dscale, true}});
    cuda::lsq_backward(capi::backend(cuda), capi::spec("lsq_backward", spec), dy, x, rows, columns, scale, zero_point,
                       SteMask::kInclusive, factor, dx, false, dscale, false);
  });
}
qat_status qat_cuda_fake_quantize_float(const qat_cuda* cuda, const char* spec, qat_dtype dtype, const void* x,
                                        int64_t rows, int64_t columns, void* y, const float* tensor_amax, float* scale,
                                        uint8_t* pass_mask) {
  return capi::guarded([&] {
    capi::check_arguments(cuda, "fake_quantize_float", dtype,
                          {{"x", x},
                           {"y", y},
                           {"tensor_amax", tensor_amax, true},
                           {"scale", scale, true},
                           {"pass_mask", pass_mask, true}});
    QAT_CHECK(spec != nullptr, kInvalidArgument, "fake_quantize_float: spec is null");
    const ScaledFloatSpec s = parse_scaled_float_spec(spec);
    capi::with_dtype("fake_quantize_float", dtype, [&]<class T>(T) {
      cuda::fake_quantize_float(capi::backend(cuda), s, static_cast<const T*>(x), rows, columns, static_cast<T*>(y),
                                {tensor_amax, scale, pass_mask, nullptr});
    });
  });
}
qat_status qat_cuda_mask_gradient(const qat_cuda* cuda, qat_dtype dtype, const void* dy, const uint8_t* pass_mask,
                                  int64_t count, void* dx) {
  return capi::guarded([&] {
    capi::check_arguments(cuda, "mask_gradient", dtype, {{"dy", dy}, {"pass_mask", pass_mask}, {"dx", dx}});
    capi::with_dtype("mask_gradient", dtype, [&]<class T>(T) {
      cuda::mask_gradient(capi::backend(cuda), static_cast<const T*>(dy), pass_mask, count, static_cast<T*>(dx));
    });
  });
}
qat_status qat_cuda_tensor_amax(const qat_cuda* cuda, qat_dtype dtype, const void* x, int64_t count, float* amax) {
  return capi::guarded([&] {
    capi::check_arguments(cuda, "tensor_amax", dtype, {{"x", x}, {"amax", amax}});
    capi::with_dtype("tensor_amax", dtype, [&]<class T>(T) {
      cuda::tensor_amax(capi::backend(cuda), static_cast<const T*>(x), count, amax);
    });
  });
}

}  // extern "C"

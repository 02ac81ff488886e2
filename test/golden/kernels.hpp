// The same tensors through the kernels: reference and, once per instruction set this machine has, the dispatched ones.
// Their results are held to those of the definition, which the case is compared with.
#pragma once

#include "golden/definition.hpp"
#include "qat/kernels/cpu/quantize.hpp"
#include "qat/simd/target.hpp"

namespace qat::golden {

/// Results of one set of kernels, widened to fp32.
struct KernelResults {
  std::vector<float> scale, zero_point, dequantized, fake_quantized, strict, inclusive;
  std::vector<std::int8_t> codes;
};

template <class D>
std::vector<D> narrow(const std::vector<float>& values) {
  std::vector<D> out;
  for (const float v : values) out.push_back(static_cast<D>(v));
  return out;
}
template <class D>
std::vector<float> widen_floats(const std::vector<D>& values) {
  std::vector<float> out;
  for (const D v : values) out.push_back(static_cast<float>(v));
  return out;
}

/// The kernels of kernels::reference, behind the signatures of the dispatched ones.
struct ReferenceKernels {
  template <class... A>
  static void choose_qparams(A... a) {
    kernels::reference::choose_qparams(a...);
  }
  template <class... A>
  static void quantize(A... a) {
    kernels::reference::quantize(a...);
  }
  template <class... A>
  static void dequantize(A... a) {
    kernels::reference::dequantize(a...);
  }
  template <class... A>
  static void fake_quantize(A... a) {
    kernels::reference::fake_quantize(a...);
  }
  template <class... A>
  static void fake_quantize_backward(A... a) {
    kernels::reference::fake_quantize_backward(a...);
  }
};
struct DispatchedKernels {
  template <class... A>
  static void choose_qparams(A... a) {
    kernels::choose_qparams(CpuBackend::shared(), a...);
  }
  template <class... A>
  static void quantize(A... a) {
    kernels::quantize(CpuBackend::shared(), a...);
  }
  template <class... A>
  static void dequantize(A... a) {
    kernels::dequantize(CpuBackend::shared(), a...);
  }
  template <class... A>
  static void fake_quantize(A... a) {
    kernels::fake_quantize(CpuBackend::shared(), a...);
  }
  template <class... A>
  static void fake_quantize_backward(A... a) {
    kernels::fake_quantize_backward(CpuBackend::shared(), a...);
  }
};

template <class Kernels, class D>
KernelResults run_kernels(const QuantSpec& spec, const Array& input, const Array& calibration,
                          const std::vector<float>& dy, std::size_t tiles) {
  const index_t rows = input.rows(), columns = input.columns();
  const std::vector<D> x = narrow<D>(input.floats), c = narrow<D>(calibration.floats), g = narrow<D>(dy);
  KernelResults out;
  out.scale.resize(tiles);
  out.zero_point.resize(tiles);
  out.codes.resize(x.size());
  std::vector<D> y(x.size());
  const float *scale = out.scale.data(), *zero = out.zero_point.data();
  Kernels::choose_qparams(spec, c.data(), rows, columns, out.scale.data(), out.zero_point.data());
  Kernels::quantize(spec, x.data(), rows, columns, scale, zero, out.codes.data());
  const std::int8_t* codes = out.codes.data();
  Kernels::dequantize(spec, codes, rows, columns, scale, zero, y.data());
  out.dequantized = widen_floats(y);
  Kernels::fake_quantize(spec, x.data(), rows, columns, scale, zero, y.data());
  out.fake_quantized = widen_floats(y);
  if (dy.empty()) return out;
  Kernels::fake_quantize_backward(spec, g.data(), x.data(), rows, columns, scale, zero, SteMask::kStrict, y.data());
  out.strict = widen_floats(y);
  Kernels::fake_quantize_backward(spec, g.data(), x.data(), rows, columns, scale, zero, SteMask::kInclusive, y.data());
  out.inclusive = widen_floats(y);
  return out;
}

/// Fails the case where a kernel's bits are not those of the definition.
inline void check_kernels(Case& c, const Array& x, const Array& calibration, const std::vector<float>& dy,
                          const Quantized& q, const AffineScheme& scheme) {
  std::vector<std::int8_t> codes;
  for (const std::int64_t code : q.codes) codes.push_back(static_cast<std::int8_t>(code));
  std::vector<float> strict, inclusive;
  if (!dy.empty()) strict = gradient_by_definition(x, dy, q, scheme, SteMask::kStrict);
  if (!dy.empty()) inclusive = gradient_by_definition(x, dy, q, scheme, SteMask::kInclusive);
  const auto check = [&](const std::string& which, const KernelResults& k) {
    const auto one = [&](const char* what, const test::Comparison& result) {
      if (!result.passed) c.fail(which + " kernel differs from the definition in " + what + ": " + result.report);
    };
    one("scale", test::compare_bits(q.scale, k.scale));
    one("zero_point", test::compare_bits(q.zero_point, k.zero_point));
    one("codes", test::compare_bits(codes, k.codes));
    one("dequantize", test::compare_bits(q.dequantized, k.dequantized));
    one("fake_quantize", test::compare_bits(q.dequantized, k.fake_quantized));
    if (dy.empty()) return;
    one("the strict gradient", test::compare_bits(strict, k.strict));
    one("the inclusive gradient", test::compare_bits(inclusive, k.inclusive));
  };
  const auto all = [&]<class D>(D) {
    check("reference", run_kernels<ReferenceKernels, D>(scheme.spec, x, calibration, dy, q.params.size()));
    for (const Target target : supported_targets()) {
      const ScopedTarget scoped(target);
      check(name(target), run_kernels<DispatchedKernels, D>(scheme.spec, x, calibration, dy, q.params.size()));
    }
  };
  if (scheme.input == FloatType::kFloat32) all(float{});
  if (scheme.input == FloatType::kBfloat16) all(bfloat16{});
  if (scheme.input == FloatType::kFloat16) all(half{});
}

}  // namespace qat::golden

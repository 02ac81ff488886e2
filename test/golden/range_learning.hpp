// Learned scales: fake-quantized values and both gradients for given scales, against torchao's range learning (family
// f09), whose gradient of the scale has no LSQ factor.
#pragma once

#include "golden/definition.hpp"
#include "qat/kernels/cpu/lsq.hpp"
#include "qat/simd/target.hpp"

namespace qat::golden {

inline void run_range_learning(Case& c) {
  const Array &x = c.input("input"), &dy = c.input("grad_output"), &scale = c.input("scale");
  for (const std::int64_t z : c.input("zero_point").integers) QAT_CHECK(z == 0, kUnsupported, "zero point ", z);
  const QuantSpec spec = parse_case_spec(c.spec());
  const AffineScheme scheme(spec, FloatType::kFloat32);
  const index_t rows = x.rows(), columns = x.columns();
  const std::vector<index_t> group = group_of_elements(group_layout(spec.granularity, rows, columns));
  const std::size_t tiles = scale.floats.size();
  QAT_CHECK(group_layout(spec.granularity, rows, columns).count() == static_cast<index_t>(tiles), kUnsupported,
            "the number of scales is not that of the groups");
  std::vector<float> y(x.floats.size());
  kernels::fake_quantize(CpuBackend::shared(), spec, x.floats.data(), rows, columns, scale.floats.data(), nullptr,
                         y.data());
  c.exact("fake_quantized", y, x.shape);
  for (const SteMask mask : {SteMask::kStrict, SteMask::kInclusive}) {
    const std::string suffix = mask == SteMask::kStrict ? "" : "_inclusive";
    // Theirs: sum of dy (q - z) minus sum of dy s m x / s^2, in another order and with other roundings.
    std::vector<double> bounds(tiles);
    for (std::size_t i = 0; i < group.size(); ++i) {
      const double steps = x.floats[i] / scale.floats[static_cast<std::size_t>(group[i])];
      const double code = y[i] / scale.floats[static_cast<std::size_t>(group[i])];
      bounds[static_cast<std::size_t>(group[i])] += std::abs(dy.floats[i]) * (std::abs(steps) + std::abs(code));
    }
    const double length = static_cast<double>(group.size() / tiles);
    for (double& bound : bounds) bound *= 0x1p-24 * (length + 8);
    for (const Target target : supported_targets()) {
      const ScopedTarget forced(target);
      std::vector<float> dx(x.floats.size()), dscale(tiles);
      kernels::lsq_backward(CpuBackend::shared(), spec, dy.floats.data(), x.floats.data(), rows, columns,
                            scale.floats.data(), nullptr, mask, 1.0f, dx.data(), false, dscale.data(), false);
      c.exact("grad_input" + suffix, dx, x.shape, name(target));
      c.within("grad_scale" + suffix, dscale, scale.shape, bounds, {}, name(target));
    }
  }
}

}  // namespace qat::golden

// Learned scales on the device: the gradients have the bits of the definition, sums included.
#include "gpu/check.hpp"
#include "qat/kernels/cuda/lsq.hpp"
#include "qat/kernels/reference/quantize.hpp"
#include "support/quantize_cases.hpp"

namespace qat::test::gpu {
namespace {

void compare_lsq(const Device& device, Report& report, const QuantSpec& spec, index_t rows, index_t columns,
                 std::uint64_t seed) {
  const index_t n = rows * columns, tiles = group_layout(spec.granularity, rows, columns).count();
  const std::string what =
      std::string(to_string(spec).c_str()) + " " + std::to_string(rows) + "x" + std::to_string(columns);
  const std::vector<float> x = adversarial<float>(n, seed), dy = adversarial<float>(n, seed + 1, true);
  std::vector<float> scale(static_cast<std::size_t>(tiles)), zero(scale.size()), dscale(scale.size()), dx(x.size());
  kernels::reference::choose_qparams(spec, x.data(), rows, columns, scale.data(), zero.data());
  for (std::size_t i = 0; i < scale.size(); i += 3) scale[i] *= 0.4f;
  kernels::reference::fake_quantize_backward(spec, dy.data(), x.data(), rows, columns, scale.data(), zero.data(),
                                             SteMask::kInclusive, dx.data());
  kernels::reference::lsq_scale_gradient(spec, dy.data(), x.data(), rows, columns, scale.data(), zero.data(),
                                         SteMask::kInclusive, 0.3f, dscale.data());
  const auto device_x = to_device(device, x), device_dy = to_device(device, dy),
             device_scale = to_device(device, scale), device_zero = to_device(device, zero);
  const cuda::DeviceBuffer<float> device_dx(n), device_dscale(tiles);
  cuda::lsq_backward(device.backend, spec, device_dy.data(), device_x.data(), rows, columns, device_scale.data(),
                     device_zero.data(), SteMask::kInclusive, 0.3f, device_dx.data(), false, device_dscale.data(),
                     false);
  report.expect(what + " dx", compare_bits<float>(dx, to_host(device, device_dx)));
  report.expect(what + " dscale", compare_bits<float>(dscale, to_host(device, device_dscale)));
}

void lsq(const Device& device, Report& report) {
  std::uint64_t seed = 1;
  for (const QuantSpec& spec : specs_under_test()) {
    if (spec.mapping == MappingKind::kFloatZeroPoint) continue;
    for (const MatrixShape shape : kShapes)
      if (accepts(spec, shape)) compare_lsq(device, report, spec, shape.rows, shape.columns, ++seed);
    if (!device.large) continue;
    for (const MatrixShape shape : {MatrixShape{301, 4096}, MatrixShape{9, 12300}})
      compare_lsq(device, report, spec, shape.rows, shape.columns, ++seed);
  }
}

const Registration lsq_check("lsq_backward: every scheme has the bits of the processor", lsq);

}  // namespace
}  // namespace qat::test::gpu

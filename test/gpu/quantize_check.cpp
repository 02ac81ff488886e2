// Fake quantization on the device: the bits of the reference kernels, for every scheme of the menu.
#include "gpu/check.hpp"
#include "qat/kernels/cuda/quantize.hpp"
#include "qat/kernels/reference/quantize.hpp"
#include "support/quantize_cases.hpp"

namespace qat::test::gpu {
namespace {

template <class T>
void compare_spec(const Device& device, Report& report, const QuantSpec& spec, index_t rows, index_t columns,
                  std::uint64_t seed) {
  const index_t n = rows * columns, tiles = group_layout(spec.granularity, rows, columns).count();
  const std::string what = std::string(to_string(spec).c_str()) + (sizeof(T) == 2 ? " bfloat16 " : " float32 ") +
                           std::to_string(rows) + "x" + std::to_string(columns);
  const auto count = static_cast<std::size_t>(n), tile_count = static_cast<std::size_t>(tiles);
  const std::vector<T> x = adversarial<T>(n, seed), dy = adversarial<T>(n, seed + 1, true);

  std::vector<T> y(count), dx(count);
  std::vector<float> scale(tile_count), zero_point(tile_count);
  std::vector<std::uint8_t> mask(static_cast<std::size_t>((n + 7) / 8));
  kernels::reference::fake_quantize_dynamic(spec, x.data(), rows, columns, y.data(), scale.data(), zero_point.data());
  kernels::reference::gradient_mask(spec, x.data(), rows, columns, scale.data(), zero_point.data(), SteMask::kInclusive,
                                    mask.data());

  const auto device_x = to_device(device, x), device_dy = to_device(device, dy);
  const cuda::DeviceBuffer<T> device_y(n), device_dx(n);
  const cuda::DeviceBuffer<float> device_scale(tiles), device_zero(tiles);
  const cuda::DeviceBuffer<std::uint8_t> device_mask((n + 7) / 8);
  cuda::QuantizeExtras extras;
  extras.pass_mask = device_mask.data();
  cuda::fake_quantize_dynamic(device.backend, spec, device_x.data(), rows, columns, device_y.data(),
                              device_scale.data(), device_zero.data(), extras);
  report.expect(what + " y", compare_bits<T>(y, to_host(device, device_y)));
  report.expect(what + " scale", compare_bits<float>(scale, to_host(device, device_scale)));
  report.expect(what + " zero point", compare_bits<float>(zero_point, to_host(device, device_zero)));
  report.expect(what + " mask", compare_bits<std::uint8_t>(mask, to_host(device, device_mask)));

  cuda::fake_quantize(device.backend, spec, device_x.data(), rows, columns, device_scale.data(), device_zero.data(),
                      device_y.data());
  report.expect(what + " y, given parameters", compare_bits<T>(y, to_host(device, device_y)));

  std::vector<std::int8_t> codes(count);
  kernels::reference::quantize(spec, x.data(), rows, columns, scale.data(), zero_point.data(), codes.data());
  const cuda::DeviceBuffer<std::int8_t> device_codes(n);
  cuda::quantize_dynamic(device.backend, spec, device_x.data(), rows, columns, device_codes.data(), nullptr, nullptr);
  report.expect(what + " codes", compare_bits<std::int8_t>(codes, to_host(device, device_codes)));
  const cuda::DeviceBuffer<std::uint8_t> device_packed((n * spec.bits + 7) / 8);
  cuda::quantize_packed_dynamic(device.backend, spec, device_x.data(), rows, columns, device_packed.data(), nullptr,
                                nullptr);
  cuda::dequantize_packed(device.backend, spec, device_packed.data(), rows, columns, device_scale.data(),
                          device_zero.data(), device_y.data());
  kernels::reference::dequantize(spec, codes.data(), rows, columns, scale.data(), zero_point.data(), y.data());
  report.expect(what + " packed and back", compare_bits<T>(y, to_host(device, device_y)));

  kernels::reference::fake_quantize_backward(spec, dy.data(), x.data(), rows, columns, scale.data(), zero_point.data(),
                                             SteMask::kInclusive, dx.data());
  cuda::fake_quantize_backward(device.backend, spec, device_dy.data(), device_x.data(), rows, columns,
                               device_scale.data(), device_zero.data(), SteMask::kInclusive, device_dx.data());
  report.expect(what + " dx", compare_bits<T>(dx, to_host(device, device_dx)));
  cuda::fake_quantize_backward_masked(device.backend, spec, device_dy.data(), device_mask.data(), rows, columns,
                                      device_scale.data(), device_zero.data(), device_dx.data());
  report.expect(what + " dx from the mask", compare_bits<T>(dx, to_host(device, device_dx)));
}

void every_scheme(const Device& device, Report& report) {
  std::uint64_t seed = 1;
  for (const QuantSpec& spec : specs_under_test()) {
    for (const MatrixShape shape : kShapes) {
      if (!accepts(spec, shape)) continue;
      compare_spec<float>(device, report, spec, shape.rows, shape.columns, ++seed);
      compare_spec<bfloat16>(device, report, spec, shape.rows, shape.columns, ++seed);
    }
    if (!device.large) continue;
    compare_spec<float>(device, report, spec, 301, 4096, ++seed);
    compare_spec<bfloat16>(device, report, spec, 301, 4096, ++seed);
    compare_spec<bfloat16>(device, report, spec, 33, 11008, ++seed);
    compare_spec<float>(device, report, spec, 9, 40000, ++seed);  // rows longer than a block keeps in registers
  }
}

/// More than 2^32 bytes, so that an index of 32 bits anywhere shows: the last rows against the reference.
void beyond_32_bits(const Device& device, Report& report) {
  if (!device.large) return;
  const QuantSpec spec = parse_spec("int4:group32:symmetric");
  const index_t rows = 300000, columns = 8192, tail = 64;  // 4.9 GB of bfloat16 in, as much out
  const std::vector<bfloat16> x = adversarial<bfloat16>(tail * columns, 9);
  const cuda::DeviceBuffer<bfloat16> device_x(rows * columns), device_y(rows * columns);
  const index_t offset = (rows - tail) * columns;
  cuda::device_copy(device.backend, device_x.data() + offset, x.data(), x.size() * 2);
  cuda::fake_quantize_dynamic<bfloat16>(device.backend, spec, device_x.data(), rows, columns, device_y.data());
  std::vector<bfloat16> expected(x.size()), actual(x.size());
  kernels::reference::fake_quantize_dynamic(spec, x.data(), tail, columns, expected.data());
  cuda::device_copy(device.backend, actual.data(), device_y.data() + offset, x.size() * 2);
  report.expect("last rows of 4.9 GB", compare_bits<bfloat16>(expected, actual));
}

const Registration every_scheme_check("fake_quantize: every scheme has the bits of the processor", every_scheme);
const Registration beyond_check("fake_quantize: tensors beyond 2^32 bytes", beyond_32_bits);

}  // namespace
}  // namespace qat::test::gpu

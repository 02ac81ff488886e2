// FP8, MX and NVFP4 on the device: the bits of quant/scaled_float.hpp.
#include "gpu/check.hpp"
#include "qat/kernels/cuda/scaled_float.hpp"
#include "qat/kernels/reference/quantize.hpp"
#include "support/quantize_cases.hpp"

namespace qat::test::gpu {
namespace {

float magnitude_if_finite(float v) { return is_nonfinite(v) ? 0.0f : v < 0 ? -v : v; }

template <class T>
void compare_floats(const Device& device, Report& report, const ScaledFloatSpec& spec, index_t rows, index_t columns,
                    std::uint64_t seed) {
  const index_t n = rows * columns;
  const GroupLayout layout = group_layout(spec.granularity, rows, columns);
  const std::string what = std::string(to_string(spec).c_str()) + (sizeof(T) == 2 ? " bfloat16 " : " float32 ") +
                           std::to_string(rows) + "x" + std::to_string(columns);
  const std::vector<T> x = adversarial<T>(n, seed);
  float tensor_amax = 0.0f;
  for (const T& v : x) tensor_amax = qat::detail::maximum(tensor_amax, magnitude_if_finite(static_cast<float>(v)));
  std::vector<T> y(x.size());
  std::vector<float> scale;
  std::vector<std::uint8_t> mask((x.size() + 7) / 8);
  for (index_t tile = 0; tile < layout.count(); ++tile) {
    float amax = 0.0f;
    kernels::reference::for_each_element(layout, tile, [&](index_t i) {
      amax = qat::detail::maximum(amax, magnitude_if_finite(static_cast<float>(x[static_cast<std::size_t>(i)])));
    });
    const ScaledFloatBlock block = choose_block(amax, nvfp4_tensor_scale(tensor_amax), spec, kFloatTypeOf<T>);
    scale.push_back(block.scale);
    kernels::reference::for_each_element(layout, tile, [&](index_t i) {
      const std::size_t at = static_cast<std::size_t>(i);
      const float v = static_cast<float>(x[at]);
      y[at] = static_cast<T>(fake_quantize(v, block, spec, kFloatTypeOf<T>));
      if (passes_gradient(v, block, spec)) mask[at / 8] = static_cast<std::uint8_t>(mask[at / 8] | 1u << (at % 8));
    });
  }
  const auto device_x = to_device(device, x);
  const cuda::DeviceBuffer<T> device_y(n);
  const cuda::DeviceBuffer<float> device_scale(layout.count());
  const cuda::DeviceBuffer<std::uint8_t> device_mask((n + 7) / 8);
  cuda::fake_quantize_float(device.backend, spec, device_x.data(), rows, columns, device_y.data(),
                            {nullptr, device_scale.data(), device_mask.data(), nullptr});
  report.expect(what + " y", compare_bits<T>(y, to_host(device, device_y)));
  report.expect(what + " scale", compare_bits<float>(scale, to_host(device, device_scale)));
  report.expect(what + " mask", compare_bits<std::uint8_t>(mask, to_host(device, device_mask)));
}

void floats(const Device& device, Report& report) {
  std::uint64_t seed = 1;
  for (const char* text : {"e4m3:tensor:amax", "e4m3:token:amax", "e5m2:axis0:amax", "e4m3:group32:mx_rceil",
                           "e5m2:group32:mx_floor", "e2m3:group32:mx_even", "e3m2:group32:mx_ceil",
                           "e2m1:group32:mx_floor", "e2m1:group16:nvfp4", "e2m1:group7:nvfp4"}) {
    const ScaledFloatSpec spec = parse_scaled_float_spec(text);
    for (const MatrixShape shape : {MatrixShape{4, 32}, MatrixShape{3, 40}, MatrixShape{2, 257}, MatrixShape{33, 64},
                                    MatrixShape{device.large ? 301 : 3, 4096}}) {
      if (spec.granularity.group_size > shape.columns) continue;
      compare_floats<float>(device, report, spec, shape.rows, shape.columns, ++seed);
      compare_floats<bfloat16>(device, report, spec, shape.rows, shape.columns, ++seed);
    }
  }
}

const Registration floats_check("fake_quantize_float: every format has the bits of the processor", floats);

}  // namespace
}  // namespace qat::test::gpu

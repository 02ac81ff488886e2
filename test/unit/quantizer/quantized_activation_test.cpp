// QuantizedActivation: codes that dequantize to the fake-quantized values, and the gradient mask kept beside them.
#include "qat/quantizer/quantized_activation.hpp"

#include <doctest/doctest.h>

#include <cstring>
#include <string>
#include <vector>

#include "support/random_values.hpp"

using namespace qat;

namespace {
using test::uniform_values;
}  // namespace

TEST_CASE("codes dequantize to the fake-quantized activation and their mask gives its gradient, bit for bit") {
  const CpuBackend cpu(2);
  constexpr index_t kRows = 37, kColumns = 45;
  const std::vector<float> x = uniform_values(kRows * kColumns, 1), dy = uniform_values(kRows * kColumns, 2);
  for (const char* text :
       {"int8:token:asymmetric", "int4:token:asymmetric", "int8:tensor:symmetric", "int4:group16:symmetric"})
    for (const SteMask mask : {SteMask::kInclusive, SteMask::kStrict, SteMask::kPassThrough}) {
      CAPTURE(text);
      const QuantSpec spec = parse_spec(text);
      const QuantizedActivation q =
          quantize_activation(cpu, spec, view(static_cast<const float*>(x.data()), kRows, kColumns), "layer", mask);
      std::vector<float> y(x.size()), expected(x.size()), dx(x.size());
      kernels::fake_quantize_dynamic(cpu, spec, x.data(), kRows, kColumns, y.data());
      const Tensor<float> values = q.dequantize(cpu);
      CHECK(std::memcmp(values.data(), y.data(), y.size() * sizeof(float)) == 0);
      kernels::fake_quantize_backward(cpu, spec, dy.data(), x.data(), kRows, kColumns, q.scale.data(),
                                      q.zero_point.data(), mask, expected.data());
      q.backward(cpu, dy.data(), dx.data(), false);
      CHECK(std::memcmp(dx.data(), expected.data(), dx.size() * sizeof(float)) == 0);
      CHECK(q.pass_mask.empty() == (mask == SteMask::kPassThrough));
    }
}

TEST_CASE("inference keeps no mask, and non-finite activations name the layer") {
  const CpuBackend cpu(1);
  std::vector<float> x = uniform_values(64, 3);
  const QuantSpec spec = parse_spec("int8:token:asymmetric");
  CHECK(quantize_activation(cpu, spec, view(static_cast<const float*>(x.data()), 2, 32), "layer").pass_mask.empty());
  x[9] = __builtin_inff();
  try {
    quantize_activation(cpu, spec, view(static_cast<const float*>(x.data()), 2, 32), "layers.3.up");
    FAIL("accepted");
  } catch (const Error& e) {
    CHECK(std::string(e.what()).find("layers.3.up: 1 of 64 activations are NaN or infinite") == 0);
  }
}

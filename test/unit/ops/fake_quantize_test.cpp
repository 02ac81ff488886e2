#include "qat/ops/fake_quantize.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "qat/ops/dequantize.hpp"
#include "support/compare.hpp"

using namespace qat;
using namespace qat::test;

namespace {
const CpuBackend& backend() { return CpuBackend::shared(); }
struct Params {
  std::vector<float> scale, zero;
  explicit Params(index_t n) : scale(static_cast<std::size_t>(n)), zero(scale) {}
  ops::QParamsView<float> view() {
    return {qat::view(scale.data(), scale.size()), qat::view(zero.data(), zero.size())};
  }
};
template <class F>
std::string message_of(F&& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}
std::vector<float> ramp(index_t n) {
  std::vector<float> x;
  for (index_t i = 0; i < n; ++i) x.push_back(static_cast<float>(i * 37 % 101) * 0.03f - 1.3f);
  return x;
}
}  // namespace

TEST_CASE("fake_quantize equals dequantize of quantize, with chosen and with given parameters") {
  const QuantSpec spec = parse_spec("int4:group16:asymmetric");
  const std::vector<float> x = ramp(4 * 40);
  const auto xv = view(x.data(), 4, 40);
  CHECK(ops::qparams_size(spec, 4, 40) == 12);
  Params a(12), b(12);
  std::vector<float> y(x.size()), decoded(x.size()), given(x.size());
  std::vector<std::int8_t> codes(x.size()), again(x.size());
  CHECK(ops::fake_quantize_dynamic(backend(), spec, xv, view(y.data(), 4, 40), a.view()) == 0);
  CHECK(ops::quantize_dynamic(backend(), spec, xv, view(codes.data(), 4, 40), b.view()) == 0);
  ops::dequantize(backend(), spec, view(codes.data(), 4, 40), b.view(), view(decoded.data(), 4, 40));
  CHECK(compare_bits(y, decoded));
  ops::fake_quantize(backend(), spec, xv, a.view(), view(given.data(), 4, 40));
  CHECK(compare_bits(y, given));
  ops::quantize(backend(), spec, xv, a.view(), view(again.data(), 4, 40));
  CHECK(compare_bits(codes, again));
}

TEST_CASE("gradients overwrite, accumulate or are skipped") {
  const QuantSpec spec = parse_spec("int8:token:symmetric_no_clip");
  const std::vector<float> x = ramp(64), dy = ramp(64);
  Params p(2);
  std::vector<float> y(x.size()), dx(x.size(), 1.0f), sum(x.size(), 1.0f);
  const auto in = view(x.data(), 2, 32);
  ops::fake_quantize_dynamic(backend(), spec, in, view(y.data(), 2, 32), p.view());
  ops::fake_quantize_backward(backend(), spec, view(dy.data(), 2, 32), in, p.view(), SteMask::kInclusive,
                              view(dx.data(), 2, 32), GradMode::kSkip);
  CHECK(compare_bits(std::vector<float>(64, 1.0f), dx));
  ops::fake_quantize_backward(backend(), spec, view(dy.data(), 2, 32), in, p.view(), SteMask::kInclusive,
                              view(dx.data(), 2, 32), GradMode::kOverwrite);
  CHECK(compare_within(dy, dx, Tolerance{0x1p-24, 3, 2.0}));
  ops::fake_quantize_backward(backend(), spec, view(dy.data(), 2, 32), in, p.view(), SteMask::kInclusive,
                              view(sum.data(), 2, 32), GradMode::kAccumulate);
  for (std::size_t i = 0; i < sum.size(); ++i) CHECK(sum[i] == 1.0f + dx[i]);
}

TEST_CASE("errors name the operation, what was found and what is needed") {
  const QuantSpec spec = parse_spec("int4:group16:asymmetric");
  const std::vector<float> x = ramp(64);
  std::vector<float> y(64);
  Params p(3);
  const std::string shape = message_of(
      [&] { ops::fake_quantize_dynamic(backend(), spec, view(x.data(), 2, 32), view(y.data(), 4, 16), p.view()); });
  CHECK(shape == "fake_quantize_dynamic: y is (4, 16), must be (2, 32)");
  const std::string params =
      message_of([&] { ops::fake_quantize(backend(), spec, view(x.data(), 2, 32), p.view(), view(y.data(), 2, 32)); });
  CHECK(params == "fake_quantize: scale has 3 elements, int4:group16:asymmetric on (2, 32) needs 4");
  const std::string strided = message_of([&] {
    ops::fake_quantize_dynamic(backend(), spec, view(x.data(), 2, 32).transpose(), view(y.data(), 32, 2),
                               Params(0).view());
  });
  CHECK(strided == "fake_quantize_dynamic: x must be contiguous");
  CHECK(message_of([] { ops::check_finite("layers.0.wq", 3, 64); }) ==
        "layers.0.wq: 3 of 64 elements are NaN or infinite, only finite values can be quantized");
  ops::check_finite("layers.0.wq", 0, 64);
}

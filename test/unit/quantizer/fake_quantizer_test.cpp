// FakeQuantizer: the type and its run-time twin, dynamic and static ranges, on and off, backward policies.
#include "qat/quantizer/fake_quantizer.hpp"

#include <doctest/doctest.h>

#include <cstring>
#include <vector>

#include "qat/quantizer/histogram_observer.hpp"
#include "support/random_values.hpp"

using namespace qat;

namespace {

using test::uniform_values;
bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return !a.empty() && a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}
const CpuBackend& cpu() {
  static const CpuBackend backend(1);
  return backend;
}
constexpr index_t kFakeRows = 5, kFakeColumns = 70;  // a ragged last group

}  // namespace

TEST_CASE("the type, its run-time twin and the definition give the same bits, forward and backward") {
  const std::vector<float> x = uniform_values(kFakeRows * kFakeColumns, 1),
                           dy = uniform_values(kFakeRows * kFakeColumns, 2);
  FakeQuantizer<Int4, PerGroup<32>, Symmetric> typed;
  RuntimeFakeQuantizer<> twin(parse_spec("int4:group32:symmetric"));
  FakeQuantizer<Int4, PerGroup<kDynamicGroupSize>, Symmetric> sized(parse_spec("int4:group32:symmetric"));
  std::vector<float> y(x.size()), y_twin(x.size()), y_sized(x.size()), dx(x.size()), dx_twin(x.size());
  CHECK(typed.forward(cpu(), x.data(), kFakeRows, kFakeColumns, y.data()) == 0);
  twin.forward(cpu(), x.data(), kFakeRows, kFakeColumns, y_twin.data());
  sized.forward(cpu(), x.data(), kFakeRows, kFakeColumns, y_sized.data());
  CHECK(same_bits(y, y_twin));
  CHECK(same_bits(y, y_sized));
  typed.backward(cpu(), dy.data(), x.data(), kFakeRows, kFakeColumns, dx.data());
  twin.backward(cpu(), dy.data(), x.data(), kFakeRows, kFakeColumns, dx_twin.data());
  CHECK(same_bits(dx, dx_twin));
  const AffineScheme scheme(typed.spec(), FloatType::kFloat32);
  for (index_t row = 0; row < kFakeRows; ++row)
    for (index_t begin = 0; begin < kFakeColumns; begin += 32) {
      const index_t end = begin + 32 < kFakeColumns ? begin + 32 : kFakeColumns;
      GroupRange range;
      for (index_t k = begin; k < end; ++k) range.observe(x[static_cast<std::size_t>(row * kFakeColumns + k)]);
      const QParams p = choose_qparams(range, scheme);
      CHECK(typed.scale()[row * 3 + begin / 32] == p.scale);
      for (index_t k = begin; k < end; ++k) {
        const auto i = static_cast<std::size_t>(row * kFakeColumns + k);
        CHECK(y[i] == fake_quantize(x[i], p, scheme));
        CHECK(dx[i] == fake_quantize_backward(dy[i], x[i], p, scheme));
      }
    }
}

TEST_CASE("dequantized codes are the fake-quantized values, bit for bit") {
  const std::vector<float> x = uniform_values(kFakeRows * kFakeColumns, 3);
  for (const char* spec : {"int4:group32:symmetric", "uint8:token:asymmetric", "int3:tensor:signed_extremum:bf16safe",
                           "uint4:group32:float_zero_point:bfloat16"}) {
    CAPTURE(spec);
    RuntimeFakeQuantizer<> q(parse_spec(spec));
    std::vector<float> y(x.size()), z(x.size());
    std::vector<std::int8_t> codes(x.size());
    q.forward(cpu(), x.data(), kFakeRows, kFakeColumns, y.data());
    q.quantize(cpu(), x.data(), kFakeRows, kFakeColumns, codes.data());
    kernels::dequantize(cpu(), q.spec(), codes.data(), kFakeRows, kFakeColumns, q.scale().data(), q.zero_point().data(),
                        z.data());
    CHECK(same_bits(y, z));
  }
}

TEST_CASE("static ranges come from an observer, clip what lies outside, and mask its gradient") {
  const std::vector<float> calibration = uniform_values(kFakeRows * kFakeColumns, 4),
                           wide = uniform_values(kFakeRows * kFakeColumns, 5, 2.0f);
  MinMaxObserver observer({GranularityKind::kPerTensor});
  observer.observe(calibration.data(), kFakeRows, kFakeColumns);
  FakeQuantizer<Int8, PerTensor, Asymmetric> q;
  CHECK(q.range_mode() == RangeMode::kDynamic);
  q.calibrate(observer);
  CHECK(q.range_mode() == RangeMode::kStatic);
  const float scale = q.scale()[0];
  std::vector<float> y(wide.size()), dx(wide.size()), ones(wide.size(), 1.0f);
  q.forward(cpu(), wide.data(), kFakeRows, kFakeColumns, y.data());
  CHECK(q.scale()[0] == scale);
  q.backward(cpu(), ones.data(), wide.data(), kFakeRows, kFakeColumns, dx.data());
  index_t clipped = 0;
  for (std::size_t i = 0; i < wide.size(); ++i) {
    const bool outside = wide[i] > 1.1f || wide[i] < -1.1f;
    clipped += outside;
    if (outside) CHECK(std::abs(y[i]) < 1.02f);
    if (outside) CHECK(dx[i] == 0.0f);
    if (std::abs(wide[i]) < 0.9f) CHECK(dx[i] > 0.99f);
  }
  CHECK(clipped > 50);
  q.set_dynamic();
  q.forward(cpu(), wide.data(), kFakeRows, kFakeColumns, y.data());
  CHECK(q.scale()[0] > 1.5f * scale);
}

TEST_CASE("every observer calibrates, MSE with no more error than the full range") {
  std::vector<float> x = uniform_values(4096, 6);
  x[5] = 8.0f;
  const QuantSpec spec = parse_spec("int4:tensor:symmetric");
  MinMaxObserver min_max(spec.granularity);
  MseObserver mse(spec);
  PercentileObserver percentile(spec.granularity, 0.99);
  double errors[3] = {};
  const auto error = [&](const auto& observer) {
    RuntimeFakeQuantizer<> q(spec);
    q.calibrate(observer);
    std::vector<float> y(x.size());
    q.forward(cpu(), x.data(), 1, 4096, y.data());
    double sum = 0.0;
    for (std::size_t i = 0; i < x.size(); ++i)
      sum += (static_cast<double>(x[i]) - y[i]) * (static_cast<double>(x[i]) - y[i]);
    return sum;
  };
  min_max.observe(x.data(), 1, 4096);
  mse.observe(x.data(), 1, 4096);
  percentile.observe(x.data(), 1, 4096);
  errors[0] = error(min_max);
  errors[1] = error(mse);
  errors[2] = error(percentile);
  CHECK(errors[1] < 0.5 * errors[0]);
  CHECK(errors[2] < errors[0]);
}

TEST_CASE("trained scales: the gradient of both, and fewer steps of error after following it") {
  const std::vector<float> x = uniform_values(kFakeRows * kFakeColumns, 11);
  FakeQuantizer<Int3, PerGroup<32>, Symmetric> q;
  std::vector<float> y(x.size()), error(x.size()), dx(x.size()), plain(x.size()), dscale(15), old(15);
  q.forward(cpu(), x.data(), kFakeRows, kFakeColumns, y.data());
  const AffineScheme scheme(q.spec(), FloatType::kFloat32);
  const auto loss = [&] {  // of y against x, and its gradient
    double sum = 0.0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      error[i] = y[i] - x[i];
      sum += 0.5 * static_cast<double>(error[i]) * static_cast<double>(error[i]);
    }
    return sum;
  };
  const double before = loss();
  q.backward(cpu(), error.data(), x.data(), kFakeRows, kFakeColumns, dx.data(), dscale.data(), 1.0f);
  q.backward(cpu(), error.data(), x.data(), kFakeRows, kFakeColumns, plain.data());
  CHECK(same_bits(dx, plain));
  for (int step = 0; step < 50; ++step) {
    q.backward(cpu(), error.data(), x.data(), kFakeRows, kFakeColumns, dx.data(), dscale.data(), 1.0f);
    for (std::size_t i = 0; i < 15; ++i)
      old[i] = stored_scale(q.scale()[static_cast<index_t>(i)] - 2e-3f * dscale[i], scheme);
    q.set_qparams(old.data(), nullptr, 15);
    q.forward(cpu(), x.data(), kFakeRows, kFakeColumns, y.data());
    loss();
  }
  CHECK(loss() < 0.97 * before);
  q.set_enabled(false);
  CHECK_THROWS_AS(q.backward(cpu(), error.data(), x.data(), kFakeRows, kFakeColumns, dx.data(), dscale.data(), 1.0f),
                  Error);
}

TEST_CASE("switched off it is the identity both ways") {
  const std::vector<float> x = uniform_values(kFakeRows * kFakeColumns, 7),
                           dy = uniform_values(kFakeRows * kFakeColumns, 8);
  FakeQuantizer<Int2, PerGroup<32>, Symmetric> q;
  q.set_enabled(false);
  std::vector<float> y(x.size()), dx(x.size());
  q.forward(cpu(), x.data(), kFakeRows, kFakeColumns, y.data());
  q.backward(cpu(), dy.data(), x.data(), kFakeRows, kFakeColumns, dx.data());
  CHECK(same_bits(x, y));
  CHECK(same_bits(dy, dx));
}

TEST_CASE("strict and pass-through estimators are types too") {
  const std::vector<float> x = uniform_values(64, 9), ones(64, 1.0f);
  std::vector<float> y(64), inclusive(64), strict(64), all(64);
  const auto run = [&](auto&& q, std::vector<float>& dx) {
    q.forward(cpu(), x.data(), 1, 64, y.data());
    q.backward(cpu(), ones.data(), x.data(), 1, 64, dx.data());
    double sum = 0.0;
    for (const float g : dx) sum += static_cast<double>(g);
    return sum;
  };
  const double i = run(RuntimeFakeQuantizer<>(parse_spec("int2:tensor:symmetric")), inclusive);
  const double s = run(RuntimeFakeQuantizer<StrictSTEBackward>(parse_spec("int2:tensor:symmetric")), strict);
  const double p = run(RuntimeFakeQuantizer<PassThroughSTEBackward>(parse_spec("int2:tensor:symmetric")), all);
  CHECK(s < i);
  CHECK(i <= p + 1e-3);
  CHECK(p == 64.0);
}

TEST_CASE("a spec that is not the type's, wrong counts and bad scales are refused") {
  using Typed = FakeQuantizer<Int4, PerGroup<32>, Symmetric>;
  CHECK_THROWS_AS(Typed(parse_spec("int8:group32:symmetric")), Error);
  RuntimeFakeQuantizer<> q(parse_spec("int8:tensor:symmetric"));
  const float good = 0.5f, zero = 0.0f;
  CHECK_THROWS_AS(q.set_qparams(&zero, nullptr, 1), Error);
  q.set_qparams(&good, nullptr, 1);
  std::vector<float> x(8), y(8);
  q.forward(cpu(), x.data(), 2, 4, y.data());
  RuntimeFakeQuantizer<> rows(parse_spec("int8:axis0:symmetric"));
  rows.set_qparams(&good, nullptr, 1);
  CHECK_THROWS_AS(rows.forward(cpu(), x.data(), 2, 4, y.data()), Error);
  CHECK_THROWS_AS(q.calibrate(MinMaxObserver({GranularityKind::kPerTensor})), Error);
}

TEST_CASE("non-finite input is counted and never turns the output non-finite") {
  std::vector<float> x = uniform_values(64, 10), y(64);
  x[3] = __builtin_nanf("");
  x[40] = -__builtin_inff();
  FakeQuantizer<Int8, PerToken, Asymmetric> q;
  CHECK(q.forward(cpu(), x.data(), 1, 64, y.data()) == 2);
  for (const float v : y) CHECK_FALSE(is_nonfinite(v));
}

// The gradients of trained scales as an operation and on the tape.
#include "qat/ops/lsq.hpp"

#include "support/op_test.hpp"

using namespace qat;
using namespace qat::test;

namespace {
constexpr index_t kLsqRows = 3, kLsqColumns = 40;
Tensor<float> scales_of(index_t tiles, float least) {
  Tensor<float> scale = random_tensor({tiles}, 21, 0.1f);
  for (float& s : scale) s = least + (s < 0.0f ? -s : s);
  return scale;
}
}  // namespace

TEST_CASE("lsq_backward overwrites, accumulates or skips each gradient") {
  const CpuBackend& cpu = CpuBackend::shared();
  const QuantSpec spec = parse_spec("int4:group32:symmetric");
  const Tensor<float> x = random_tensor({kLsqRows, kLsqColumns}, 1), dy = random_tensor({kLsqRows, kLsqColumns}, 2);
  const Tensor<float> scale = scales_of(6, 0.05f);
  const ops::QParamsView<const float> qparams{scale.flat(), {}};
  const auto run = [&](GradMode dx_mode, Tensor<float>& dx, GradMode ds_mode, Tensor<float>& ds) {
    ops::lsq_backward(cpu, spec, dy.matrix(), x.matrix(), qparams, SteMask::kInclusive, 0.5f, dx.matrix(), dx_mode,
                      ds.flat(), ds_mode);
  };
  Tensor<float> dx({kLsqRows, kLsqColumns}), ds({6}), plain({kLsqRows, kLsqColumns}), skipped({6});
  run(GradMode::kOverwrite, dx, GradMode::kOverwrite, ds);
  run(GradMode::kOverwrite, plain, GradMode::kSkip, skipped);
  CHECK(compare_bits(dx, plain));
  for (index_t i = 0; i < 6; ++i) CHECK(skipped[i] == 0.0f);
  Tensor<float> dx_sum = dx.clone(), ds_sum = ds.clone();
  run(GradMode::kSkip, dx_sum, GradMode::kAccumulate, ds_sum);
  CHECK(compare_bits(dx, dx_sum));
  for (index_t i = 0; i < 6; ++i) CHECK(ds_sum[i] == 2.0f * ds[i]);
  run(GradMode::kAccumulate, dx_sum, GradMode::kOverwrite, ds_sum);
  CHECK(compare_bits(ds, ds_sum));
  for (index_t i = 0; i < dx.size(); ++i) CHECK(dx_sum[i] == 2.0f * dx[i]);
  Tensor<float> few({5});
  CHECK_THROWS_AS(run(GradMode::kOverwrite, dx, GradMode::kOverwrite, few), Error);
}

TEST_CASE("the tape's gradient of scales is the derivative where fake_quantize has one: outside the range") {
  const QuantSpec spec = parse_spec("int4:group32:symmetric");
  Tensor<float> x = random_tensor({kLsqRows, kLsqColumns}, 3);
  for (float& v : x) v = v < 0.0f ? v - 4.0f : v + 4.0f;  // beyond 8 steps of at most 0.3
  const Tensor<float> scale = scales_of(6, 0.2f);
  check_gradients(
      [&](Tape& tape, const std::vector<Variable>& in) {
        return autodiff::fake_quantize(tape, tape.constant(x.clone()), in[0], spec, 1.0f);
      },
      tensors(scale.clone()));
}

TEST_CASE("trained scales on the tape: same bytes for every thread count, gradients through what is stored") {
  const QuantSpec spec = parse_spec("int4:group32:signed_extremum:bf16safe");
  check_thread_invariance(
      [&](Tape& tape, const std::vector<Variable>& in) {
        return autodiff::fake_quantize(tape, in[0], in[1], spec, 0.1f);
      },
      tensors(random_tensor({40, 1000}, 4), scales_of(40 * 32, 0.05f)));

  const CpuBackend cpu(1);
  Tape tape(cpu);
  const Variable x = tape.leaf(random_tensor({2, 32}, 5)), scale = tape.leaf(scales_of(2, 0.05f));
  const Variable y = autodiff::fake_quantize(tape, x, scale, spec, 0.1f);
  Tensor<float> stored({2}), expected({2, 32}), dx({2, 32}), ds({2});
  for (index_t i = 0; i < 2; ++i)
    stored[i] = stored_scale(tape.value(scale)[i], AffineScheme(spec, FloatType::kFloat32));
  CHECK(stored[0] != tape.value(scale)[0]);
  kernels::fake_quantize(cpu, spec, tape.value(x).data(), 2, 32, stored.data(), nullptr, expected.data());
  CHECK(compare_bits(expected, tape.value(y)));
  const Tensor<float> dy = random_tensor({2, 32}, 6);
  kernels::lsq_backward(cpu, spec, dy.data(), tape.value(x).data(), 2, 32, stored.data(), nullptr, SteMask::kInclusive,
                        0.1f, dx.data(), false, ds.data(), false);
  tape.backward(y, dy.clone());
  CHECK(compare_bits(dx, tape.gradient(x)));
  CHECK(compare_bits(ds, tape.gradient(scale)));
  CHECK_THROWS_AS(autodiff::fake_quantize(tape, x, scale, parse_spec("int4:group32:asymmetric"), 0.1f), Error);
}

// ops/softmax_cross_entropy.hpp
#include "support/op_test.hpp"

using namespace qat;
using namespace qat::test;

namespace {
Tensor<std::int32_t> some_targets() {
  Tensor<std::int32_t> targets({5});
  const std::int32_t values[] = {3, ops::kIgnoreIndex, 18, 0, 3};
  for (index_t i = 0; i < 5; ++i) targets[i] = values[i];
  return targets;
}
}  // namespace

TEST_CASE("softmax_cross_entropy: the gradient of the mean is that of finite differences, ignored rows have none") {
  const Tensor<std::int32_t> targets = some_targets();
  check_gradients([&](Tape& t, const auto& v) { return autodiff::softmax_cross_entropy(t, v[0], targets.flat()); },
                  tensors(random_tensor({5, 19}, 1, 3.0f)));
  const CpuBackend backend(1);
  Tape tape(backend);
  const Variable logits = tape.leaf(random_tensor({5, 19}, 1));
  tape.backward(autodiff::softmax_cross_entropy(tape, logits, targets.flat()));
  for (index_t c = 0; c < 19; ++c) CHECK(tape.gradient(logits)[19 + c] == 0.0f);
}

TEST_CASE("softmax_cross_entropy: each loss is -log softmax in double, ignored ones are 0, the mean skips them") {
  const CpuBackend backend(2);
  const Tensor<std::int32_t> targets = some_targets();
  const Tensor<float> logits = random_tensor({5, 19}, 1, 20.0f);
  for (const Target target : supported_targets()) {
    const ScopedTarget forced(target);
    Tensor<float> losses({5});
    const auto result = ops::softmax_cross_entropy(backend, logits.view<2>(), targets.flat(), losses.flat());
    double sum = 0.0;
    for (index_t r = 0; r < 5; ++r) {
      if (targets[r] == ops::kIgnoreIndex) {
        CHECK(losses[r] == 0.0f);
        continue;
      }
      double total = 0.0;
      for (index_t c = 0; c < 19; ++c)
        total += std::exp(double{logits[r * 19 + c]} - double{logits[r * 19 + targets[r]]});
      const double wanted = std::log(total);
      CHECK(std::fabs(double{losses[r]} - wanted) <= 0x1p-21 * (1.0 + wanted));
      sum += wanted;
    }
    CHECK(result.targets == 4);
    CHECK(std::fabs(double{result.mean()} - sum / 4) < 1e-5);
  }
}

TEST_CASE("softmax_cross_entropy: logits of 1e30 and equal logits are safe; all rows ignored is NaN as in torch") {
  const CpuBackend backend(1);
  Tensor<float> logits({2, 4}), losses({2}), gradient({2, 4});
  Tensor<std::int32_t> targets({2});
  logits[1] = 1e30f;
  logits[5] = -1e30f;
  targets[0] = 1;
  targets[1] = 2;
  ops::softmax_cross_entropy(backend, std::as_const(logits).view<2>(), std::as_const(targets).flat(), losses.flat());
  CHECK(losses[0] == 0.0f);
  CHECK(std::fabs(losses[1] - std::log(3.0f)) < 1e-6f);
  ops::softmax_cross_entropy_backward(backend, std::as_const(logits).view<2>(), std::as_const(targets).flat(), 1.0f,
                                      gradient.view<2>());
  for (const float g : gradient) CHECK(std::fabs(g) <= 0.5f);
  targets[0] = targets[1] = ops::kIgnoreIndex;
  const auto none = ops::softmax_cross_entropy(backend, std::as_const(logits).view<2>(), std::as_const(targets).flat(),
                                               losses.flat());
  CHECK(none.targets == 0);
  CHECK(none.mean() != none.mean());
}

TEST_CASE("softmax_cross_entropy: any number of threads gives the same bytes") {
  const Tensor<std::int32_t> targets = random_tokens(301, 67, 5);
  check_thread_invariance(
      [&](Tape& t, const auto& v) { return autodiff::softmax_cross_entropy(t, v[0], targets.flat()); },
      tensors(random_tensor({301, 67}, 1)));
}

TEST_CASE("softmax_cross_entropy: a target outside the vocabulary is an error") {
  const CpuBackend backend(1);
  Tensor<float> logits({1, 4}), losses({1});
  Tensor<std::int32_t> targets({1});
  targets[0] = 4;
  CHECK_THROWS_WITH_AS(ops::softmax_cross_entropy(backend, std::as_const(logits).view<2>(),
                                                  std::as_const(targets).flat(), losses.flat()),
                       "softmax_cross_entropy: target 4 at position 0, must be in [0, 4) or -100", Error);
}

// autodiff/gradcheck.hpp: it must see wrong gradients, or it proves nothing.
#include "support/op_test.hpp"

using namespace qat;
using namespace qat::test;

namespace {

/// y = x^2 with a gradient off by a factor.
struct SquareRecord {
  Variable x;
  float factor;
  index_t broken_element;
  void backward(Tape& tape, Tensor<float> dy) {
    const Tensor<float>& v = tape.value(x);
    for (index_t i = 0; i < dy.size(); ++i) dy[i] *= 2.0f * v[i] * (i == broken_element ? factor : 1.0f);
    tape.unsave(x);
    tape.give(x, std::move(dy));
  }
};

Variable square(Tape& tape, Variable x, float factor, index_t broken_element) {
  Tensor<float> y = tape.value(x).clone();
  for (float& v : y) v *= v;
  tape.save(x);
  return tape.record(std::move(y), true, SquareRecord{x, factor, broken_element});
}

}  // namespace

TEST_CASE("gradcheck: a right gradient passes; one wrong element, sign or percent fails and is named") {
  const CpuBackend backend(1);
  const auto inputs = tensors(random_tensor({11}, 3));
  CHECK(gradcheck(
            backend, [](Tape& t, const auto& v) { return square(t, v[0], 1.0f, 4); }, inputs)
            .passed);
  for (const float factor : {-1.0f, 0.0f, 1.01f, 0.99f, __builtin_nanf("")}) {
    const GradcheckResult result = gradcheck(
        backend, [&](Tape& t, const auto& v) { return square(t, v[0], factor, 4); }, inputs);
    CHECK(!result.passed);
    CHECK(result.input == 0);
    CHECK(result.element == 4);
  }
}

TEST_CASE("gradcheck: a missing gradient fails") {
  const CpuBackend backend(1);
  const auto inputs = tensors(random_tensor({5}, 1), random_tensor({5}, 2));
  const auto detached = [](Tape& t, const auto& v) {
    return autodiff::add(t, v[0], t.constant(t.value(v[1]).clone()));
  };
  const GradcheckResult result = gradcheck(backend, detached, inputs);
  CHECK(!result.passed);
  CHECK(result.input == 1);
}

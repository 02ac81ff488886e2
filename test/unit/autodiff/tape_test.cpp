// autodiff/tape.hpp, autodiff/variable.hpp, autodiff/functions.hpp
#include "support/op_test.hpp"

#include "qat/tensor/memory.hpp"

using namespace qat;
using namespace qat::test;

TEST_CASE("tape: an input used several times gets the sum of its gradients") {
  check_gradients(
      [](Tape& t, const auto& v) {
        const Variable a = autodiff::silu(t, v[0]);
        const Variable b = autodiff::add(t, a, autodiff::swiglu(t, a, v[0]));
        return autodiff::add(t, b, b);
      },
      tensors(random_tensor({3, 7}, 1)));
}

TEST_CASE("tape: reusing storage changes no bit of the result or the gradients") {
  const CpuBackend backend(2);
  const ops::RopeTable table = ops::rope_table({}, 4, 6);
  Tensor<float> results[2], gradients[2];
  for (int i = 0; i < 2; ++i) {
    const auto storage = i == 0 ? autodiff::Storage::kFresh : autodiff::Storage::kReuse;
    Tape tape(backend);
    const Variable x = tape.leaf(random_tensor({6, 8}, 1)), w = tape.leaf(random_tensor({8, 8}, 2));
    const Variable y =
        autodiff::rope(tape, autodiff::linear(tape, x, w), table, 1, 6, 2, 0, RopePairing::kHalf, storage);
    const Variable z = autodiff::add(tape, x, autodiff::linear(tape, y, w), storage);
    results[i] = tape.value(z).clone();
    tape.backward(z, random_tensor({6, 8}, 3));
    gradients[i] = tape.gradient(w).clone();
  }
  CHECK(compare_bits(results[0], results[1]));
  CHECK(compare_bits(gradients[0], gradients[1]));
}

TEST_CASE("tape: a value a record has saved is copied, not taken") {
  const CpuBackend backend(1);
  Tape tape(backend);
  const Variable x = tape.leaf(random_tensor({2, 3}, 1)), w = tape.leaf(random_tensor({3, 3}, 2));
  const Variable h = autodiff::linear(tape, x, w);
  const Variable s = autodiff::silu(tape, h);  // saves h
  const Variable y = autodiff::add(tape, s, h, autodiff::Storage::kReuse);
  CHECK_NOTHROW(tape.value(h));
  CHECK_NOTHROW(tape.value(y));
  const Variable h2 = autodiff::linear(tape, x, w);
  autodiff::add(tape, s, h2, autodiff::Storage::kReuse);
  CHECK_THROWS_AS(tape.value(h2), Error);
}

TEST_CASE("tape: gradients of parameters accumulate over backward passes") {
  const CpuBackend backend(1);
  Parameter w("w", random_tensor({3, 4}, 1));
  const auto run = [&](float seed) {
    Tape tape(backend);
    const Variable x = tape.constant(random_tensor({5, 4}, 2));
    const Tensor<std::int32_t> targets = random_tokens(5, 3, 3);
    tape.backward(autodiff::softmax_cross_entropy(tape, autodiff::linear(tape, x, tape.parameter(w)), targets.flat()),
                  seed);
  };
  run(1.0f);
  const Tensor<float> once = w.grad.clone();
  run(1.0f);
  for (index_t i = 0; i < once.size(); ++i) CHECK(w.grad[i] == once[i] + once[i]);
  w.zero_grad();
  run(0.5f);
  for (index_t i = 0; i < once.size(); ++i) CHECK(w.grad[i] == 0.5f * once[i]);
}

TEST_CASE("tape: nothing is recorded where no gradient is wanted") {
  const CpuBackend backend(1);
  Tape tape(backend);
  const Variable x = tape.constant(random_tensor({5, 4}, 1)), w = tape.constant(random_tensor({3, 4}, 2));
  CHECK(!tape.needs_grad(autodiff::silu(tape, autodiff::linear(tape, x, w))));
  CHECK(tape.record_count() == 0);
}

TEST_CASE("tape: the reverse walk frees what it passes") {
  const CpuBackend backend(1);
  Parameter w("w", random_tensor({8, 8}, 1));
  w.zero_grad();
  const index_t before = memory_stats().current_bytes;
  {
    Tape tape(backend);
    Variable x = tape.constant(random_tensor({1000, 8}, 2));
    for (int i = 0; i < 20; ++i) x = autodiff::silu(tape, autodiff::linear(tape, x, tape.parameter(w)));
    const index_t full = memory_stats().current_bytes - before;
    CHECK(full > 40 * 1000 * 8 * 4);
    reset_peak();
    tape.backward(x, random_tensor({1000, 8}, 3));
    CHECK(memory_stats().peak_bytes - before < full + 4 * 1000 * 8 * 4);  // a few gradients, not twenty
    CHECK(memory_stats().current_bytes - before < 2 * 1000 * 8 * 4);      // the constant input
  }
  CHECK(memory_stats().current_bytes == before);
}

TEST_CASE("tape: the cross-entropy of no rows is 0 / 0, as in torch, with a gradient of no elements") {
  const CpuBackend backend(1);
  Tape tape(backend);
  const Variable x = tape.leaf(Tensor<float>({0, 3}));
  const Tensor<std::int32_t> none({0});
  ops::CrossEntropyResult stats;
  const Variable loss =
      autodiff::softmax_cross_entropy(tape, autodiff::silu(tape, x), none.flat(), ops::kIgnoreIndex, &stats);
  CHECK(stats.targets == 0);
  CHECK(is_nan(tape.value(loss)[0]));
  tape.backward(loss);
  CHECK(tape.gradient(x).shape() == Shape{0, 3});
}

TEST_CASE("tape: misuse is an error that says what") {
  const CpuBackend backend(1);
  Tape tape(backend);
  const Variable x = tape.leaf(random_tensor({2, 3}, 1));
  CHECK_THROWS_WITH_AS(
      tape.backward(x),
      "Tape::backward: the output has shape (2, 3), must have one element; give the gradient of a larger one", Error);
  CHECK_THROWS_WITH_AS(tape.value(Variable{7}), "Tape: variable 7 is not on this tape of 1", Error);
  const Variable y = autodiff::silu(tape, x);
  tape.backward(y, random_tensor({2, 3}, 2));
  CHECK_THROWS_AS(tape.value(y), Error);
}

// Shared by the tests of operations: random tokens, gradcheck as an assertion, the same bytes for every thread count.
#pragma once

#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <vector>

#include "qat/autodiff/functions.hpp"
#include "qat/autodiff/gradcheck.hpp"
#include "support/compare.hpp"
#include "support/random_values.hpp"

namespace qat::test {

template <class... T>
std::vector<Tensor<float>> tensors(T&&... t) {
  std::vector<Tensor<float>> all;
  (all.push_back(std::forward<T>(t)), ...);
  return all;
}

inline Tensor<std::int32_t> random_tokens(index_t count, index_t vocabulary, std::uint64_t seed) {
  Tensor<std::int32_t> t = Tensor<std::int32_t>::uninitialized({count});
  CounterRandom random(seed, 78);
  for (std::int32_t& x : t) x = static_cast<std::int32_t>(random.next_below(static_cast<std::uint32_t>(vocabulary)));
  return t;
}

/// Runs gradcheck on every target this machine has.
template <class F>
void check_gradients(const F& f, const std::vector<Tensor<float>>& inputs, const GradcheckOptions& options = {}) {
  const CpuBackend backend(2);
  for (const Target target : supported_targets()) {
    const ScopedTarget forced(target);
    const GradcheckResult result = gradcheck(backend, f, inputs, options);
    CAPTURE(std::string(name(target)));
    CAPTURE(result.input);
    CAPTURE(result.element);
    CAPTURE(result.analytic);
    CAPTURE(result.numeric);
    CHECK(result.passed);
  }
}

/// f(tape, leaves) gives the same output and the same gradients, bit for bit, with 1, 2, 3 and 7 threads.
template <class F>
void check_thread_invariance(const F& f, const std::vector<Tensor<float>>& inputs) {
  std::vector<Tensor<float>> reference;
  for (const int threads : {1, 2, 3, 7}) {
    CAPTURE(threads);
    const CpuBackend backend(threads);
    Tape tape(backend);
    std::vector<Variable> leaves;
    for (const Tensor<float>& t : inputs) leaves.push_back(tape.leaf(t.clone()));
    const Variable out = f(tape, leaves);
    std::vector<Tensor<float>> results;
    results.push_back(tape.value(out).clone());
    tape.backward(out, random_tensor(tape.value(out).shape(), 99));
    for (const Variable leaf : leaves) results.push_back(tape.gradient(leaf).clone());
    if (reference.empty()) {
      reference = std::move(results);
      continue;
    }
    for (std::size_t i = 0; i < results.size(); ++i) CHECK(compare_bits(reference[i], results[i]));
  }
}

}  // namespace qat::test

// Checks a backward pass against finite differences of its forward pass.
#pragma once

#include <cmath>
#include <vector>

#include "qat/autodiff/tape.hpp"
#include "qat/base/random.hpp"

namespace qat::inline v0 {

struct GradcheckOptions {
  double step = 1.0 / 32;  ///< of the central difference, times max(1, |x|)
  double relative = 1e-3;  ///< passes if |analytic - numeric| <= absolute + relative * max(|analytic|, |numeric|)
  double absolute = 1e-4;  ///< times the largest gradient of the same input, or 1 if that is smaller
  std::uint64_t seed = 1;
};

struct GradcheckResult {
  bool passed = true;
  double error = 0.0;  ///< worst |analytic - numeric| over what was allowed; passes below 1
  index_t input = -1;  ///< where the worst error is
  index_t element = -1;
  double analytic = 0.0, numeric = 0.0;
};

/// f(tape, variables) -> Variable runs the operation on leaves that hold `inputs`. The check differentiates
/// sum_i w_i y_i for fixed random w_i in [-1, 1), summed in double, with a four-point stencil whose error is of fourth
/// order in the step: float outputs leave about 1e-6 of the largest term.
/// Do not use it on a function that is not smooth over the step, like a fake-quantizer: test those against their stated
/// surrogate.
template <class F>
GradcheckResult gradcheck(const CpuBackend& backend, const F& f, const std::vector<Tensor<float>>& inputs,
                          const GradcheckOptions& options = {}) {
  const auto run = [&](Tape& tape, std::vector<Variable>& leaves, index_t changed, index_t element, float replacement) {
    leaves.clear();
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      Tensor<float> copy = inputs[i].clone();
      if (static_cast<index_t>(i) == changed) copy[element] = replacement;
      leaves.push_back(tape.leaf(std::move(copy)));
    }
    return f(tape, leaves);
  };
  const CounterRandom random(options.seed);
  const auto weight = [&](index_t i) {
    return static_cast<float>(random.at(static_cast<std::uint64_t>(i)) >> 8) * 0x1p-23f - 1.0f;
  };
  const auto objective = [&](index_t changed, index_t element, float replacement) {
    Tape tape(backend);
    std::vector<Variable> leaves;
    const Tensor<float>& y = tape.value(run(tape, leaves, changed, element, replacement));
    double total = 0.0;
    for (index_t i = 0; i < y.size(); ++i) total += static_cast<double>(weight(i)) * static_cast<double>(y[i]);
    return total;
  };

  Tape tape(backend);
  std::vector<Variable> leaves;
  const Variable output = run(tape, leaves, -1, 0, 0.0f);
  Tensor<float> seed = Tensor<float>::uninitialized(tape.value(output).shape());
  for (index_t i = 0; i < seed.size(); ++i) seed[i] = weight(i);
  tape.backward(output, std::move(seed));

  GradcheckResult worst;
  for (std::size_t k = 0; k < inputs.size(); ++k) {
    const Tensor<float>& gradient = tape.gradient(leaves[k]);
    double largest = 1.0;
    for (const float g : gradient)
      largest = std::fabs(static_cast<double>(g)) > largest ? std::fabs(double{g}) : largest;
    for (index_t i = 0; i < inputs[k].size(); ++i) {
      const double x = static_cast<double>(inputs[k][i]);
      const double h = options.step * (std::fabs(x) > 1.0 ? std::fabs(x) : 1.0);
      const auto at = [&](double offset) {  // the offset that the float input really has
        const float moved = static_cast<float>(x + offset);
        return std::pair<double, double>(objective(static_cast<index_t>(k), i, moved), static_cast<double>(moved) - x);
      };
      const auto [f1, h1] = at(h);
      const auto [f2, h2] = at(-h);
      const auto [f3, h3] = at(2 * h);
      const auto [f4, h4] = at(-2 * h);
      const double near_slope = (f1 - f2) / (h1 - h2), far_slope = (f3 - f4) / (h3 - h4);
      const double numeric = (4.0 * near_slope - far_slope) / 3.0;
      const double analytic = gradient.empty() ? 0.0 : static_cast<double>(gradient[i]);
      const double magnitude = std::fabs(analytic) > std::fabs(numeric) ? std::fabs(analytic) : std::fabs(numeric);
      double error = std::fabs(analytic - numeric) / (options.absolute * largest + options.relative * magnitude);
      if (!(error < HUGE_VAL)) error = HUGE_VAL;  // a NaN is the worst there is
      if (error > worst.error) {
        worst.error = error;
        worst.input = static_cast<index_t>(k);
        worst.element = i;
        worst.analytic = analytic;
        worst.numeric = numeric;
      }
    }
  }
  worst.passed = worst.error < 1.0;
  return worst;
}

}  // namespace qat::inline v0

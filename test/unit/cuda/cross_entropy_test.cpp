// kernels/cuda/cross_entropy: losses and gradients within a bound of the formulas in double.
#include "qat/kernels/cuda/cross_entropy.cuh"

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "support/compare.hpp"
#include "support/random_values.hpp"

namespace qat::cross_entropy_test {
namespace {

using namespace qat::test;
using emulation::Buffer;

template <class T>
void check(index_t rows, index_t columns, index_t stride, std::size_t offset) {
  CAPTURE(columns);
  CAPTURE(stride);
  const auto width = static_cast<std::size_t>(columns), step = static_cast<std::size_t>(stride);
  std::vector<T> logits;
  for (const float v : normal_values(rows * stride, 3)) logits.push_back(T(4.0f * v));
  logits[0] = T(60.0f);  // a row that is certain, and one of equal logits
  for (std::size_t i = 0; rows > 2 && i < step; ++i) logits[2 * step + i] = T(-3.0f);
  std::vector<std::int32_t> targets;
  for (index_t r = 0; r < rows; ++r) targets.push_back(static_cast<std::int32_t>(r * 7919 % columns));
  if (rows > 3) targets[1] = -100, targets[3] = static_cast<std::int32_t>(columns);  // ignored; out of range
  const float factor = 1.0f / static_cast<float>(rows);

  std::vector<double> losses, gradients;
  double total = 0;
  for (std::size_t r = 0; r < static_cast<std::size_t>(rows); ++r) {
    const auto x = [&](std::size_t i) { return double{static_cast<float>(logits[r * step + i])}; };
    const bool bad = targets[r] < 0 || targets[r] >= columns;
    double sum = 0;
    for (std::size_t i = 0; i < width; ++i) sum += std::exp(x(i));
    losses.push_back(bad ? (targets[r] == -100 ? 0 : NAN) : std::log(sum) - x(static_cast<std::size_t>(targets[r])));
    total += losses.back();
    for (std::size_t i = 0; i < step; ++i)
      gradients.push_back(bad || i >= width
                              ? 0
                              : double{factor} * (std::exp(x(i)) / sum - (static_cast<std::int32_t>(i) == targets[r])));
  }
  const Buffer<const T> input(logits, offset);
  const Buffer<T> in_place(logits, offset);
  const Buffer<const std::int32_t> device_targets(targets);
  const Buffer<T> apart = Buffer<T>::uninitialized(logits.size(), offset);
  const Buffer<float> device_losses = Buffer<float>::uninitialized(static_cast<std::size_t>(rows));
  const Buffer<float> device_total = Buffer<float>::uninitialized(1);
  cuda::CrossEntropyArgs<T> args;
  args.targets = device_targets.data(), args.rows = rows, args.columns = columns;
  args.stride = stride == columns ? 0 : stride;
  args.factor = factor, args.losses = device_losses.data(), args.total = device_total.data();
  for (const bool overwrites : {false, true}) {
    args.logits = overwrites ? in_place.data() : input.data();
    args.dlogits = overwrites ? in_place.data() : apart.data();
    cuda::cross_entropy(CudaBackend{}, args);
    index_t off = 0;
    for (std::size_t i = 0; i < losses.size(); ++i) {
      if (losses[i] != losses[i])
        off += device_losses[i] == device_losses[i];
      else
        off += !(std::fabs(double{device_losses[i]} - losses[i]) <= 0x1p-20 * (8 + std::fabs(losses[i])));
    }
    CHECK(off == 0);
    if (total == total)
      CHECK(std::fabs(double{device_total[0]} - total) <= 0x1p-20 * static_cast<double>(rows) * (8 + total));
    else
      CHECK(device_total[0] != device_total[0]);
    const Buffer<T>& found = overwrites ? in_place : apart;
    for (std::size_t i = 0; i < gradients.size(); ++i) {
      const double rounding = sizeof(T) == 2 ? 0x1p-8 * std::fabs(gradients[i]) + 1e-37 : 0;
      // e^x of an argument of up to 100 that was rounded, then a few roundings; the difference at the target.
      const double bound = rounding + 0x1p-17 * std::fabs(gradients[i]) + 0x1p-23 * double{factor};
      off += !(std::fabs(double{static_cast<float>(found[i])} - gradients[i]) <= bound);
    }
    CHECK(off == 0);
  }
  CHECK(apart.to_vector() == in_place.to_vector());
  // Losses alone.
  const std::vector<float> before = device_losses.to_vector();
  args.logits = input.data(), args.dlogits = nullptr, args.total = nullptr;
  cuda::cross_entropy(CudaBackend{}, args);
  CHECK(compare_bits(before, device_losses.to_vector()));
}

}  // namespace

TEST_CASE("cuda::cross_entropy: losses, their sum and gradients, in place or not, padded or not, aligned or not") {
  for (const auto run : {check<float>, check<bfloat16>}) {
    run(5, 1000, 1000, 0);
    run(3, 9000, 9000, 0);
    run(4, 37, 37, 0);
    run(4, 37, 40, 0);
    run(2, 64, 64, 1);
    run(1, 1, 1, 0);
    run(5, 5000, 5120, 0);
  }
}
TEST_CASE("cuda::cross_entropy: arguments that do not fit are errors") {
  cuda::CrossEntropyArgs<float> args;
  args.rows = 1, args.columns = 8, args.stride = 4;
  CHECK_THROWS_AS(cuda::cross_entropy(CudaBackend{}, args), Error);
  float total = 0;
  args.stride = 0, args.total = &total;
  CHECK_THROWS_AS(cuda::cross_entropy(CudaBackend{}, args), Error);
  args.rows = 0, args.total = nullptr;
  cuda::cross_entropy(CudaBackend{}, args);  // nothing to do
}

}  // namespace qat::cross_entropy_test

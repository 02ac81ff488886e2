// Thrust over packed codes: PackedView's iterators are random-access iterators for algorithms on the GPU as well.
//
//   nvcc -std=c++20 -I include -arch=native examples/cuda/thrust_packed.cu -o thrust_packed
//
// Reading is free of traps. Writing is not: elements that share a byte may not be written by two threads, so an
// algorithm that writes goes over bytes.
#include <thrust/count.h>
#include <thrust/device_vector.h>
#include <thrust/execution_policy.h>
#include <thrust/for_each.h>
#include <thrust/iterator/counting_iterator.h>
#include <thrust/transform.h>

#include <cstdio>
#include <vector>

#include "qat/numeric/int_subbyte.hpp"
#include "qat/tensor/packed_view.hpp"

namespace {

using qat::index_t;
using qat::Int4;

struct Dequantize {
  float scale;
  QAT_HOST_DEVICE float operator()(Int4 code) const { return static_cast<float>(code.value()) * scale; }
};
struct AddDequantized {
  float scale;
  QAT_HOST_DEVICE float operator()(Int4 code, float before) const {
    return static_cast<float>(code.value()) * scale + before;
  }
};
struct IsExtreme {
  QAT_HOST_DEVICE bool operator()(Int4 code) const { return code.value() == Int4::kMin || code.value() == Int4::kMax; }
};
/// The two codes of a byte, negated; -8 stays.
struct NegateByte {
  qat::PackedView<Int4> codes;
  QAT_HOST_DEVICE void operator()(index_t byte) const {
    for (index_t i = 2 * byte; i < 2 * byte + 2; ++i) {
      const int q = codes[i].value();
      codes[i] = Int4(q == Int4::kMin ? q : -q);
    }
  }
};

int run() {
  const index_t n = 4096;
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(qat::packed_bytes(n, Int4::kBits)));
  const qat::PackedView<Int4> host = qat::packed_view<Int4>(bytes.data(), n);
  for (index_t i = 0; i < n; ++i) host[i] = Int4(static_cast<int>(i * 7 % 16) - 8);

  thrust::device_vector<std::uint8_t> memory(bytes.begin(), bytes.end());
  thrust::device_vector<float> values(static_cast<std::size_t>(n));
  const qat::PackedView<Int4> codes = qat::packed_view<Int4>(thrust::raw_pointer_cast(memory.data()), n);
  const qat::PackedView<const Int4> read = codes;

  const auto extremes = thrust::count_if(thrust::device, read.begin(), read.end(), IsExtreme{});
  thrust::transform(thrust::device, read.begin(), read.end(), values.begin(), Dequantize{0.25f});
  thrust::for_each_n(thrust::device, thrust::counting_iterator<index_t>(0), n / 2, NegateByte{codes});
  thrust::transform(thrust::device, read.begin(), read.end(), values.begin(), values.begin(), AddDequantized{0.25f});

  // -8 is its own negation: the sum is -4 there, and 0 elsewhere.
  index_t wrong = extremes != n / 8 ? 1 : 0;
  const std::vector<float> sums(values.begin(), values.end());
  for (index_t i = 0; i < n; ++i) wrong += sums[static_cast<std::size_t>(i)] != (host[i].value() == -8 ? -4.0f : 0.0f);
  std::printf("%td extreme codes of %td; %s\n", static_cast<index_t>(extremes), n,
              wrong == 0 ? "every value is right" : "wrong values");
  return wrong == 0 ? 0 : 1;
}

}  // namespace

int main() {
  try {
    return run();
  } catch (const std::exception& error) {  // thrust::system_error: no GPU, a driver that is too old
    std::fprintf(stderr, "thrust_packed: %s\n", error.what());
    return 2;
  }
}

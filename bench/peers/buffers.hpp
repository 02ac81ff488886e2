// Operands of measured calls: random values, and copies of a weight that together exceed the last-level cache.
#pragma once

#include <cstring>
#include <vector>

#include "qat/base/aligned.hpp"
#include "qat/base/random.hpp"
#include "worker.hpp"

namespace qat::bench {

/// n values in [-0.5, 0.5).
inline AlignedBuffer<float> random_values(index_t n, std::uint64_t seed) {
  AlignedBuffer<float> values(n);
  CounterRandom random(seed);
  for (float& x : values) x = random.next_float() - 0.5f;
  return values;
}

/// How many copies of `bytes` the request asks to rotate through: rotate=BYTES in all, one if it asks for none.
inline index_t copies_of(const Request& request, index_t bytes) {
  const index_t total = request.number("rotate", 0);
  return total <= bytes ? 1 : (total + bytes - 1) / bytes;
}

/// fp32 operands of C[m,n] = sum_k A(m,k) * B(n,k), stored as the form says:
/// NT: Y = X W^T, NN: dX = dY W, TN: dW = dY^T X.
struct FloatProblem {
  index_t M, N, K;
  bool a_transposed, b_transposed;  ///< A stored (K, M); B stored (N, K)
  AlignedBuffer<float> a, c;
  std::vector<AlignedBuffer<float>> b;

  explicit FloatProblem(const Request& request)
      : M(request.number("m")), N(request.number("n")), K(request.number("k")) {
    const std::string form = request.text("form", "NT");
    if (form != "NT" && form != "NN" && form != "TN") throw std::invalid_argument("form is " + form);
    a_transposed = form[0] == 'T';
    b_transposed = form[1] == 'T';
    a = random_values(M * K, 1);
    c = AlignedBuffer<float>(M * N);
    std::memset(c.data(), 0, static_cast<std::size_t>(M * N) * sizeof(float));
    b.push_back(random_values(N * K, 2));
    for (index_t i = copies_of(request, N * K * 4); i > 1; --i) {
      b.emplace_back(N * K);
      std::memcpy(b.back().data(), b.front().data(), static_cast<std::size_t>(N * K) * sizeof(float));
    }
  }
  double ops() const { return 2.0 * static_cast<double>(M) * static_cast<double>(N) * static_cast<double>(K); }
  const float* weight(long call) const { return b[static_cast<std::size_t>(call) % b.size()].data(); }
};

}  // namespace qat::bench

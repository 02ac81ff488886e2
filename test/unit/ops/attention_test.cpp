// ops/attention.hpp
#include "support/op_test.hpp"
#include "support/skip.hpp"

using namespace qat;
using namespace qat::test;

namespace {

/// The definition in double: out (B, T, H, D). window: keys that a query sees, 0 for all before it.
std::vector<double> plain_attention(const Tensor<float>& q, const Tensor<float>& k, const Tensor<float>& v,
                                    index_t window = 0) {
  const index_t batch = q.dim(0), queries = q.dim(1), heads = q.dim(2), dim = q.dim(3), keys = k.dim(1), kv = k.dim(2);
  std::vector<double> out(static_cast<std::size_t>(q.size()));
  const auto qv = q.view<4>(), kk = k.view<4>(), vv = v.view<4>();
  for (index_t b = 0; b < batch; ++b)
    for (index_t h = 0; h < heads; ++h)
      for (index_t t = 0; t < queries; ++t) {
        const index_t last = t + keys - queries, kh = h / (heads / kv);
        const index_t first = window > 0 && last >= window ? last - window + 1 : 0;
        std::vector<double> p(static_cast<std::size_t>(last + 1));
        double largest = -1e300, total = 0.0;
        for (index_t j = first; j <= last; ++j) {
          double s = 0.0;
          for (index_t d = 0; d < dim; ++d) s += double{qv(b, t, h, d)} * double{kk(b, j, kh, d)};
          p[static_cast<std::size_t>(j)] = s / std::sqrt(static_cast<double>(dim));
          largest = std::max(largest, p[static_cast<std::size_t>(j)]);
        }
        for (index_t j = 0; j <= last; ++j) {
          double& x = p[static_cast<std::size_t>(j)];
          total += x = j < first ? 0.0 : std::exp(x - largest);
        }
        for (index_t d = 0; d < dim; ++d) {
          double o = 0.0;
          for (index_t j = 0; j <= last; ++j) o += p[static_cast<std::size_t>(j)] / total * double{vv(b, j, kh, d)};
          out[static_cast<std::size_t>(((b * queries + t) * heads + h) * dim + d)] = o;
        }
      }
  return out;
}

}  // namespace

TEST_CASE("attention: the definition in double, on every target, for grouped queries and odd sizes") {
  const CpuBackend backend(2);
  for (const Target target : supported_targets()) {
    const ScopedTarget forced(target);
    for (const auto& [tokens, heads, kv, dim] : std::initializer_list<std::tuple<index_t, index_t, index_t, index_t>>{
             {1, 1, 1, 1}, {5, 3, 1, 3}, {33, 6, 2, 24}, {130, 8, 4, 8}, {67, 2, 2, 128}}) {
      const Tensor<float> q = random_tensor({2, tokens, heads, dim}, 1, 2.0f),
                          k = random_tensor({2, tokens, kv, dim}, 2, 2.0f), v = random_tensor({2, tokens, kv, dim}, 3);
      Tensor<float> out({2, tokens, heads, dim});
      ops::attention(backend, q.view<4>(), k.view<4>(), v.view<4>(), out.view<4>());
      const std::vector<double> wanted = plain_attention(q, k, v);
      // A score is a chain of dim roundings of terms below 4, so p is off by exp of that; o sums |p v| <= 1.
      const double bound = 0x1p-24 * (2.0 * 4.0 * static_cast<double>(dim) * std::sqrt(static_cast<double>(dim)) +
                                      16.0 + static_cast<double>(tokens));
      for (index_t i = 0; i < out.size(); ++i)
        REQUIRE(std::fabs(double{out[i]} - wanted[static_cast<std::size_t>(i)]) <= bound);
    }
  }
}

TEST_CASE("attention: a window is the definition over the last keys alone, on every target, prefill and decoding") {
  const CpuBackend backend(2);
  for (const Target target : supported_targets()) {
    const ScopedTarget forced(target);
    for (const index_t window : {1, 2, 6, 31, 64, 129, 1000})
      for (const auto& [queries, keys, heads, kv] :
           std::initializer_list<std::tuple<index_t, index_t, index_t, index_t>>{
               {1, 1, 1, 1}, {33, 33, 6, 2}, {130, 130, 2, 2}, {1, 150, 4, 2}, {9, 140, 4, 1}}) {
        CAPTURE(window);
        const Tensor<float> q = random_tensor({2, queries, heads, 5}, 1, 2.0f),
                            k = random_tensor({2, keys, kv, 5}, 2, 2.0f), v = random_tensor({2, keys, kv, 5}, 3);
        Tensor<float> out({2, queries, heads, 5});
        ops::attention(backend, q.view<4>(), k.view<4>(), v.view<4>(), out.view<4>(), nullptr, window);
        const std::vector<double> wanted = plain_attention(q, k, v, window);
        for (index_t i = 0; i < out.size(); ++i)
          REQUIRE(std::fabs(double{out[i]} - wanted[static_cast<std::size_t>(i)]) <= 0x1p-24 * 256.0);
        if (window < keys) continue;
        Tensor<float> without({2, queries, heads, 5});
        ops::attention(backend, q.view<4>(), k.view<4>(), v.view<4>(), without.view<4>());
        CHECK(compare_bits(out, without));
      }
  }
}

TEST_CASE("attention: gradients under a window are those of finite differences") {
  for (const auto& [tokens, heads, kv, window] : std::initializer_list<std::tuple<index_t, index_t, index_t, index_t>>{
           {3, 2, 1, 1}, {19, 6, 2, 4}, {45, 2, 1, 17}, {37, 1, 1, 2}})
    check_gradients(
        [&, t = tokens, h = heads, g = kv, w = window](Tape& tape, const auto& x) {
          return autodiff::attention(tape, x[0], x[1], x[2], 1, t, h, g, w);
        },
        tensors(random_tensor({tokens, heads * 2}, 1), random_tensor({tokens, kv * 2}, 2),
                random_tensor({tokens, kv * 2}, 3)));
}

TEST_CASE("attention: a window gives the same bytes for any number of threads, and for a decoded token") {
  check_thread_invariance(
      [](Tape& t, const auto& v) { return autodiff::attention(t, v[0], v[1], v[2], 3, 61, 6, 3, 9); },
      tensors(random_tensor({183, 60}, 1), random_tensor({183, 30}, 2), random_tensor({183, 30}, 3)));
  const CpuBackend backend(2);
  const Tensor<float> q = random_tensor({1, 70, 6, 12}, 1, 3.0f), k = random_tensor({1, 70, 2, 12}, 2, 3.0f),
                      v = random_tensor({1, 70, 2, 12}, 3);
  for (const Target target : supported_targets()) {
    const ScopedTarget forced(target);
    Tensor<float> all({1, 70, 6, 12});
    ops::attention(backend, q.view<4>(), k.view<4>(), v.view<4>(), all.view<4>(), nullptr, 7);
    for (const index_t t : {0, 3, 6, 7, 40, 69}) {
      Tensor<float> one({1, 1, 6, 12});
      ops::attention(backend, q.view<4>().slice(1, t, 1), k.view<4>().slice(1, 0, t + 1),
                     v.view<4>().slice(1, 0, t + 1), one.view<4>(), nullptr, 7);
      CHECK(compare_bits(Values<float>(all.data() + t * 72, {72}), Values<float>(one.data(), {72})));
    }
  }
}

TEST_CASE("attention: a row is blind to keys before its window, even to NaN in them") {
  const CpuBackend backend(1);
  const Tensor<float> q = random_tensor({1, 40, 2, 4}, 1), dout = random_tensor({1, 40, 2, 4}, 4);
  Tensor<float> k = random_tensor({1, 40, 1, 4}, 2), v = random_tensor({1, 40, 1, 4}, 3);
  Tensor<float> before({1, 40, 2, 4}), after({1, 40, 2, 4});
  ops::attention(backend, q.view<4>(), std::as_const(k).view<4>(), std::as_const(v).view<4>(), before.view<4>(),
                 nullptr, 5);
  for (index_t i = 0; i < 21 * 4; ++i) k[i] = v[i] = __builtin_nanf("");
  ops::attention(backend, q.view<4>(), std::as_const(k).view<4>(), std::as_const(v).view<4>(), after.view<4>(), nullptr,
                 5);
  CHECK(after[24 * 8] != after[24 * 8]);  // token 24 sees key 20
  CHECK(compare_bits(Values<float>(before.data() + 25 * 8, {15 * 8}), Values<float>(after.data() + 25 * 8, {15 * 8})));
}

TEST_CASE("attention: gradients of q, k and v are those of finite differences") {
  for (const auto& [tokens, heads, kv, dim] : std::initializer_list<std::tuple<index_t, index_t, index_t, index_t>>{
           {1, 2, 1, 2}, {3, 2, 2, 3}, {19, 6, 2, 3}, {37, 2, 1, 4}})
    check_gradients([&, t = tokens, h = heads, g = kv](
                        Tape& tape, const auto& x) { return autodiff::attention(tape, x[0], x[1], x[2], 1, t, h, g); },
                    tensors(random_tensor({tokens, heads * dim}, 1), random_tensor({tokens, kv * dim}, 2),
                            random_tensor({tokens, kv * dim}, 3)));
}

TEST_CASE("attention: any number of threads gives the same bytes") {
  check_thread_invariance(
      [](Tape& t, const auto& v) { return autodiff::attention(t, v[0], v[1], v[2], 3, 61, 6, 3); },
      tensors(random_tensor({183, 60}, 1), random_tensor({183, 30}, 2), random_tensor({183, 30}, 3)));
}

TEST_CASE("attention: avx2 and avx512 give the same bytes") {
  if (!is_supported(Target::kAvx512)) {
    QAT_SKIP("attention on avx2 against avx512", "this processor has no AVX-512");
    return;
  }
  const CpuBackend backend(1);
  const Tensor<float> q = random_tensor({1, 77, 4, 10}, 1), k = random_tensor({1, 77, 2, 10}, 2),
                      v = random_tensor({1, 77, 2, 10}, 3);
  std::vector<Tensor<float>> results[2];
  for (int i = 0; i < 2; ++i) {
    const ScopedTarget forced(i == 0 ? Target::kAvx2 : Target::kAvx512);
    Tensor<float> out({1, 77, 4, 10}), dq({1, 77, 4, 10}), dk({1, 77, 2, 10}), dv({1, 77, 2, 10});
    const Tensor<float> dout = random_tensor({1, 77, 4, 10}, 4);
    ops::AttentionSaved saved;
    ops::attention(backend, q.view<4>(), k.view<4>(), v.view<4>(), out.view<4>(), &saved);
    ops::attention_backward(backend, q.view<4>(), k.view<4>(), v.view<4>(), std::as_const(out).view<4>(), saved,
                            dout.view<4>(), dq.view<4>(), dk.view<4>(), dv.view<4>());
    results[i] = tensors(std::move(out), std::move(dq), std::move(dk), std::move(dv));
  }
  for (std::size_t i = 0; i < 4; ++i) CHECK(compare_bits(results[0][i], results[1][i]));
}

TEST_CASE("attention: the last queries alone give the rows of the full pass, bit for bit, on every target") {
  const CpuBackend backend(2);
  for (const Target target : supported_targets()) {
    const ScopedTarget forced(target);
    const index_t tokens = 70, heads = 6, kv = 2, dim = 12;
    const Tensor<float> q = random_tensor({1, tokens, heads, dim}, 1, 3.0f),
                        k = random_tensor({1, tokens, kv, dim}, 2, 3.0f), v = random_tensor({1, tokens, kv, dim}, 3);
    Tensor<float> all({1, tokens, heads, dim});
    ops::attention(backend, q.view<4>(), k.view<4>(), v.view<4>(), all.view<4>());
    for (const index_t last : {1, 2, 7, 33}) {
      const index_t keys = tokens - 5, first = keys - last;  // the prefix of `keys` tokens
      Tensor<float> some({1, last, heads, dim});
      ops::attention(backend, q.view<4>().slice(1, first, last), k.view<4>().slice(1, 0, keys),
                     v.view<4>().slice(1, 0, keys), some.view<4>());
      CHECK(compare_bits(Values<float>(all.data() + first * heads * dim, {some.size()}),
                         Values<float>(some.data(), {some.size()})));
    }
  }
}

TEST_CASE("attention: a row is blind to later keys, even to NaN in them") {
  const CpuBackend backend(1);
  const Tensor<float> q = random_tensor({1, 40, 2, 4}, 1);
  Tensor<float> k = random_tensor({1, 40, 1, 4}, 2), v = random_tensor({1, 40, 1, 4}, 3);
  Tensor<float> before({1, 40, 2, 4}), after({1, 40, 2, 4});
  ops::attention(backend, q.view<4>(), std::as_const(k).view<4>(), std::as_const(v).view<4>(), before.view<4>());
  for (index_t i = 21 * 4; i < k.size(); ++i) k[i] = v[i] = __builtin_nanf("");
  ops::attention(backend, q.view<4>(), std::as_const(k).view<4>(), std::as_const(v).view<4>(), after.view<4>());
  CHECK(compare_bits(Values<float>(before.data(), {21 * 8}), Values<float>(after.data(), {21 * 8})));
  CHECK(after[21 * 8] != after[21 * 8]);
}

TEST_CASE("attention: scores of a thousand do not overflow") {
  const CpuBackend backend(1);
  Tensor<float> q = random_tensor({1, 20, 1, 4}, 1, 100.0f), k = random_tensor({1, 20, 1, 4}, 2, 100.0f),
                v = random_tensor({1, 20, 1, 4}, 3);
  Tensor<float> out({1, 20, 1, 4});
  ops::attention(backend, std::as_const(q).view<4>(), std::as_const(k).view<4>(), std::as_const(v).view<4>(),
                 out.view<4>());
  for (const float x : out) CHECK(std::fabs(x) <= 1.0f);
}

TEST_CASE("attention: heads that do not divide are an error") {
  const CpuBackend backend(1);
  Tensor<float> q({1, 2, 3, 4}), k({1, 2, 2, 4}), out({1, 2, 3, 4});
  CHECK_THROWS_WITH_AS(ops::attention(backend, std::as_const(q).view<4>(), std::as_const(k).view<4>(),
                                      std::as_const(k).view<4>(), out.view<4>()),
                       "attention: 3 query heads over 2 key heads, must be a multiple", Error);
}

// Causal attention and its gradients in double from the definition, with a bound for each number that a kernel computes
// with bfloat16 products and fp32 sums: cuda/attention.hpp's contract on roundings.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "qat/kernels/cuda/attention.hpp"
#include "support/random_values.hpp"

namespace qat::test {

/// Inputs of one call, contiguous or in rows of q_stride, kv_stride and out_stride.
struct AttentionCase {
  cuda::AttentionExtents e;
  std::vector<bfloat16> q, k, v, dout;

  static std::vector<bfloat16> values(index_t n, std::uint64_t seed, float range) {
    std::vector<bfloat16> out;
    for (const float x : normal_values(n, seed)) out.push_back(bfloat16(x * range));
    return out;
  }
  /// Normal values; scores have a standard deviation of `spread`.
  explicit AttentionCase(const cuda::AttentionExtents& extents, std::uint64_t seed, float spread = 1.0f) : e(extents) {
    const float range = std::sqrt(spread / (e.scale * std::sqrt(static_cast<float>(e.head_dim))));
    q = values(e.batch * e.q_batch_stride, seed, range);
    k = values(e.batch * e.kv_batch_stride, seed + 1, range);
    v = values(e.batch * e.kv_batch_stride, seed + 2, 1.0f);
    dout = values(e.batch * e.out_batch_stride, seed + 3, 1.0f);
  }
  index_t q_at(index_t b, index_t t, index_t h) const { return b * e.q_batch_stride + t * e.q_stride + h * e.head_dim; }
  index_t kv_at(index_t b, index_t t, index_t h) const {
    return b * e.kv_batch_stride + t * e.kv_stride + h * e.head_dim;
  }
  index_t out_at(index_t b, index_t t, index_t h) const {
    return b * e.out_batch_stride + t * e.out_stride + h * e.head_dim;
  }
};

/// Numbers and what a kernel's may be off by.
struct Bounded {
  std::vector<double> value, bound;
  explicit Bounded(index_t n) : value(static_cast<std::size_t>(n)), bound(static_cast<std::size_t>(n)) {}
};

struct AttentionReference {
  Bounded out, log_sum_exp, dq, dk, dv;
};

/// `kernel_out`: the rounded output that backward reads, or empty: the exact one is taken, and its rounding bounded.
///
/// Bounds, to first order, doubled for the rest. fp32 sums of n products on tensor cores: n 2^-23 of the sum of
/// absolute values (partial sums may be truncated). A probability: the error of its score, 2^-8 of its rounding to
/// bfloat16, and 2^-16 for the scaling, the subtraction and the exponential, whose arguments are at most 128 where it
/// matters. Backward recomputes scores against a rounded log-sum-exp: 2^-22 of what is subtracted. Probabilities below
/// 2^-126 are 0: 2^-100.
inline AttentionReference attention_reference(const AttentionCase& a, const std::vector<bfloat16>& kernel_out = {}) {
  const cuda::AttentionExtents& e = a.e;
  const index_t D = e.head_dim, keys = e.key_tokens;
  const double sum_eps = 0x1p-23, bf16_eps = 0x1p-8, scale = e.scale;
  AttentionReference r{Bounded(e.batch * e.out_batch_stride), Bounded(e.batch * e.heads * e.query_tokens),
                       Bounded(e.batch * e.q_batch_stride), Bounded(e.batch * e.kv_batch_stride),
                       Bounded(e.batch * e.kv_batch_stride)};
  const auto value = [](const std::vector<bfloat16>& x, index_t i) {
    return static_cast<double>(static_cast<float>(x[static_cast<std::size_t>(i)]));
  };
  const auto at = [](std::vector<double>& x, index_t i) -> double& { return x[static_cast<std::size_t>(i)]; };
  std::vector<double> s(static_cast<std::size_t>(keys)), score_error(s), p(s);
  for (index_t b = 0; b < e.batch; ++b)
    for (index_t h = 0; h < e.heads; ++h)
      for (index_t t = 0; t < e.query_tokens; ++t) {
        const index_t g = h / (e.heads / e.kv_heads), seen = t + keys - e.query_tokens + 1;
        const index_t q0 = a.q_at(b, t, h), o0 = a.out_at(b, t, h);
        double most = -HUGE_VAL, sum = 0.0;
        for (index_t j = 0; j < seen; ++j) {
          double dot = 0.0, absolute = 0.0;
          for (index_t d = 0; d < D; ++d) {
            const double term = value(a.q, q0 + d) * value(a.k, a.kv_at(b, j, g) + d);
            dot += term;
            absolute += std::fabs(term);
          }
          at(s, j) = scale * dot;
          at(score_error, j) = scale * absolute * static_cast<double>(D) * sum_eps;
          most = std::max(most, at(s, j));
        }
        for (index_t j = 0; j < seen; ++j) sum += at(p, j) = std::exp(at(s, j) - most);
        double mean_error = 0.0;
        for (index_t j = 0; j < seen; ++j) {
          at(p, j) /= sum;
          mean_error += at(p, j) * (at(score_error, j) + 0x1p-16);
        }
        const index_t row = (b * e.heads + h) * e.query_tokens + t;
        const double lse = most + std::log(sum);
        at(r.log_sum_exp.value, row) = lse;
        const double lse_error =
            mean_error + 0x1p-22 * (std::fabs(most) + std::fabs(lse) + 1.0) + static_cast<double>(seen) * sum_eps;
        at(r.log_sum_exp.bound, row) = 2 * lse_error;

        for (index_t d = 0; d < D; ++d) {
          double out = 0.0, absolute = 0.0, moved = 0.0;
          for (index_t j = 0; j < seen; ++j) out += at(p, j) * value(a.v, a.kv_at(b, j, g) + d);
          for (index_t j = 0; j < seen; ++j) {
            const double x = value(a.v, a.kv_at(b, j, g) + d);
            absolute += at(p, j) * std::fabs(x);
            moved += at(p, j) * (at(score_error, j) + 0x1p-16) * std::fabs(x - out);
          }
          at(r.out.value, o0 + d) = out;
          at(r.out.bound, o0 + d) = 2 * (moved + absolute * (bf16_eps + static_cast<double>(seen) * 2 * sum_eps)) +
                                    bf16_eps * std::fabs(out) + 0x1p-100;
        }

        double delta = 0.0, delta_error = 0.0;
        for (index_t d = 0; d < D; ++d) {
          const double g_out = value(a.dout, o0 + d);
          const double out = kernel_out.empty() ? at(r.out.value, o0 + d) : value(kernel_out, o0 + d);
          delta += g_out * out;
          delta_error += std::fabs(g_out) * (std::fabs(out) * static_cast<double>(D) * sum_eps +
                                             (kernel_out.empty() ? at(r.out.bound, o0 + d) : 0.0));
        }
        for (index_t j = 0; j < seen; ++j) {
          const index_t k0 = a.kv_at(b, j, g);
          double dp = 0.0, dp_absolute = 0.0;
          for (index_t d = 0; d < D; ++d) {
            const double term = value(a.dout, o0 + d) * value(a.v, k0 + d);
            dp += term;
            dp_absolute += std::fabs(term);
          }
          const double p_error =
              at(score_error, j) + lse_error + 0x1p-16 + 0x1p-22 * (std::fabs(at(s, j)) + std::fabs(lse));
          const double ds = at(p, j) * (dp - delta);
          const double ds_error = at(p, j) * (p_error * std::fabs(dp - delta) + delta_error +
                                              dp_absolute * static_cast<double>(D) * sum_eps) +
                                  bf16_eps * std::fabs(ds);
          // Sums over queries have as many terms as queries of the group, those over keys as keys.
          const double rows = static_cast<double>(e.query_tokens * (e.heads / e.kv_heads)) * sum_eps;
          const double columns = static_cast<double>(seen) * sum_eps;
          for (index_t d = 0; d < D; ++d) {
            const double xq = value(a.q, q0 + d), xk = value(a.k, k0 + d), xo = value(a.dout, o0 + d);
            at(r.dq.value, q0 + d) += scale * ds * xk;
            at(r.dq.bound, q0 + d) += scale * std::fabs(xk) * (ds_error + columns * std::fabs(ds));
            at(r.dk.value, k0 + d) += scale * ds * xq;
            at(r.dk.bound, k0 + d) += scale * std::fabs(xq) * (ds_error + rows * std::fabs(ds));
            at(r.dv.value, k0 + d) += at(p, j) * xo;
            at(r.dv.bound, k0 + d) += at(p, j) * std::fabs(xo) * (p_error + bf16_eps + rows);
          }
        }
      }
  for (Bounded* x : {&r.dq, &r.dk, &r.dv})
    for (std::size_t i = 0; i < x->value.size(); ++i)
      x->bound[i] = 2 * x->bound[i] + bf16_eps * std::fabs(x->value[i]) + 0x1p-100;
  return r;
}

}  // namespace qat::test

// Rotary position embedding: the table of angles and the rotation, in both pairings in use.
#pragma once

#include <cmath>

#include "qat/kernels/cpu/rope.hpp"
#include "qat/ops/grad_mode.hpp"
#include "qat/ops/rope_config.hpp"
#include "qat/tensor/tensor.hpp"

namespace qat::inline v0 {

/// Which two elements of a head turn together, i in [0, D / 2).
enum class RopePairing {
  kHalf,         ///< (i, i + D / 2): Hugging Face, GPT-NeoX
  kInterleaved,  ///< (2 i, 2 i + 1): llama2.c, Meta
};

namespace ops {

/// cos and sin of position * inv_freq[i].  // (positions, D / 2) each
struct RopeTable {
  index_t head_dim = 0;
  Tensor<float> cosine, sine;
  index_t positions() const { return cosine.rank() == 2 ? cosine.dim(0) : 0; }
};

/// inv_freq[i] = theta^(-2 i / head_dim), rounded to float as Hugging Face keeps it, then scaled as config says.  // (D
/// / 2)
/// @throws qat::Error if head_dim is odd or a factor is not positive
inline Tensor<float> rope_inverse_frequencies(const RopeConfig& config, index_t head_dim) {
  QAT_CHECK(head_dim > 0 && head_dim % 2 == 0, kInvalidArgument, "rope: head_dim is ", head_dim,
            ", must be even and positive");
  QAT_CHECK(config.theta > 0.0, kInvalidArgument, "rope: theta is ", config.theta, ", must be positive");
  QAT_CHECK(config.scaling == RopeScaling::kNone || config.factor > 0.0, kInvalidArgument, "rope: factor is ",
            config.factor, ", must be positive");
  QAT_CHECK(config.scaling != RopeScaling::kLlama3 ||
                (config.original_max_position_embeddings > 0 && config.high_freq_factor > config.low_freq_factor),
            kInvalidArgument, "rope: llama3 scaling needs original_max_position_embeddings > 0 (is ",
            config.original_max_position_embeddings, ") and high_freq_factor (", config.high_freq_factor,
            ") above low_freq_factor (", config.low_freq_factor, ")");
  constexpr double kTwoPi = 6.283185307179586476925286766559;
  Tensor<float> out = Tensor<float>::uninitialized({head_dim / 2});
  for (index_t i = 0; i < head_dim / 2; ++i) {
    const double exponent = static_cast<double>(2 * i) / static_cast<double>(head_dim);
    const float base = static_cast<float>(1.0 / std::pow(config.theta, exponent));
    double frequency = static_cast<double>(base);
    if (config.scaling == RopeScaling::kLinear) {
      frequency /= config.factor;
    } else if (config.scaling == RopeScaling::kLlama3) {
      // Source: transformers modeling_rope_utils._compute_llama3_parameters
      const double wavelength = kTwoPi / frequency;
      const double original = static_cast<double>(config.original_max_position_embeddings);
      const double slow = frequency / config.factor;
      if (wavelength > original / config.low_freq_factor) {
        frequency = slow;
      } else if (wavelength >= original / config.high_freq_factor) {
        const double smooth =
            (original / wavelength - config.low_freq_factor) / (config.high_freq_factor - config.low_freq_factor);
        frequency = (1.0 - smooth) * slow + smooth * frequency;
      }
    }
    out[i] = static_cast<float>(frequency);
  }
  return out;
}

/// Angles of the positions [0, positions), in double from the float frequencies, rounded once.
inline RopeTable rope_table(const RopeConfig& config, index_t head_dim, index_t positions) {
  const Tensor<float> frequencies = rope_inverse_frequencies(config, head_dim);
  const index_t half = head_dim / 2;
  RopeTable table{head_dim, Tensor<float>::uninitialized({positions, half}),
                  Tensor<float>::uninitialized({positions, half})};
  for (index_t t = 0; t < positions; ++t) {
    for (index_t i = 0; i < half; ++i) {
      const double angle = static_cast<double>(t) * static_cast<double>(frequencies[i]);
      table.cosine[t * half + i] = static_cast<float>(std::cos(angle));
      table.sine[t * half + i] = static_cast<float>(std::sin(angle));
    }
  }
  return table;
}

namespace detail {
/// Turns every head of every token by its angle, or back when direction is -1. Neither reads a pair it has written.
inline void rotate(const CpuBackend& backend, const char* op, View<const float, 4> x, View<const float, 2> cosine,
                   View<const float, 2> sine, index_t first_position, RopePairing pairing, float direction,
                   View<float, 4> y) {
  const index_t batch = x.shape[0], tokens = x.shape[1], heads = x.shape[2], dim = x.shape[3], half = dim / 2;
  QAT_CHECK(dim % 2 == 0, kInvalidArgument, op, ": head_dim is ", dim, ", must be even");
  for (int d = 0; d < 4; ++d)
    QAT_CHECK(y.shape[d] == x.shape[d], kShapeMismatch, op, ": dimension ", d, " of the output is ", y.shape[d],
              ", of the input ", x.shape[d]);
  QAT_CHECK(x.stride[3] == 1 && y.stride[3] == 1, kUnsupported, op, ": the elements of a head must be adjacent");
  QAT_CHECK(cosine.shape[1] == half && sine.shape[1] == half && cosine.is_contiguous() && sine.is_contiguous(),
            kShapeMismatch, op, ": the table has ", cosine.shape[1], " and ", sine.shape[1], " angles, head_dim ", dim,
            " needs ", half);
  QAT_CHECK(first_position >= 0 && first_position + tokens <= cosine.shape[0] && cosine.shape[0] == sine.shape[0],
            kInvalidArgument, op, ": positions ", first_position, " to ", first_position + tokens,
            " exceed the table of ", cosine.shape[0]);
  constexpr index_t kTokens = 64;
  const index_t all = batch * tokens;
  backend.parallel_for((all + kTokens - 1) / kTokens, [&](index_t chunk) {
    const index_t end = (chunk + 1) * kTokens < all ? (chunk + 1) * kTokens : all;
    for (index_t i = chunk * kTokens; i < end; ++i) {
      const index_t b = i / tokens, t = i % tokens;
      const index_t position = (first_position + t) * half;
      kernels::rope_token(
          {cosine.data + position, sine.data + position, half, direction, pairing != RopePairing::kHalf},
          &x(b, t, 0, 0), x.stride[2], heads, &y(b, t, 0, 0), y.stride[2]);
    }
  });
}
}  // namespace detail

/// Rotates the pairs (a, b) of each head to (a cos - b sin, b cos + a sin), at position first_position + t.
///
/// Shapes:   x, y (B, T, H, D); cosine, sine (positions, D / 2); y may be x
inline void rope(const CpuBackend& backend, View<const float, 4> x, View<const float, 2> cosine,
                 View<const float, 2> sine, index_t first_position, RopePairing pairing, View<float, 4> y) {
  detail::rotate(backend, "rope", x, cosine, sine, first_position, pairing, 1.0f, y);
}

/// dx = dy rotated back: the rotation is orthogonal, so nothing is saved. dx may be dy.
inline void rope_backward(const CpuBackend& backend, View<const float, 4> dy, View<const float, 2> cosine,
                          View<const float, 2> sine, index_t first_position, RopePairing pairing, View<float, 4> dx) {
  detail::rotate(backend, "rope_backward", dy, cosine, sine, first_position, pairing, -1.0f, dx);
}

}  // namespace ops
}  // namespace qat::inline v0

// Attention block: projections, normalized heads, rotary positions, causal attention with grouped queries, and the
// key/value cache.
#pragma once

#include <algorithm>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "qat/nn/linear.hpp"
#include "qat/nn/norm.hpp"

namespace qat::inline v0::nn {

/// Keys (rotated) and values of the tokens seen so far, for every layer.
struct KvCache {
  struct Layer {
    Tensor<float> k, v;  // (B, capacity, KV, D)
  };
  std::vector<Layer> layers;
  index_t batch = 0, capacity = 0;
  index_t length = 0;  ///< tokens held per sequence

  KvCache() = default;
  KvCache(const LlamaConfig& config, index_t batch_size, index_t capacity_tokens)
      : batch(batch_size), capacity(capacity_tokens) {
    for (index_t i = 0; i < config.n_layers; ++i)
      layers.push_back({Tensor<float>({batch, capacity, config.n_kv_heads, config.head_dim}),
                        Tensor<float>({batch, capacity, config.n_kv_heads, config.head_dim})});
  }

  /// `count` sequences that each begin as the one that this cache holds, with room for capacity_tokens.
  KvCache repeated(const LlamaConfig& config, index_t count, index_t capacity_tokens) const {
    QAT_CHECK(batch == 1 && length <= capacity_tokens, kInvalidArgument, "KvCache::repeated: ", batch, " sequences of ",
              length, " tokens, room for ", capacity_tokens, "; accepted: one sequence, and room for it");
    KvCache copies(config, count, capacity_tokens);
    copies.length = length;
    const index_t row = config.n_kv_heads * config.head_dim;
    for (std::size_t i = 0; i < layers.size(); ++i)
      for (index_t b = 0; b < count; ++b) {
        std::copy_n(layers[i].k.data(), length * row, copies.layers[i].k.data() + b * capacity_tokens * row);
        std::copy_n(layers[i].v.data(), length * row, copies.layers[i].v.data() + b * capacity_tokens * row);
      }
    return copies;
  }
};

struct Attention {
  Linear q_proj;                       // (H * D, C)
  Linear k_proj, v_proj;               // (KV * D, C)
  Linear o_proj;                       // (C, H * D)
  std::optional<Norm> q_norm, k_norm;  // (D), of each head
  index_t heads, kv_heads, head_dim, window;
  bool rotary;

  Attention(const std::string& name, const LlamaConfig& config)
      : q_proj(name + ".q_proj", config.dim, config.n_heads * config.head_dim, config.qkv_bias),
        k_proj(name + ".k_proj", config.dim, config.n_kv_heads * config.head_dim, config.qkv_bias),
        v_proj(name + ".v_proj", config.dim, config.n_kv_heads * config.head_dim, config.qkv_bias),
        o_proj(name + ".o_proj", config.n_heads * config.head_dim, config.dim, config.out_bias),
        heads(config.n_heads),
        kv_heads(config.n_kv_heads),
        head_dim(config.head_dim),
        window(config.window),
        rotary(!config.learned_positions) {
    if (!config.qk_norm) return;
    q_norm.emplace(name + ".q_norm", head_dim, config.norm_eps);
    k_norm.emplace(name + ".k_norm", head_dim, config.norm_eps);
  }

  /// f(layer) for each layer: the linear ones in the order of execution, then the norms.
  template <class F>
  void visit(const F& f) {
    for (Linear* layer : {&q_proj, &k_proj, &v_proj, &o_proj}) f(*layer);
    if (q_norm) f(*q_norm);
    if (k_norm) f(*k_norm);
  }

  /// x (rows of sequences, C), which nothing else reads; the table covers the positions of the longest sequence.
  Variable forward(Tape& tape, Variable x, const ops::RopeTable& table, const ops::Sequences& sequences) {
    const auto heads_of = [&](Linear& projection, std::optional<Norm>& norm, index_t count) {
      Variable y = projection.forward(tape, x);
      if (norm) y = norm->forward(tape, y);
      if (!rotary) return y;
      return autodiff::rope(tape, y, table, sequences, count, 0, RopePairing::kHalf, autodiff::Storage::kReuse);
    };
    const Variable q = heads_of(q_proj, q_norm, heads), k = heads_of(k_proj, k_norm, kv_heads);
    const Variable v = v_proj.forward(tape, x);
    tape.discard(x);
    const Variable attended = autodiff::attention(tape, q, k, v, sequences, heads, kv_heads, window);
    const Variable y = o_proj.forward(tape, attended);
    tape.discard(attended);
    return y;
  }

  /// Without a tape: the new tokens at positions first_position .. + tokens of each sequence.
  /// x (batch * tokens, C); q, out (batch * tokens, H * D) and k, v (batch * tokens, KV * D): scratch; y (batch *
  /// tokens, C), may be x. With a cache the new keys and values are appended to it and the earlier ones attended to.
  void forward(const CpuBackend& backend, View<const float, 2> x, const ops::RopeTable& table, index_t batch,
               index_t tokens, index_t first_position, KvCache::Layer* cache, View<float, 2> q, View<float, 2> k,
               View<float, 2> v, View<float, 2> out, View<float, 2> y) {
    q_proj.forward(backend, x, q);
    k_proj.forward(backend, x, k);
    v_proj.forward(backend, x, v);
    const View<float, 4> q4 = view(q.data, batch, tokens, heads, head_dim);
    View<float, 4> k4 = view(k.data, batch, tokens, kv_heads, head_dim);
    View<float, 4> v4 = view(v.data, batch, tokens, kv_heads, head_dim);
    const auto finish = [&](const std::optional<Norm>& norm, const View<float, 4>& x4) {
      const View<float, 2> rows = view(x4.data, x4.size() / head_dim, head_dim);
      if (norm) norm->forward(backend, rows, rows);
      if (!rotary) return;
      ops::rope(backend, x4, table.cosine.view<2>(), table.sine.view<2>(), first_position, RopePairing::kHalf, x4);
    };
    finish(q_norm, q4);
    finish(k_norm, k4);
    if (cache != nullptr) {
      const std::size_t bytes = static_cast<std::size_t>(tokens * kv_heads * head_dim) * sizeof(float);
      for (index_t b = 0; b < batch; ++b) {
        std::memcpy(&cache->k.view<4>()(b, first_position, 0, 0), &k4(b, 0, 0, 0), bytes);
        std::memcpy(&cache->v.view<4>()(b, first_position, 0, 0), &v4(b, 0, 0, 0), bytes);
      }
      k4 = cache->k.view<4>().slice(1, 0, first_position + tokens);
      v4 = cache->v.view<4>().slice(1, 0, first_position + tokens);
    }
    ops::attention(backend, q4, k4, v4, view(out.data, batch, tokens, heads, head_dim), nullptr, window);
    o_proj.forward(backend, out, y);
  }
};

}  // namespace qat::inline v0::nn

// A whole model: decoding and prefill from fp32 and from packed weights, and one linear layer of it.
#pragma once

#include "gemm_works.hpp"
#include "qat/recipe/prepare.hpp"

namespace qat::bench {

/// float, or int4 groups of 32 with int8 activations in every layer, embedding and head in the same codes: packed, or
/// prepared for training.
inline void apply_scheme(const CpuBackend& backend, nn::Transformer& model, const std::string& scheme, bool packs) {
  const AlignedBuffer<float> some = random_values(index_t{1} << 16, 1);
  for (Parameter* p : model.parameters())
    for (index_t i = 0; i < p->value.size(); ++i) p->value[i] = 0.1f * some[i & 0xFFFF];
  if (scheme == "float") return;
  const LayerScheme layers = recipe::parse_scheme(scheme);
  recipe::prepare(model, {{"linear", layers}, {"embedding", {layers.weight, {}}}, {"head", layers}});
  if (packs) recipe::convert(backend, model);
}

/// what=decode: one token after 128; what=prefill: 128 tokens. scheme, threads. A model of 110M parameters, which no
/// cache holds. resident_bytes: of weights and the key/value cache.
inline Work model_work(const Request& request) {
  constexpr index_t kPrompt = 128, kPositions = 256;
  struct State {
    CpuBackend backend;
    nn::Transformer model;
    nn::KvCache cache;
    std::vector<std::int32_t> tokens;
    index_t before;
    State(const LlamaConfig& config, const Request& r, index_t held)
        : backend(static_cast<int>(r.number("threads", 1))), model(config), tokens(kPositions), before(held) {
      apply_scheme(backend, model, r.text("scheme", "float"), true);
      cache = nn::KvCache(config, 1, kPositions);
      CounterRandom random(2);
      for (std::int32_t& t : tokens) t = static_cast<std::int32_t>(random.next_below(32000));
    }
    Tensor<float> append(index_t first, index_t count) {
      return model.decode(backend, cache, view(static_cast<const std::int32_t*>(tokens.data()) + first, count));
    }
  };
  LlamaConfig c;
  c.dim = 768;
  c.hidden_dim = 2048;
  c.n_layers = c.n_heads = c.n_kv_heads = 12;
  c.head_dim = 64;
  c.vocab_size = 32000;
  c.max_seq_len = kPositions;
  auto s = std::make_shared<State>(c, request, memory_stats().current_bytes);
  const bool decodes = request.text("what", "decode") == "decode";
  Work work;
  work.ops = decodes ? 1.0 : static_cast<double>(kPrompt);
  s->append(0, kPrompt);
  work.extra["resident_bytes"] = static_cast<double>(memory_stats().current_bytes - s->before);
  work.call = [s, decodes](long) {
    if (!decodes) s->cache.length = 0;
    if (s->cache.length == kPositions) s->cache.length = kPrompt;
    decodes ? s->append(s->cache.length, 1) : s->append(0, kPrompt);
  };
  // The logits of the model that was prepared, not packed, from the same weights: the same bits.
  work.check = [s, c, request, decodes]() -> std::string {
    s->cache.length = 0;
    Tensor<float> found = s->append(0, kPrompt);
    nn::Transformer prepared(c);
    apply_scheme(s->backend, prepared, request.text("scheme", "float"), false);
    nn::KvCache cache(c, 1, kPositions);
    const std::int32_t* const tokens = s->tokens.data();
    Tensor<float> expected = prepared.decode(s->backend, cache, view(tokens, kPrompt));
    if (decodes) {
      found = s->append(kPrompt, 1);
      expected = prepared.decode(s->backend, cache, view(tokens + kPrompt, 1));
    }
    return difference(found.data(), expected.data(), expected.size());
  };
  return work;
}

/// scheme, m, n, k, threads, rotate: a layer as a converted model runs it, quantization of its input included.
inline Work linear_work(const Request& request) {
  struct State {
    CpuBackend backend;
    index_t M, N, K;
    Tensor<float> x, y;
    std::vector<nn::Linear> layers;
    explicit State(const Request& r)
        : backend(static_cast<int>(r.number("threads", 1))),
          M(r.number("m")),
          N(r.number("n")),
          K(r.number("k")),
          x({M, K}),
          y({M, N}) {
      CounterRandom random(1);
      for (float& v : x) v = random.next_float() - 0.5f;
      const std::string scheme = r.text("scheme", "float");
      const index_t bytes = scheme == "float" ? 4 * N * K : N * K / 2;
      for (index_t i = copies_of(r, bytes); i > 0; --i) layers.push_back(layer(scheme, random));
    }
    nn::Linear layer(const std::string& scheme, CounterRandom& random) {
      nn::Linear linear("layer", K, N);
      for (float& v : linear.weight().value) v = random.next_float() - 0.5f;
      if (scheme == "float") return linear;
      const LayerScheme layers_scheme = recipe::parse_scheme(scheme);
      auto packed =
          std::make_shared<const PackedWeight>(nn::quantize_weight(backend, *layers_scheme.weight, linear.weight()));
      linear.set_quantization(
          std::make_unique<nn::PackedLinear>(std::move(packed), layers_scheme.activation, nn::Product::kInteger));
      linear.weight().value = Tensor<float>();
      return linear;
    }
  };
  auto s = std::make_shared<State>(request);
  Work work;
  work.ops = 2.0 * static_cast<double>(s->M) * static_cast<double>(s->N) * static_cast<double>(s->K);
  work.call = [s](long i) {
    nn::Linear& layer = s->layers[static_cast<std::size_t>(i) % s->layers.size()];
    layer.forward(s->backend, std::as_const(s->x).view<2>(), s->y.view<2>());
  };
  return work;
}

}  // namespace qat::bench

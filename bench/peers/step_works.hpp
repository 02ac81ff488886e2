// Training steps through recipe::Trainer: one step a request.
#pragma once

#include "buffers.hpp"
#include "qat/recipe/train.hpp"

namespace qat::bench {

/// scheme, head (1: the tied head is quantized too), threads: a step of the 12M shape, L6 C384 V4096, 8 x 256 tokens.
/// Operations: 6 per parameter and token, and 12 L C T^2 B of attention. peak_bytes: of a step, model included.
inline Work step_work(const Request& request) {
  struct State {
    CpuBackend backend;
    nn::Transformer model;
    std::vector<std::int32_t> tokens;
    recipe::TrainConfig config;  // 8 x 256 tokens a step
    std::unique_ptr<recipe::Trainer> trainer;
    State(const LlamaConfig& c, const Request& r)
        : backend(static_cast<int>(r.number("threads", 1))), model(c), tokens(65536) {
      model.randomize(1, 0.05f);
      const std::string scheme = r.text("scheme", "float");
      if (scheme != "float") {
        std::vector<recipe::LayerRule> rules = {{"linear", recipe::parse_scheme(scheme)}};
        if (r.number("head", 0) != 0) rules.push_back({"head", recipe::parse_scheme(scheme)});
        recipe::prepare(model, rules);
      }
      CounterRandom random(2);
      for (std::int32_t& t : tokens)
        t = static_cast<std::int32_t>(random.next_below(static_cast<std::uint32_t>(c.vocab_size)));
      config.steps = 1000000;
      config.warmup_steps = 1;
      trainer = std::make_unique<recipe::Trainer>(backend, model, tokens, config);
    }
  };
  LlamaConfig c;
  c.dim = 384;
  c.hidden_dim = 1024;
  c.n_layers = c.n_heads = c.n_kv_heads = 6;
  c.head_dim = 64;
  c.vocab_size = 4096;
  c.max_seq_len = 256;
  const index_t others =
      memory_stats().current_bytes;  // of other requests, which a worker keeps until it is told to forget
  auto s = std::make_shared<State>(c, request);
  s->trainer->step();
  reset_peak();
  s->trainer->step();
  index_t parameters = 0;
  for (const Parameter* p : s->model.parameters()) parameters += p->value.size();
  Work work;
  work.ops = 6.0 * static_cast<double>(parameters) * 2048 + 12.0 * 6 * 384 * 256 * 256 * 8;
  work.extra["peak_bytes"] = static_cast<double>(memory_stats().peak_bytes - others);
  work.seconds = [s] { return s->trainer->step().seconds; };
  return work;
}

}  // namespace qat::bench

// Times training steps of a Llama of stories260K's shape on random tokens. Prints one JSON object.
// Usage: step_bench SCHEME THREADS STEPS      SCHEME: float, or any scheme of recipe::parse_scheme
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "qat/recipe/train.hpp"

namespace {

using namespace qat;

void run(const std::string& scheme, int threads, index_t steps) {
  LlamaConfig c;
  c.dim = 64;
  c.hidden_dim = 172;
  c.n_layers = 5;
  c.n_heads = 8;
  c.n_kv_heads = 4;
  c.head_dim = 8;
  c.vocab_size = 512;
  c.max_seq_len = 512;
  nn::Transformer model(c);
  model.randomize(1, 0.05f);
  index_t weight_bytes = 0;
  for (const Parameter* p : model.parameters()) weight_bytes += p->value.size_bytes();
  if (scheme != "float") recipe::prepare(model, {{"linear", recipe::parse_scheme(scheme)}});
  std::vector<std::int32_t> tokens(65536);
  CounterRandom random(2);
  for (std::int32_t& t : tokens) t = static_cast<std::int32_t>(random.next_below(512));
  const CpuBackend backend(threads);
  recipe::TrainConfig config;  // 8 x 256 tokens a step
  config.steps = steps + 2;
  config.warmup_steps = 1;
  std::vector<double> seconds;
  reset_peak();
  recipe::train(backend, model, tokens, config, [&](const recipe::StepReport& s) {
    if (s.step >= 2) seconds.push_back(s.seconds);
  });
  std::sort(seconds.begin(), seconds.end());
  std::printf(
      "{\"scheme\": \"%s\", \"threads\": %d, \"steps\": %td, \"median_ms\": %.3f, \"fastest_ms\": %.3f, "
      "\"peak_bytes\": %td}\n",
      scheme.c_str(), threads, steps, seconds[seconds.size() / 2] * 1e3, seconds.front() * 1e3,
      memory_stats().peak_bytes);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4 || std::atoi(argv[2]) < 1 || std::atoi(argv[3]) < 1) {
    std::fprintf(stderr, "usage: step_bench SCHEME THREADS STEPS\n");
    return 2;
  }
  try {
    run(argv[1], std::atoi(argv[2]), std::atoi(argv[3]));
  } catch (const qat::Error& e) {
    std::fprintf(stderr, "step_bench: %s\n", e.what());
    return 2;
  }
  return 0;
}

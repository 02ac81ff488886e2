// Times checkpoints of a run of a model with 15 million parameters (dim 288, 6 layers, 32000 tokens; random weights).
// Prints one JSON object: bytes, and median seconds of writing (synced to the disk) and of reading one.
//
// Usage: checkpoint_bench DIRECTORY [ROUNDS]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "qat/recipe/run_checkpoint.hpp"

namespace {

using namespace qat;

template <class F>
double seconds_of(const F& f) {
  const auto start = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}
double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

void measure(const std::string& directory, int rounds) {
  LlamaConfig c;
  c.dim = 288, c.hidden_dim = 768, c.n_layers = 6, c.n_heads = 6, c.n_kv_heads = 6, c.head_dim = 48;
  c.vocab_size = 32000, c.max_seq_len = 256;
  nn::Transformer model(c);
  model.randomize(1);
  std::vector<std::int32_t> tokens(100000);
  for (std::size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<std::int32_t>(i * 7919 % 32000);
  const CpuBackend backend;
  recipe::TrainConfig config;
  config.batch = 1, config.length = 32;
  index_t parameters = 0;
  for (const Parameter* p : model.parameters()) parameters += p->value.size();
  const Json identity = recipe::run_identity(backend, model, recipe::data_identity(tokens), config);
  recipe::Trainer trainer(backend, model, tokens, config);
  trainer.step();  // so that moments are no zeros
  const std::string path = join_path(directory, "checkpoint-bench");
  std::vector<double> write, read;
  for (int i = 0; i < rounds; ++i) {
    remove_directory(path);
    write.push_back(seconds_of([&] { recipe::save_run_checkpoint(path, trainer, identity); }));
    read.push_back(seconds_of([&] { recipe::load_run_checkpoint(path, trainer, identity); }));
  }
  const std::size_t bytes = MappedFile(join_path(path, "state.safetensors")).size();
  remove_directory(path);
  std::printf(
      "{\"parameters\": %td, \"bytes\": %zu, \"write_seconds\": %.4f, \"slowest_write_seconds\": %.4f, "
      "\"read_seconds\": %.4f}\n",
      parameters, bytes, median(write), *std::max_element(write.begin(), write.end()), median(read));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: checkpoint_bench DIRECTORY [ROUNDS]\n");
    return 2;
  }
  try {
    measure(argv[1], argc > 2 ? std::max(1, std::atoi(argv[2])) : 5);
  } catch (const qat::Error& e) {
    std::fprintf(stderr, "checkpoint_bench: %s\n", e.what());
    return 1;
  }
  return 0;
}

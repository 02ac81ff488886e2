// Model users: make a model, train it in full precision, see what int3 costs, train it quantization-aware, pack it.
#include <cstdio>
#include <vector>

#include "qat/train.hpp"

int main() {
  qat::LlamaConfig config;
  config.dim = 64;
  config.hidden_dim = 128;
  config.n_layers = 2;
  config.n_heads = config.n_kv_heads = 4;
  config.head_dim = 16;
  config.vocab_size = 64;
  config.max_seq_len = 64;
  const qat::CpuBackend cpu;

  // A language: the next token is a fixed function of the last, one in ten is noise.
  qat::CounterRandom random(3);
  std::vector<std::int32_t> tokens = {1, 2};
  while (tokens.size() < 20000) {
    const std::size_t n = tokens.size();
    const auto noise = static_cast<std::int32_t>(random.next_below(64));
    tokens.push_back(noise < 6 ? noise : (5 * tokens[n - 1] + 3) % 64);
  }
  const std::vector<std::int32_t> held_out(tokens.end() - 4097, tokens.end());
  tokens.resize(tokens.size() - 4097);
  const auto windows = qat::TokenWindows::contiguous(held_out, 64);
  const auto quiet = [](const qat::recipe::StepReport&) {};

  qat::nn::Transformer model(config);
  model.randomize(1, 0.1f);
  qat::recipe::TrainConfig training;
  training.steps = 300;
  training.length = 64;
  training.lr = 4e-3;
  qat::recipe::train(cpu, model, tokens, training, quiet);
  const double full = qat::recipe::evaluate(cpu, model, windows).nats_per_token();

  const qat::LayerScheme scheme = qat::recipe::parse_scheme("8da2w");
  qat::recipe::prepare(model, {{"linear", scheme}});
  const double ptq = qat::recipe::evaluate(cpu, model, windows).nats_per_token();
  training.steps = 150;
  training.lr = 1e-3;
  qat::recipe::train(cpu, model, tokens, training, quiet);
  const double prepared = qat::recipe::evaluate(cpu, model, windows).nats_per_token();
  const qat::recipe::Report report = qat::recipe::convert(cpu, model);
  const double packed = qat::recipe::evaluate(cpu, model, windows).nats_per_token();

  std::printf("nats per token: full precision %.4f, PTQ %.4f, QAT %.4f, packed %.4f\n", full, ptq, prepared, packed);
  std::printf("weights: %td bytes, then %td\n", qat::recipe::bytes_before(report), qat::recipe::bytes_after(report));
  return packed == prepared && packed < ptq ? 0 : 1;
}

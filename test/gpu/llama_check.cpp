// The training step of a Llama on the device: it learns its batch, and a run repeats itself to the bit. That its
// gradients are those of the CPU's model is a test on the emulator (unit/nn/cuda_llama_test.cpp), where they are the
// sums of the same kernels in the same order but for products.
#include "gpu/check.hpp"
#include "qat/base/random.hpp"
#include "qat/nn/cuda_llama.hpp"

namespace qat::test::gpu {
namespace {

struct Run {
  std::vector<float> losses, weights;
};

Run train(const Device& device, const LlamaConfig& config, const nn::CudaLlamaOptions& options, int steps) {
  const std::size_t bytes = nn::CudaLlama::workspace_bytes(config, options);
  const cuda::DeviceBuffer<char> workspace(static_cast<index_t>(bytes));
  CudaBackend backend = device.backend;
  backend.workspace = workspace.data();
  backend.workspace_bytes = bytes;
  CounterRandom random(3);
  std::vector<std::int32_t> stream(static_cast<std::size_t>(options.batch * options.length + 1));
  for (std::int32_t& t : stream)
    t = static_cast<std::int32_t>(random.next_below(static_cast<std::uint32_t>(config.vocab_size)));
  const auto tokens = to_device(device, std::vector<std::int32_t>(stream.begin(), stream.end() - 1));
  const auto targets = to_device(device, std::vector<std::int32_t>(stream.begin() + 1, stream.end()));

  nn::CudaLlama llama(backend, config, options);
  for (const nn::CudaWeight& w : llama.weights().list())
    for (std::size_t i = 0; i < w.names.size(); ++i) {
      std::vector<float> values(static_cast<std::size_t>(w.part_rows[i] * w.columns), 1.0f);
      if (w.rows > 1)
        for (float& v : values) v = 0.3f * (random.next_float() - 0.5f);
      llama.weights().set(backend, w.names[i], values.data(), static_cast<index_t>(values.size()));
    }
  llama.weights().refresh(backend);
  Run run;
  for (int step = 1; step <= steps; ++step) {
    llama.backward(tokens.data(), targets.data());
    llama.weights().set_learning_rate(backend, 1e-2, step);
    llama.weights().update(backend);
    run.losses.push_back(llama.loss());
  }
  for (const nn::CudaWeight& w : llama.weights().list())
    for (const std::string& name : w.names)
      for (const float v : llama.weights().get(backend, name)) run.weights.push_back(v);
  return run;
}

void learns(const Device& device, Report& report) {
  LlamaConfig config;
  config.dim = device.large ? 256 : 32;
  config.hidden_dim = 2 * config.dim;
  config.n_layers = 2;
  config.head_dim = device.large ? 64 : 16;
  config.n_heads = config.dim / config.head_dim;
  config.n_kv_heads = config.n_heads / 2;
  config.vocab_size = device.large ? 1000 : 40;
  config.max_seq_len = 512;
  for (const bool quantized : {false, true}) {
    nn::CudaLlamaOptions options;
    options.batch = 2;
    options.length = device.large ? 300 : 9;
    if (quantized) {
      options.weight = parse_spec("int4:group32:symmetric");
      options.activation = parse_spec("int8:token:asymmetric");
    }
    const std::string what = quantized ? "8da4w" : "bfloat16";
    const int steps = device.large ? 30 : 6;
    const Run run = train(device, config, options, steps), again = train(device, config, options, steps);
    report.expect(what + " learns its batch", run.losses.back() < 0.8f * run.losses.front(),
                  "loss " + std::to_string(run.losses.front()) + " to " + std::to_string(run.losses.back()));
    report.expect(what + " losses again", compare_bits<float>(run.losses, again.losses));
    report.expect(what + " weights again", compare_bits<float>(run.weights, again.weights));
  }
}

const Registration learns_check("llama: a training step learns, and has the same bits again", learns);

}  // namespace
}  // namespace qat::test::gpu

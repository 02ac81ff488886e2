// The training loop on the device against the same loop on the processor: what `qat-llm train --device cuda` runs.
#include <cmath>
#include <memory>

#include "gpu/check.hpp"
#include "qat/recipe/cuda_device.hpp"

namespace qat::test::gpu {
namespace {

struct Run {
  std::vector<double> losses;
  std::vector<float> weights;
  float trained = 0.0f, packed = 0.0f;  // nats per token on the batches' text
};

Run train(const Device& device, const LlamaConfig& config, bool on_device, bool learn_scales) {
  const CpuBackend backend;
  nn::Transformer model(config);
  model.randomize(7, 0.1f);
  recipe::prepare(model, {{"linear", recipe::parse_scheme(learn_scales ? "weight=int4:axis0:symmetric" : "8da4w")}},
                  {.learn_scales = learn_scales});
  recipe::TrainConfig train;
  train.steps = device.large ? 20 : 3;
  train.batch = device.large ? 8 : 2;
  train.length = device.large ? 64 : 9;
  train.lr = 3e-3;
  train.warmup_steps = 0;
  train.accumulation = 2;
  train.delay_fake_quant_steps = 1;
  CounterRandom random(3);
  std::vector<std::int32_t> tokens(4000);  // a text with something to learn: each token depends on the one before
  std::int32_t last = 0;
  for (std::int32_t& t : tokens)
    t = last =
        (3 * last + static_cast<std::int32_t>(random.next_below(4))) % static_cast<std::int32_t>(config.vocab_size);
  std::shared_ptr<recipe::TrainingDevice> gpu;
  if (on_device) gpu = std::make_shared<recipe::CudaTrainingDevice>(model, train, train.length);
  Run run;
  recipe::Trainer trainer(backend, model, std::make_unique<BatchSampler>(tokens, train.batch, train.length, train.seed),
                          train, gpu);
  while (!trainer.done()) run.losses.push_back(trainer.step().loss);
  trainer.finish();
  const index_t sequences = device.large ? 30 : 4, scored = sequences * train.length;
  const auto score = [&] {
    return model
        .evaluate(backend, view(std::as_const(tokens).data(), scored), view(std::as_const(tokens).data() + 1, scored),
                  sequences)
        .mean();
  };
  if (on_device) model.set_scoring_device(std::make_shared<recipe::CudaScoringDevice>());
  run.trained = score();
  for (const Parameter* p : model.parameters()) run.weights.insert(run.weights.end(), p->value.begin(), p->value.end());
  recipe::convert(backend, model);
  if (on_device) model.set_scoring_device(std::make_shared<recipe::CudaScoringDevice>());
  run.packed = score();
  return run;
}

void trains(const Device& device, Report& report) {
  LlamaConfig config;
  config.dim = device.large ? 128 : 32;
  config.hidden_dim = 2 * config.dim;
  config.n_layers = device.large ? 3 : 1;
  config.head_dim = device.large ? 32 : 16;
  config.n_heads = config.dim / config.head_dim;
  config.n_kv_heads = config.n_heads / 2;
  config.vocab_size = device.large ? 257 : 40;
  config.max_seq_len = 128;
  for (const bool learn_scales : {false, true}) {
    const std::string what = learn_scales ? "learned scales" : "8da4w";
    const Run gpu = train(device, config, true, learn_scales), again = train(device, config, true, learn_scales);
    const Run cpu = train(device, config, false, learn_scales);
    double worst = 0.0;
    for (std::size_t i = 0; i < cpu.losses.size(); ++i)
      worst = std::fmax(worst, std::fabs(gpu.losses[i] - cpu.losses[i]) / cpu.losses[i]);
    // bfloat16 rounds at 2^-9, some forty times on the way through three blocks and back; steps carry that on.
    report.expect(what + " has the losses of the processor", worst < 0.03, "a difference of " + std::to_string(worst));
    report.expect(what + " scores as on the processor", std::fabs(gpu.packed - cpu.packed) < 0.03f * cpu.packed,
                  std::to_string(gpu.packed) + " and " + std::to_string(cpu.packed));
    report.expect(what + " packed scores the bits of the trained model", gpu.packed == gpu.trained);
    report.expect(what + " again", compare_bits<float>(gpu.weights, again.weights));
    if (device.large)
      report.expect(what + " learns", gpu.losses.back() < 0.9 * gpu.losses.front(),
                    std::to_string(gpu.losses.front()) + " to " + std::to_string(gpu.losses.back()));
  }
}

const Registration trains_check("train: the loop of qat-llm train, as on the processor", trains);

}  // namespace
}  // namespace qat::test::gpu

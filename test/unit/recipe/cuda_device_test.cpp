// The training loop and evaluation with an (emulated) GPU as their device, against the same on the CPU.
#include "qat/recipe/cuda_device.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

#include "qat/kernels/cuda/activation.cuh"
#include "qat/kernels/cuda/adamw.cuh"
#include "qat/kernels/cuda/attention.cuh"
#include "qat/kernels/cuda/average.cuh"
#include "qat/kernels/cuda/cross_entropy.cuh"
#include "qat/kernels/cuda/device.cuh"
#include "qat/kernels/cuda/embedding.cuh"
#include "qat/kernels/cuda/fake_quantize.cuh"
#include "qat/kernels/cuda/gemm.cuh"
#include "qat/kernels/cuda/quantize.cuh"
#include "qat/kernels/cuda/rmsnorm.cuh"
#include "qat/kernels/cuda/rope.cuh"
#include "qat/kernels/cuda/sum_rows.cuh"
#include "qat/recipe/evaluate.hpp"
#include "qat/recipe/run_checkpoint.hpp"
#include "support/compare.hpp"
#include "support/files.hpp"

namespace qat::cuda_device_test {
namespace {

using namespace qat::test;
using namespace qat::recipe;

nn::Transformer random_model(bool tied = true, bool biased = false) {
  LlamaConfig c;
  c.dim = 32;
  c.hidden_dim = 48;
  c.n_layers = 1;
  c.n_heads = 2;
  c.n_kv_heads = 1;
  c.head_dim = 16;
  c.vocab_size = 40;
  c.max_seq_len = 16;
  c.tied = tied;
  c.qkv_bias = biased;
  nn::Transformer model(c);
  model.randomize(11, 0.2f);
  for (Parameter* p : model.parameters())
    if (p->name.ends_with(".bias")) p->value.fill(0.25f);
  return model;
}
std::vector<std::int32_t> random_tokens(index_t count) {
  CounterRandom random(3);
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(count));
  for (std::int32_t& t : tokens) t = static_cast<std::int32_t>(random.next_below(40));
  return tokens;
}
TrainConfig config_of() {
  TrainConfig c;
  c.steps = 4;
  c.batch = 2;
  c.length = 7;
  c.lr = 1e-2;
  c.warmup_steps = 0;
  c.weight_decay = 0.1;
  return c;
}

/// How the layers of a model are trained.
struct Way {
  const char* name;
  std::vector<LayerRule> rules;
  bool learn_scales = false;
  index_t accumulation = 1, delay = 0;
  double ema_decay = 0.0;
};
LayerRule rule(const char* pattern, const char* scheme) { return {pattern, parse_scheme(scheme)}; }
std::vector<Way> ways() {
  return {{"floating point", {}, false, 2},
          {"8da4w", {rule("linear", "8da4w:group16")}, false, 1, 1},
          {"learned scales", {rule("linear", "weight=int4:axis0:symmetric")}, true, 2, 1, 0.6},
          {"layers of their own",
           {rule("linear", "8da4w:group16"), rule("layers.0.mlp.down_proj", "weight=int8:axis0:symmetric"),
            rule("embedding", "weight=int8:axis0:symmetric"), rule("head", "weight=int8:axis0:symmetric")}}};
}

/// A model in training, on the CPU or on the device.
struct Training {
  Training(const Way& way, bool on_device) : model(random_model()) {
    prepare(model, way.rules, {.learn_scales = way.learn_scales});
    TrainConfig config = config_of();
    config.accumulation = way.accumulation;
    config.delay_fake_quant_steps = way.delay;
    config.ema_decay = way.ema_decay;
    if (on_device) device = std::make_shared<CudaTrainingDevice>(model, config, config.length);
    trainer = std::make_unique<Trainer>(
        backend, model, std::make_unique<BatchSampler>(tokens, config.batch, config.length, config.seed), config,
        device);
  }
  std::vector<StepReport> steps(index_t until) {
    std::vector<StepReport> reports;
    while (trainer->next_step() < until) reports.push_back(trainer->step());
    return reports;
  }
  std::vector<float> values() {
    std::vector<float> all;
    for (const StateEntry& entry : trainer->state()) all.insert(all.end(), entry.tensor->begin(), entry.tensor->end());
    return all;
  }

  CpuBackend backend;
  std::vector<std::int32_t> tokens = random_tokens(200);
  nn::Transformer model;
  std::shared_ptr<TrainingDevice> device;
  std::unique_ptr<Trainer> trainer;
};

TEST_CASE(
    "CudaTrainingDevice: the losses of a run are the CPU's up to bfloat16's rounding, whatever is quantized how") {
  for (const Way& way : ways()) {
    CAPTURE(way.name);
    Training cpu(way, false), gpu(way, true);
    const std::vector<StepReport> expected = cpu.steps(4), found = gpu.steps(4);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      CAPTURE(i);
      // A loss meets some twenty roundings of 2^-9, and codes that they move: see cuda_llama_test.cpp. Steps of 1e-2
      // carry the differences of gradients on.
      CHECK(found[i].loss == doctest::Approx(expected[i].loss).epsilon(0.02));
      CHECK(found[i].grad_norm == doctest::Approx(expected[i].grad_norm).epsilon(0.1));
      CHECK(found[i].lr == expected[i].lr);
      CHECK(found[i].targets == expected[i].targets);
    }
    // Every tensor moves with the CPU's: parameters, moments, learned scales.
    const std::vector<StateEntry> a = cpu.trainer->state(), b = gpu.trainer->state();
    REQUIRE(a.size() == b.size());
    for (std::size_t i = 0; i < a.size(); ++i) {
      CAPTURE(a[i].name);
      double difference = 0.0, size = 0.0;
      for (index_t j = 0; j < a[i].tensor->size(); ++j) {
        const double x = (*a[i].tensor)[j], y = (*b[i].tensor)[j];
        difference += (x - y) * (x - y), size += x * x;
      }
      // The gradient of a scale is a sum of what rounding left over, of either sign: it keeps the fewest bits.
      const bool of_scale = a[i].name.find("_scale.exp_avg") != std::string::npos;
      CHECK(std::sqrt(difference) <= (of_scale ? 1.0 : 0.35) * std::sqrt(size) + 1e-6);
    }
  }
}

TEST_CASE("CudaTrainingDevice: a run that goes on from a checkpoint has the bits of one that never stopped") {
  for (const Way& way : ways()) {
    CAPTURE(way.name);
    const TempDir scratch;
    const Json identity = {{"run", "of the test"}};
    Training whole(way, true);
    whole.steps(4);
    Training first(way, true);
    first.steps(2);
    save_run_checkpoint(scratch / "at2", *first.trainer, identity);
    Training second(way, true);
    load_run_checkpoint(scratch / "at2", *second.trainer, identity);
    second.steps(4);
    CHECK(compare_bits<float>(whole.values(), second.values()));
  }
}

TEST_CASE("CudaTrainingDevice: passes that are replayed as graphs have the bits of those that are launched") {
  for (const Way& way : {ways()[0], ways()[2]}) {
    CAPTURE(way.name);
    Training graphs(way, true), launches(way, true);
    const auto device = [](const Training& t) { return dynamic_cast<CudaTrainingDevice*>(t.device.get()); };
    device(launches)->use_graphs(false);
    const std::vector<StepReport> a = graphs.steps(3), b = launches.steps(3);
    CHECK(device(graphs)->graph_replays() > 0);
    CHECK(device(launches)->graph_replays() == 0);
    for (std::size_t i = 0; i < a.size(); ++i) CHECK(a[i].loss == b[i].loss);
    CHECK(compare_bits<float>(graphs.values(), launches.values()));
  }
}

TEST_CASE("CudaTrainingDevice: a device with too little memory is an error, wherever it ends, and leaks nothing") {
  const std::size_t before = emulation::allocated_bytes();
  const auto make = [](Training& t) { return CudaTrainingDevice(t.model, config_of(), 7).kind(); };
  Training cpu(ways()[2], false);
  std::size_t needed = 0;
  {
    const CudaTrainingDevice whole(cpu.model, config_of(), 7);
    needed = emulation::allocated_bytes() - before;
  }
  for (std::size_t sixteenths = 0; sixteenths <= 16; ++sixteenths) {
    CAPTURE(sixteenths);
    emulation::Settings settings = emulation::settings();
    // Most of it is the workspace, which comes first: what follows is small.
    const std::size_t first = std::size_t{32} << 20;
    settings.memory_bytes = before + first + (needed - first) / 16 * sixteenths - 1;
    const emulation::With scope(settings);
    CHECK_THROWS_WITH_AS(make(cpu), doctest::Contains("out of device memory: "), Error);
    CHECK(emulation::allocated_bytes() == before);
  }
  CHECK(make(cpu) == "cuda");
  Training fresh(ways()[2], false);  // and the processor trains as if nothing had been
  CHECK(cpu.steps(1)[0].loss == fresh.steps(1)[0].loss);
}

TEST_CASE("CudaTrainingDevice: sequences of any lengths have the losses and gradients that they have on the CPU") {
  struct Ragged final : BatchSource {
    void sample(std::uint64_t, TrainingBatch& batch) override {
      batch.inputs = random_tokens(12);
      batch.targets = random_tokens(12);
      batch.targets[1] = batch.targets[8] = ops::kIgnoreIndex;
      batch.sequences.clear();
      for (const index_t length : {3, 7, 2}) batch.sequences.add(length);
    }
    index_t counted_targets(std::uint64_t) override { return 10; }
  };
  StepReport reports[2];
  for (const bool on_device : {false, true}) {
    nn::Transformer model = random_model(false);
    const CpuBackend backend;
    const TrainConfig config = config_of();
    std::shared_ptr<TrainingDevice> device;
    if (on_device) device = std::make_shared<CudaTrainingDevice>(model, config, config.length);
    Trainer trainer(backend, model, std::make_unique<Ragged>(), config, device);
    reports[on_device] = trainer.step();
  }
  CHECK(reports[1].loss == doctest::Approx(reports[0].loss).epsilon(0.01));
  CHECK(reports[1].grad_norm == doctest::Approx(reports[0].grad_norm).epsilon(0.03));
}

TEST_CASE("CudaScoringDevice: a prepared model and its packed form score the same bits, near to those of the CPU") {
  const std::vector<std::int32_t> tokens = random_tokens(60);
  const TokenWindows windows = TokenWindows::contiguous(tokens, 9, "test");
  const CpuBackend backend;
  for (const bool tied : {true, false}) {
    CAPTURE(tied);
    nn::Transformer model = random_model(tied, !tied);
    prepare(model, {rule("linear", "8da4w:group16"), rule("head", "8da4w:group16")});
    const double expected = evaluate(backend, model, windows).nats_per_token();
    model.set_scoring_device(std::make_shared<CudaScoringDevice>());
    const Evaluation prepared = evaluate(backend, model, windows);
    CHECK(prepared.nats_per_token() == doctest::Approx(expected).epsilon(0.01));
    convert(backend, model);
    model.set_scoring_device(std::make_shared<CudaScoringDevice>());
    CHECK(evaluate(backend, model, windows).nats == prepared.nats);
    CHECK(evaluate(backend, model, TokenWindows::contiguous(tokens, 16, "test")).targets == 48);
  }
}

TEST_CASE("CudaPackingDevice: weights packed on the device have the CPU's codes, scales and zero points") {
  const CpuBackend backend;
  CudaPackingDevice device;
  nn::Transformer model = random_model(false);
  const Parameter& weight = model.lm_head().weight();
  for (const char* spec :
       {"int4:group16:symmetric", "int8:axis0:symmetric", "int3:axis1:symmetric", "uint4:group8:asymmetric",
        "uint4:group32:float_zero_point:bfloat16", "int2:tensor:symmetric"}) {
    CAPTURE(spec);
    CHECK(device.pack(parse_spec(spec), weight, nullptr, nullptr) ==
          nn::quantize_weight(backend, parse_spec(spec), weight));
  }
  for (const Way& way : {ways()[1], ways()[2]}) {  // as trained, learned scales included
    CAPTURE(way.name);
    Training a(way, false), b(way, false);
    a.steps(3), b.steps(3);
    convert(backend, a.model), convert(backend, b.model, &device);
    const auto left = recipe::detail::layers_of(a.model), right = recipe::detail::layers_of(b.model);
    for (std::size_t i = 0; i < left.size(); ++i) {
      const auto x = recipe::detail::packed_of(left[i]), y = recipe::detail::packed_of(right[i]);
      REQUIRE((x == nullptr) == (y == nullptr));
      if (x != nullptr) CHECK(*x == *y);
    }
  }
  model.lm_head().weight().value[5] = std::nanf("");
  CHECK_THROWS_WITH_AS(device.pack(parse_spec("int4:group16:symmetric"), weight, nullptr, nullptr),
                       doctest::Contains("lm_head.weight: 1 of"), Error);
}

TEST_CASE("CudaTrainingDevice: what the device scores while it trains is the model as it would be shipped") {
  Training gpu(ways()[1], true);
  gpu.steps(2);
  const TokenWindows windows = TokenWindows::contiguous(gpu.tokens, 7, "test");
  const double quantized = evaluate(gpu.backend, gpu.model, windows).nats;
  set_fake_quantization(gpu.model, false);
  const double floating = evaluate(gpu.backend, gpu.model, windows).nats;
  CHECK(floating != quantized);
  set_fake_quantization(gpu.model, true);
  CHECK(evaluate(gpu.backend, gpu.model, windows).nats == quantized);
  gpu.trainer->finish();
  gpu.model.set_scoring_device(std::make_shared<CudaScoringDevice>());
  CHECK(evaluate(gpu.backend, gpu.model, windows).nats == quantized);
}

TEST_CASE("CudaTrainingDevice: averaged weights are scored in place of the trained ones, and are what is shipped") {
  Training gpu(ways()[2], true), whole(ways()[2], true);
  gpu.steps(3), whole.steps(3);
  const TokenWindows windows = TokenWindows::contiguous(gpu.tokens, 7, "test");
  const double trained = evaluate(gpu.backend, gpu.model, windows).nats;
  gpu.trainer->use_average(true);
  const double averaged = evaluate(gpu.backend, gpu.model, windows).nats;
  CHECK(averaged != trained);
  gpu.trainer->use_average(false);
  CHECK(evaluate(gpu.backend, gpu.model, windows).nats == trained);
  CHECK(gpu.steps(4)[0].loss == whole.steps(4)[0].loss);
  CHECK(compare_bits<float>(gpu.values(), whole.values()));
  gpu.trainer->finish();
  const double shipped = evaluate(gpu.backend, gpu.model, windows).nats;
  gpu.model.set_scoring_device(std::make_shared<CudaScoringDevice>());
  CHECK(evaluate(gpu.backend, gpu.model, windows).nats == shipped);
}

TEST_CASE("CudaTrainingDevice: what it does not train is an error that says what it accepts") {
  const auto fails = [](const LlamaConfig& c, const std::vector<LayerRule>& rules, const char* text,
                        bool learn_scales = false) {
    nn::Transformer model(c);
    prepare(model, rules, {.learn_scales = learn_scales});
    CHECK_THROWS_WITH_AS(CudaTrainingDevice(model, config_of(), 7), doctest::Contains(text), Error);
  };
  const LlamaConfig c = random_model().config();
  fails(c, {rule("*.q_proj", "8da4w:group16")}, "self_attn.k_proj has float; accepted: one scheme for layers");
  fails(c, {rule("head", "8da4w:group16")}, "lm_head, which shares its weight");
  fails(c, {rule("embedding", "int4_weight_only:group16"), rule("head", "int4_weight_only:group16")},
        "each would learn scales", true);
  fails(c, {rule("linear", "weight=int4:axis1:symmetric")}, "is not folded into the step; accepted are group, axis0");
  fails(with_architecture(c, Architecture::kGemma), {}, "has norms with weights beside 1 (Gemma); accepted");
  fails(with_architecture(c, Architecture::kGpt2), {}, "has layer norms (GPT-2); accepted");
  LlamaConfig windowed = c;
  windowed.window = 6;
  fails(windowed, {}, "a sequence has 7 tokens, the model's attention a window of 6");
  windowed.window = 7;
  nn::Transformer within(windowed);
  CHECK_NOTHROW(CudaTrainingDevice(within, config_of(), 7));
  nn::Transformer model = random_model();
  const CpuBackend backend;
  std::vector<std::int32_t> wrong(40, 40);
  model.set_scoring_device(std::make_shared<CudaScoringDevice>());
  CHECK_THROWS_WITH_AS(evaluate(backend, model, TokenWindows::contiguous(wrong, 9, "test")),
                       doctest::Contains("token 0 is 40"), Error);
}

}  // namespace
}  // namespace qat::cuda_device_test

// The training loop: it learns, repeats to the byte on any number of threads, honours the delay, and costs little
// memory.
#include "qat/recipe/train.hpp"

#include <doctest/doctest.h>

#include <cstring>

#include "qat/data/sft_batches.hpp"
#include "qat/recipe/evaluate.hpp"
#include "unit/recipe/training_chain.hpp"

using namespace qat;
using namespace qat::recipe;
using namespace qat_test;

namespace {

std::vector<double> losses(const CpuBackend& backend, nn::Transformer& model, const TrainConfig& config) {
  std::vector<double> out;
  const auto tokens = chain(5000);
  train(backend, model, tokens, config, [&](const StepReport& s) { out.push_back(s.loss); });
  return out;
}
bool same_parameters(nn::Transformer& a, nn::Transformer& b) {
  const auto pa = a.parameters(), pb = b.parameters();
  for (std::size_t i = 0; i < pa.size(); ++i)
    if (std::memcmp(pa[i]->value.data(), pb[i]->value.data(), static_cast<std::size_t>(pa[i]->value.size_bytes())) != 0)
      return false;
  return !pa.empty();
}

}  // namespace

TEST_CASE(
    "20 quantization-aware steps leave the same bytes on 1, 2, 3 and 7 threads, at either precision of products") {
  for (const MatmulPrecision precision : {MatmulPrecision::kFloat32, MatmulPrecision::kBfloat16})
    for (const char* scheme : {"8da4w", "qat3"}) {
      CAPTURE(scheme);
      nn::Transformer first = tiny_model();
      prepare(first, {{"linear", parse_scheme(scheme)}});
      const std::vector<double> expected = losses(CpuBackend(1, precision), first, quick(20));
      CHECK(expected.back() < expected.front());
      for (const int threads : {2, 3, 7}) {
        nn::Transformer model = tiny_model();
        prepare(model, {{"linear", parse_scheme(scheme)}});
        CHECK(losses(CpuBackend(threads, precision), model, quick(20)) == expected);
        CHECK(same_parameters(first, model));
      }
    }
}

TEST_CASE("learned scales train to the same bytes on 1, 2, 3 and 7 threads, move, and ship as trained") {
  const std::vector<LayerRule> rules = {{"linear", parse_scheme("8da3w")}};
  const auto scales_of = [](nn::Transformer& model) {
    std::vector<float> all;
    for (const Parameter* p : learned_scales(model)) all.insert(all.end(), p->value.begin(), p->value.end());
    return all;
  };
  nn::Transformer first = tiny_model(), fixed = tiny_model();
  prepare(first, rules, {.learn_scales = true});
  prepare(fixed, rules, {.learn_scales = true});
  logits(first);  // gives the scales their first values
  const std::vector<float> start = scales_of(first);
  TrainConfig config = quick(20);
  const std::vector<double> expected = losses(CpuBackend(1), first, config);
  std::vector<float> trained = scales_of(first);
  std::size_t moved = 0;
  for (std::size_t i = 0; i < start.size(); ++i) moved += trained[i] != start[i] && trained[i] > 0.0f;
  CHECK(2 * moved > start.size());
  for (const int threads : {2, 3, 7}) {
    nn::Transformer model = tiny_model();
    prepare(model, rules, {.learn_scales = true});
    CHECK(losses(CpuBackend(threads), model, config) == expected);
    CHECK(same_parameters(first, model));
    CHECK(scales_of(model) == trained);
  }
  const Tensor<float> prepared = logits(first);
  convert(two_threads(), first);
  CHECK(same_bits(logits(first), prepared));

  config.scale_lr = 0.0;
  config.delay_fake_quant_steps = 4;  // the scales start where fake quantization does
  losses(two_threads(), fixed, config);
  CHECK(scales_of(fixed) != start);
  for (const float s : scales_of(fixed)) CHECK(s > 0.0f);
}

TEST_CASE("training lowers the loss of the quantized model") {
  nn::Transformer model = tiny_model();
  prepare(model, {{"linear", parse_scheme("8da4w")}});
  const std::vector<double> l = losses(two_threads(), model, quick(60));
  CHECK(l.back() < 0.7 * l.front());
}

TEST_CASE("delayed fake quantization trains in floating point first, then quantized, and ends switched on") {
  TrainConfig config = quick(12);
  config.delay_fake_quant_steps = 6;
  nn::Transformer delayed = tiny_model(), floating = tiny_model(), quantized = tiny_model();
  prepare(delayed, {{"linear", parse_scheme("qat2")}});
  prepare(quantized, {{"linear", parse_scheme("qat2")}});
  const auto d = losses(two_threads(), delayed, config), f = losses(two_threads(), floating, quick(12)),
             q = losses(two_threads(), quantized, quick(12));
  for (std::size_t i = 0; i < 6; ++i) CHECK(d[i] == f[i]);
  CHECK(d[0] != q[0]);
  for (std::size_t i = 6; i < 12; ++i) CHECK(d[i] != f[i]);
  CHECK(dynamic_cast<nn::PreparedLinear*>(delayed.lm_head().quantization())->enabled());
}

TEST_CASE("the loss of a step is the mean over its micro-batches") {
  TrainConfig halves = quick(1);
  halves.batch = 2;
  halves.accumulation = 2;
  halves.warmup_steps = 0;
  nn::Transformer a = tiny_model();
  const auto tokens = chain(5000);
  double loss = 0.0;
  train(two_threads(), a, tokens, halves, [&](const StepReport& s) { loss = s.loss; });
  // The two micro-batches are batches 0 and 1 of the sampler: their losses average to the step's.
  const BatchSampler sampler(tokens, 2, 32, 0);
  nn::Transformer fresh = tiny_model();
  double expected = 0.0;
  for (std::uint64_t i = 0; i < 2; ++i) {
    std::vector<std::int32_t> in(64), out(64);
    sampler.sample(i, in.data(), out.data());
    expected += 0.5 * fresh.evaluate(two_threads(), view_of(in), view_of(out), 2).sum / 64.0;
  }
  CHECK(loss == doctest::Approx(expected).epsilon(1e-5));
}

TEST_CASE("a quantization-aware step needs at most 1.1 times the memory of a full-precision step") {
  const auto peak = [](const char* scheme) {
    nn::Transformer model = tiny_model();
    if (scheme != nullptr) prepare(model, {{"linear", parse_scheme(scheme)}});
    TrainConfig config = quick(2);
    config.batch = 16;
    config.length = 64;
    losses(two_threads(), model, config);  // warms up workspaces
    reset_peak();
    losses(two_threads(), model, config);
    return static_cast<double>(memory_stats().peak_bytes);
  };
  const double full = peak(nullptr);
  CHECK(full > 0.0);
  for (const char* scheme : {"8da4w", "qat4", "int4_weight_only"}) {
    CAPTURE(scheme);
    CHECK(peak(scheme) <= 1.1 * full);
  }
}

TEST_CASE("bad settings and divergence end in one line") {
  nn::Transformer model = tiny_model();
  TrainConfig config = quick(4);
  config.warmup_steps = 5;
  CHECK(contains(error_of([&] { losses(two_threads(), model, config); }), "warmup_steps 5"));
  const std::vector<std::int32_t> few = {1, 2, 3};
  CHECK(contains(error_of([&] { train(two_threads(), model, few, quick(4), [](const StepReport&) {}); }),
                 "one window needs 33"));
  config = quick(30);
  config.lr = 1e30;
  config.clip_norm = 0.0;
  CHECK(contains(error_of([&] { losses(two_threads(), model, config); }), "lower the learning rate"));
}

namespace {
/// Samples of 3 to 20 tokens of which the last few count.
std::vector<SftSample> random_samples(index_t count) {
  const std::vector<std::int32_t> tokens = tiny_tokens(count * 21);
  CounterRandom random(11);
  std::vector<SftSample> samples;
  for (index_t i = 0; i < count; ++i) {
    SftSample& s = samples.emplace_back();
    const index_t n = 3 + random.next_below(18), prompt = random.next_below(static_cast<std::uint32_t>(n));
    for (index_t t = 0; t < n; ++t) {
      s.inputs.push_back(tokens[static_cast<std::size_t>(i * 21 + t)]);
      s.targets.push_back(t < prompt ? ops::kIgnoreIndex : tokens[static_cast<std::size_t>(i * 21 + t + 1)]);
    }
    s.counted = n - prompt;
  }
  return samples;
}
}  // namespace

TEST_CASE("every counted target of a step weighs the same, however samples fall into micro-batches") {
  const std::vector<SftSample> samples = random_samples(12);
  const auto first_step = [&](index_t batch, index_t accumulation) {
    nn::Transformer model = tiny_model();
    recipe::TrainConfig config;
    config.steps = 1;
    config.warmup_steps = 0;
    config.accumulation = accumulation;
    recipe::Trainer trainer(two_threads(), model, std::make_unique<SftBatches>(samples, batch, 20, false, 3), config);
    return trainer.step();
  };
  const recipe::StepReport whole = first_step(12, 1);
  nn::Transformer model = tiny_model();
  const recipe::Evaluation scored = recipe::evaluate_samples(two_threads(), model, samples, [](index_t, index_t) {});
  CHECK(whole.targets == scored.targets);
  double one_by_one = 0.0;
  for (const SftSample& s : samples)
    one_by_one += recipe::evaluate_samples(two_threads(), model, {&s, 1}, [](index_t, index_t) {}).nats;
  CHECK(one_by_one == doctest::Approx(scored.nats).epsilon(1e-12));
  CHECK(whole.loss == doctest::Approx(scored.nats_per_token()).epsilon(1e-6));
  for (const index_t accumulation : {2, 3, 12}) {
    const recipe::StepReport parts = first_step(12 / accumulation, accumulation);
    CHECK(parts.targets == whole.targets);
    CHECK(parts.rows == whole.rows);
    CHECK(parts.loss == doctest::Approx(whole.loss).epsilon(1e-6));
    CHECK(parts.grad_norm == doctest::Approx(whole.grad_norm).epsilon(1e-5));
  }
}

TEST_CASE("training on samples lowers their loss, packed or not, and leaves the same weights on any threads") {
  const std::vector<SftSample> samples = random_samples(12);
  for (const bool packing : {false, true}) {
    std::vector<Tensor<float>> outcomes;
    for (const int threads : {1, 2}) {
      const CpuBackend backend(threads);
      nn::Transformer model = tiny_model();
      recipe::prepare(model, {{"linear", recipe::parse_scheme("8da4w")}});
      recipe::TrainConfig config;
      config.steps = 40;
      config.warmup_steps = 2;
      config.lr = 3e-3;
      config.accumulation = 2;
      recipe::Trainer trainer(backend, model, std::make_unique<SftBatches>(samples, 4, 20, packing, 3), config);
      double first = 0.0, last = 0.0;
      while (!trainer.done()) {
        const recipe::StepReport report = trainer.step();
        if (report.step == 0) first = report.loss;
        last = report.loss;
      }
      CHECK(last < 0.5 * first);
      outcomes.push_back(model.blocks()[0].mlp.up_proj.weight().value.clone());
    }
    CHECK(same_bits(outcomes[0], outcomes[1]));
  }
}

TEST_CASE(
    "with ema_decay the model ends with the moving average of the weights and learned scales, and trains as without") {
  const std::vector<LayerRule> rules = {{"linear", parse_scheme("8da3w")}};
  const PrepareOptions options{.learn_scales = true};
  const std::vector<std::int32_t> tokens = chain(5000);
  constexpr index_t kDelay = 3;
  TrainConfig config = quick(8);
  config.delay_fake_quant_steps = kDelay;
  nn::Transformer plain = tiny_model(), averaged = tiny_model();
  prepare(plain, rules, options);
  prepare(averaged, rules, options);

  std::vector<double> expected_losses;
  std::map<std::string, std::vector<double>> expected;
  const auto is_scale = [](const std::string& name) { return name.ends_with("_scale"); };
  {
    Trainer trainer(two_threads(), plain, tokens, config);
    while (!trainer.done()) {
      const index_t step = trainer.next_step();
      expected_losses.push_back(trainer.step().loss);
      std::vector<Parameter*> all = plain.parameters();
      for (Parameter* p : learned_scales(plain)) all.push_back(p);
      for (const Parameter* p : all) {
        std::vector<double>& e = expected[p->name];
        e.resize(static_cast<std::size_t>(p->value.size()));
        const double keep = step == (is_scale(p->name) ? kDelay : 0) ? 0.0 : 0.8;
        for (index_t i = 0; i < p->value.size(); ++i)
          e[static_cast<std::size_t>(i)] = keep * e[static_cast<std::size_t>(i)] + (1.0 - keep) * double{p->value[i]};
      }
    }
  }
  config.ema_decay = 0.8;
  CHECK(losses(two_threads(), averaged, config) == expected_losses);
  std::vector<Parameter*> all = averaged.parameters();
  for (Parameter* p : learned_scales(averaged)) all.push_back(p);
  index_t scales = 0, moved = 0;
  for (const Parameter* p : all) {
    CAPTURE(p->name);
    const std::vector<double>& e = expected.at(p->name);
    scales += is_scale(p->name);
    for (index_t i = 0; i < p->value.size(); ++i)
      CHECK(std::fabs(double{p->value[i]} - e[static_cast<std::size_t>(i)]) < 1e-6);
  }
  for (std::size_t i = 0; i < plain.parameters().size(); ++i)
    moved += plain.parameters()[i]->value[0] != averaged.parameters()[i]->value[0];
  CHECK(scales == 15);  // two blocks of seven, and the head
  CHECK(moved > 10);
}

TEST_CASE("a trainer gives its averages and takes them back; steps and state need the weights themselves") {
  nn::Transformer model = tiny_model();
  const std::vector<std::int32_t> tokens = chain(5000);
  TrainConfig config = quick(4);
  config.ema_decay = 0.5;
  Trainer trainer(two_threads(), model, tokens, config);
  const Tensor<float> untrained = logits(model);
  trainer.use_average(true);  // of no step: nothing
  CHECK(same_bits(logits(model), untrained));
  trainer.step();
  trainer.step();
  const Tensor<float> own = logits(model);
  trainer.use_average(true);
  CHECK_FALSE(same_bits(logits(model), own));
  QAT_CHECK_ERROR(trainer.step(), "averaged weights");
  QAT_CHECK_ERROR(trainer.state(), "averaged weights");
  trainer.use_average(false);
  CHECK(same_bits(logits(model), own));
  trainer.step();
  for (const double bad : {1.0, -0.1, std::nan("")}) {
    config.ema_decay = bad;
    QAT_CHECK_ERROR(Trainer(two_threads(), model, tokens, config), "ema_decay is");
  }
}

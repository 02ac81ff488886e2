// Checkpoints of runs: what is resumed continues to the bit, and what is damaged or of another run is refused.
#include "qat/recipe/run_checkpoint.hpp"

#include <doctest/doctest.h>

#include <cstring>

#include "qat/data/sft_batches.hpp"
#include "support/architectures.hpp"
#include "support/data.hpp"
#include "unit/recipe/training_chain.hpp"

using namespace qat;
using namespace qat::recipe;
using namespace qat_test;
using test::TempDir;

namespace {

/// Everything that makes one run, started from the same model.
struct TestRun {
  TestRun(const CpuBackend& backend, const std::vector<LayerRule>& rules, const PrepareOptions& options,
          const TrainConfig& config, const LlamaConfig& sizes = tiny_config(false))
      : model(sizes) {
    model.randomize(1, 0.2f);
    prepare(model, rules, options);
    identity = run_identity(backend, model, data_identity(tokens), config);
    trainer.emplace(backend, model, tokens, config);
  }
  void train_until(index_t step) {
    while (trainer->next_step() < step) losses.push_back(trainer->step().loss);
  }
  /// Bits of all state under their names.
  std::map<std::string, std::vector<std::uint32_t>> bits() {
    std::map<std::string, std::vector<std::uint32_t>> all;
    for (const StateEntry& entry : trainer->state()) {
      std::vector<std::uint32_t>& out = all[entry.name];
      out.resize(static_cast<std::size_t>(entry.tensor->size()));
      std::memcpy(out.data(), entry.tensor->data(), static_cast<std::size_t>(entry.tensor->size_bytes()));
    }
    return all;
  }

  nn::Transformer model;
  std::vector<std::int32_t> tokens = chain(5000);
  Json identity;
  std::optional<Trainer> trainer;
  std::vector<double> losses;
};

struct ResumeCase {
  const char* name;
  const char* scheme;  ///< null: floating point
  bool learn_scales = false;
  index_t delay = 0, accumulation = 1;
  MatmulPrecision precision = MatmulPrecision::kFloat32;
  const char* pattern = "linear";
  double ema_decay = 0.0;
};

/// Runs `steps` steps at once, and up to each of `stops` in a run of its own that resumes from the one before, with as
/// many threads as `threads` says, in turn. All must agree in every bit.
void check_resume(const ResumeCase& c, index_t steps, const std::vector<index_t>& stops,
                  const std::vector<int>& threads, const LlamaConfig& sizes = tiny_config(false)) {
  CAPTURE(c.name);
  CAPTURE(threads[0]);
  const TempDir dir;
  std::vector<LayerRule> rules;
  if (c.scheme != nullptr) rules.push_back({c.pattern, parse_scheme(c.scheme)});
  TrainConfig config = quick(steps);
  config.batch = 2;
  config.delay_fake_quant_steps = c.delay;
  config.accumulation = c.accumulation;
  config.ema_decay = c.ema_decay;
  const PrepareOptions options{.learn_scales = c.learn_scales};

  const CpuBackend whole_backend(threads[0], c.precision);
  TestRun whole(whole_backend, rules, options, config, sizes);
  whole.train_until(steps);

  std::vector<double> losses;
  std::string last;
  for (std::size_t part = 0; part <= stops.size(); ++part) {
    const CpuBackend backend(threads[part % threads.size()], c.precision);
    TestRun run(backend, rules, options, config, sizes);
    if (part > 0) load_run_checkpoint(last, *run.trainer, run.identity);
    run.train_until(part < stops.size() ? stops[part] : steps);
    losses.insert(losses.end(), run.losses.begin(), run.losses.end());
    if (part < stops.size()) {
      last = dir / ("step-" + std::to_string(stops[part]));
      save_run_checkpoint(last, *run.trainer, run.identity);
    } else {
      CHECK(run.bits() == whole.bits());
      CHECK(same_bits(logits(run.model), logits(whole.model)));
      for (TestRun* done : {&run, &whole}) done->trainer->finish();
      CHECK(same_bits(logits(run.model), logits(whole.model)));
    }
  }
  CHECK(losses == whole.losses);
  CHECK(losses.size() == static_cast<std::size_t>(steps));
}

constexpr ResumeCase kResumeCases[] = {
    {"floating point", nullptr},
    {"8da4w", "8da4w"},
    {"an embedding", "qat4", false, 0, 1, MatmulPrecision::kFloat32, "embedding"},
    {"learned scales", "8da3w", true},
    {"learned scales of an embedding", "qat3", true, 0, 1, MatmulPrecision::kFloat32, "embedding"},
    {"learned scales with zero points", "weight=int4:group32:asymmetric", true},
    {"delay at step 40", "8da4w", false, 40},
    {"learned scales that begin at step 40", "weight=int4:group32:asymmetric", true, 40},
    {"accumulation", "8da4w", false, 0, 2},
    {"bf16 products", "int4_weight_only", false, 0, 1, MatmulPrecision::kBfloat16},
    {"averaged weights", "8da4w", false, 0, 1, MatmulPrecision::kFloat32, "linear", 0.9},
    {"averaged scales that begin at step 40", "8da3w", true, 40, 1, MatmulPrecision::kFloat32, "linear", 0.9},
};

}  // namespace

TEST_CASE("60 steps equal 30, resume and 30 more, bit for bit: weights, moments, scales and losses") {
  for (const ResumeCase& c : kResumeCases)
    for (const std::vector<int>& threads : {std::vector<int>{1, 2}, std::vector<int>{2, 1}, std::vector<int>{2, 2}})
      check_resume(c, 60, {30}, threads);
}

TEST_CASE("a run of every architecture is resumed to the bit, with 1, 2 and 3 threads") {
  for (const test::NamedConfig& named : test::architectures(tiny_config(true))) {
    CAPTURE(named.name);
    const LlamaConfig& config = named.config;
    check_resume({"learned scales", "8da4w", true}, 6, {2, 4}, {1, 2, 3}, config);
  }
}

TEST_CASE("a run may be resumed at any step: at the start, around the step that fake quantization begins, at the end") {
  const ResumeCase c{"learned scales that begin at step 3", "weight=int4:group32:asymmetric", true, 3};
  check_resume(c, 8, {0, 1, 2, 3, 4, 5, 7, 8}, {1, 2});
}

TEST_CASE("fine-tuning on packed samples goes on with the samples that come next") {
  std::vector<SftSample> samples;
  const std::vector<std::int32_t> tokens = chain(400);
  for (std::size_t i = 0; i < 23; ++i) {  // 3 to 13 tokens, of which the last two count
    SftSample& s = samples.emplace_back();
    const auto begin = tokens.begin() + static_cast<std::ptrdiff_t>(i * 16);
    s.inputs.assign(begin, begin + 3 + static_cast<std::ptrdiff_t>(i % 11));
    s.targets.assign(begin + 1, begin + 4 + static_cast<std::ptrdiff_t>(i % 11));
    std::fill(s.targets.begin(), s.targets.end() - 2, ops::kIgnoreIndex);
    s.counted = 2;
  }
  const TempDir dir;
  TrainConfig config = quick(24);  // several passes over the samples
  config.accumulation = 2;
  const Json identity;
  std::vector<double> whole, parts;
  std::vector<nn::Transformer> models;
  const auto train_part = [&](index_t from, index_t to, std::vector<double>& losses) {
    nn::Transformer& model = models.emplace_back(tiny_model());
    prepare(model, {{"linear", parse_scheme("8da4w")}});
    const Json same = run_identity(two_threads(), model, identity, config);
    Trainer trainer(two_threads(), model, std::make_unique<SftBatches>(samples, 2, 16, true, 3), config);
    if (from > 0) load_run_checkpoint(dir / "c", trainer, same);
    while (trainer.next_step() < to) losses.push_back(trainer.step().loss);
    if (to < config.steps) save_run_checkpoint(dir / "c", trainer, same);
  };
  models.reserve(3);
  train_part(0, 24, whole);
  train_part(0, 11, parts);
  train_part(11, 24, parts);
  CHECK(parts == whole);
  CHECK(same_bits(logits(models[2]), logits(models[0])));
}

TEST_CASE("a run under a constant learning rate goes on beyond the steps it was started with") {
  const TempDir dir;
  TrainConfig shorter = quick(6), longer = quick(12);
  shorter.schedule = longer.schedule = ScheduleKind::kConstant;
  TestRun first(two_threads(), {}, {}, shorter), whole(two_threads(), {}, {}, longer),
      second(two_threads(), {}, {}, longer);
  first.train_until(6);
  save_run_checkpoint(dir / "c", *first.trainer, first.identity);
  load_run_checkpoint(dir / "c", *second.trainer, second.identity);
  second.train_until(12);
  whole.train_until(12);
  CHECK(second.bits() == whole.bits());
  TestRun again(two_threads(), {}, {}, shorter);
  second.trainer->seek(12, false);
  save_run_checkpoint(dir / "late", *second.trainer, second.identity);
  QAT_CHECK_ERROR(load_run_checkpoint(dir / "late", *again.trainer, again.identity), "late/state.json",
                  "after 12 steps; this run has 6");
}

TEST_CASE("a checkpoint of another run is refused, the field named, and the trainer stays as it was") {
  const TempDir dir;
  const std::vector<LayerRule> rules = {{"linear", parse_scheme("8da4w")}};
  TestRun run(two_threads(), rules, {}, quick(6));
  run.train_until(3);
  save_run_checkpoint(dir / "c", *run.trainer, run.identity);
  TrainConfig faster = quick(6);
  faster.lr = 1e-2;
  TestRun other(two_threads(), rules, {}, faster);
  const auto before = other.bits();
  QAT_CHECK_ERROR(load_run_checkpoint(dir / "c", *other.trainer, other.identity), "c/state.json", "another run",
                  "training.lr is 0.003 in the checkpoint, 0.01 in this run");
  CHECK(other.bits() == before);
  CHECK(other.trainer->next_step() == 0);
}

TEST_CASE("a truncated file is refused, whatever is missing") {
  const TempDir dir;
  TestRun run(two_threads(), {}, {}, quick(6));
  run.train_until(2);
  save_run_checkpoint(dir / "c", *run.trainer, run.identity);
  TestRun other(two_threads(), {}, {}, quick(6));
  const auto before = other.bits();
  for (const char* name : {"state.json", "state.safetensors"}) {
    const std::string path = dir / (std::string("c/") + name), whole = test::read_file(path);
    // The JSON text ends with "}\n": without the line end it is still whole.
    for (std::size_t size = 0; size + 2 <= whole.size(); size += 1 + whole.size() / 97) {
      CAPTURE(size);
      test::write_bytes(path, whole.substr(0, size));
      QAT_CHECK_ERROR(load_run_checkpoint(dir / "c", *other.trainer, other.identity), name);
    }
    std::filesystem::remove(path);
    QAT_CHECK_ERROR(load_run_checkpoint(dir / "c", *other.trainer, other.identity), name, "cannot open");
    test::write_bytes(path, whole);
  }
  CHECK(other.bits() == before);
  CHECK(other.trainer->next_step() == 0);
  load_run_checkpoint(dir / "c", *other.trainer, other.identity);
  CHECK(other.bits() == run.bits());
}

TEST_CASE("a damaged byte is refused or changes nothing") {
  const TempDir dir;
  TestRun run(two_threads(), {{"linear", parse_scheme("8da3w")}}, {.learn_scales = true}, quick(6));
  run.train_until(2);
  save_run_checkpoint(dir / "c", *run.trainer, run.identity);
  const auto saved = run.bits();
  TestRun other(two_threads(), {{"linear", parse_scheme("8da3w")}}, {.learn_scales = true}, quick(6));
  index_t refused = 0, tried = 0;
  for (const char* name : {"state.json", "state.safetensors"}) {
    const std::string path = dir / (std::string("c/") + name), whole = test::read_file(path);
    for (std::size_t at = 0; at < whole.size(); at += 1 + whole.size() / 499) {
      std::string damaged = whole;
      damaged[at] = static_cast<char>(damaged[at] ^ 1 << at % 8);
      test::write_bytes(path, damaged);
      ++tried;
      const std::string message =
          test::error_of([&] { load_run_checkpoint(dir / "c", *other.trainer, other.identity); });
      CAPTURE(message);
      CAPTURE(at);
      if (message != "(no error)") {
        ++refused;
        CHECK(contains(message, name));
      } else {
        CHECK(other.bits() == saved);
        CHECK(other.trainer->next_step() == 2);
      }
    }
    test::write_bytes(path, whole);
  }
  CHECK(refused > 9 * tried / 10);
  const std::string path = dir / "c/state.safetensors";
  std::string damaged = test::read_file(path);
  damaged.back() = static_cast<char>(damaged.back() ^ 1);
  test::write_bytes(path, damaged);
  QAT_CHECK_ERROR(load_run_checkpoint(dir / "c", *other.trainer, other.identity), "state.safetensors",
                  "model.norm.weight.exp_avg_sq", "checksum", "damaged");
}

TEST_CASE("a checkpoint that disagrees with itself is refused") {
  const TempDir dir;
  TestRun run(two_threads(), {}, {}, quick(6));
  save_run_checkpoint(dir / "c", *run.trainer, run.identity);
  const std::string path = dir / "c/state.json";
  const Json good = read_json(path);
  const auto refuses = [&](auto change, std::initializer_list<const char*> parts) {
    Json json = good;
    json.erase("checksum");
    change(json);
    if (!json.contains("checksum")) json["checksum"] = checksum_text(recipe::detail::checksum_of(json));
    test::write_bytes(path, json.dump());
    const std::string message = test::error_of([&] { load_run_checkpoint(dir / "c", *run.trainer, run.identity); });
    CAPTURE(message);
    CHECK(contains(message, "c/state."));
    for (const char* part : parts) CHECK(contains(message, part));
  };
  refuses([](Json& j) { j["format"] = "qat-packed"; }, {"'format' is qat-packed", "accepted: qat-run"});
  refuses([](Json& j) { j["version"] = 2; }, {"'version' is 2", "accepted: 1"});
  refuses([](Json& j) { j["step"] = 7; }, {"after 7 steps; this run has 6"});
  refuses([](Json& j) { j["step"] = -1; }, {"after -1 steps"});
  refuses([](Json& j) { j["step"] = "two"; }, {"'step' is \"two\"", "an integer"});
  refuses([](Json& j) { j["fake_quantized"] = true; }, {"'fake_quantized' is true after step 0"});
  refuses([](Json& j) { j["checksum"] = "0"; }, {"states the checksum '0'", "damaged"});
  refuses([](Json& j) { j["tensors"].erase("model.norm.weight"); }, {"'tensors'", "model.norm.weight", "missing"});
  refuses([](Json& j) { j.erase("identity"); }, {"'identity' is missing"});
  refuses([](Json& j) { j["identity"] = 3; }, {"'identity' is 3", "a JSON object"});

  test::write_bytes(path, good.dump());
  std::vector<SafetensorEntry> entries;
  const std::vector<StateEntry> state = run.trainer->state();
  for (const StateEntry& e : state)
    entries.push_back({e.name, DType::kF32, recipe::detail::extents_of(*e.tensor), e.tensor->data()});
  const auto refuses_tensors = [&](auto change, const char* name, const char* what) {
    std::vector<SafetensorEntry> changed = entries;
    change(changed);
    write_safetensors(dir / "c/state.safetensors", changed);
    QAT_CHECK_ERROR(load_run_checkpoint(dir / "c", *run.trainer, run.identity), "state.safetensors", name, what);
  };
  refuses_tensors([](auto& e) { e.erase(e.begin()); }, "model.embed_tokens.weight", "missing");
  refuses_tensors([](auto& e) { std::swap(e[0].shape[0], e[0].shape[1]); }, "model.embed_tokens.weight", "[50, 64]");
  refuses_tensors([](auto& e) { e[0].dtype = DType::kI32; }, "model.embed_tokens.weight", "I32");
  refuses_tensors(
      [](auto& e) {
        e.push_back({"more", DType::kF32, {1}, e[0].data});
      },
      "'more'", "not part of this run");
  refuses_tensors([](auto& e) { std::swap(e[0].data, e[e.size() / 3].data); }, "tensor", "damaged");
}

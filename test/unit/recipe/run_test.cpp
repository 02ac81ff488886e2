// Runs: whatever interrupts one, the resumed run ends with the bits of one that was not, and its metrics are whole.
#include "qat/recipe/run.hpp"

#include <doctest/doctest.h>
#include <sys/resource.h>

#include "support/data.hpp"
#include "unit/recipe/training_chain.hpp"

using namespace qat;
using namespace qat::recipe;
using namespace qat_test;
using test::TempDir;

namespace {

/// One process's part in a run, from the same model every time.
struct RunPart {
  explicit RunPart(const std::string& directory) { options.directory = directory; }

  nn::Transformer model = tiny_model();
  std::vector<LayerRule> rules = {{"linear", parse_scheme("8da4w")}};
  bool learn_scales = false;
  std::vector<std::int32_t> tokens = chain(3000), held_out = chain(400);
  TrainConfig config = quick(24);
  RunOptions options;
  std::optional<Run> run;

  Run& begin() {
    prepare(model, rules, {.learn_scales = learn_scales});
    run.emplace(two_threads(), model, tokens, config, options, TokenWindows::contiguous(held_out, 32));
    return *run;
  }
  Run& resume() {
    options.existing = ExistingRun::kResume;
    return begin();
  }
};

void ignore(const RunStep&) {}

/// The bits of all weights, moments and scales.
std::map<std::string, std::string> bits_of(Run& run) {
  std::map<std::string, std::string> bits;
  for (const StateEntry& entry : run.trainer().state())
    bits[entry.name].assign(reinterpret_cast<const char*>(entry.tensor->data()),
                            static_cast<std::size_t>(entry.tensor->size_bytes()));
  return bits;
}

/// Lines of the metrics without what differs from run to run: times, speeds and memory.
std::vector<std::string> metrics_of(const std::string& directory) {
  std::vector<std::string> lines;
  std::istringstream text(test::read_file(directory + "/metrics.jsonl"));
  for (std::string line; std::getline(text, line);) {
    Json json = parse_json(line, "metrics");
    for (const char* key : {"seconds", "tokens_per_second", "peak_memory"}) {
      CHECK(json.at(key).get<double>() > 0.0);
      json.erase(key);
    }
    if (json.contains("validation")) json["validation"].erase("seconds");
    lines.push_back(json.dump());
  }
  return lines;
}

struct Stop {};  // what the tests throw where a process would die

}  // namespace

TEST_CASE("a run that was interrupted or killed at any step ends as one that was not, and so do its metrics") {
  const TempDir dir;
  const auto configure = [](RunPart& part) {
    part.rules = {{"linear", parse_scheme("weight=int4:group32:asymmetric")}};
    part.learn_scales = true;
    part.config.delay_fake_quant_steps = 9;
    part.options.checkpoint_every = 5;
    part.options.validate_every = 4;
  };
  RunPart whole(dir / "whole");
  configure(whole);
  CHECK(whole.begin().drive(ignore));
  const auto expected = metrics_of(dir / "whole");
  CHECK(expected.size() == 24);
  CHECK(contains(expected[3], "validation"));
  CHECK_FALSE(contains(expected[4], "validation"));

  for (const bool killed : {false, true}) {
    CAPTURE(killed);
    const std::string place = dir / (killed ? "killed" : "interrupted");
    index_t next = 0;
    for (const index_t stop : {0, 2, 8, 9, 14, 15, 22, 24}) {
      CAPTURE(stop);
      RunPart part(place);
      configure(part);
      Run& run = part.resume();
      CHECK(run.first_step() == (killed ? next / 5 * 5 : next));
      CHECK(run.missing_metrics() == 0);
      const auto until = [&](const RunStep& step) {
        if (step.report.step + 1 < stop) return;
        if (killed) throw Stop();
        std::raise(SIGINT);
      };
      if (stop == 0) continue;
      bool done = false;
      try {
        done = run.drive(until);
      } catch (const Stop&) {
      }
      CHECK(done == (stop == 24 && !killed));
      CHECK(Interruption::number() == (killed ? 0 : SIGINT));
      next = run.trainer().next_step();
      CHECK(next == stop);
    }
    RunPart part(place);
    configure(part);
    Run& run = part.resume();
    CHECK(run.first_step() == 24);  // there is a checkpoint after the last step
    CHECK(run.drive([](const RunStep&) { FAIL("a step too many"); }));
    std::vector<index_t> first_steps;  // of the processes whose steps stand
    const Json description = read_json(place + "/run.json");
    for (const Json& process : description.at("processes")) first_steps.push_back(process.at("first_step"));
    CHECK(first_steps ==
          (killed ? std::vector<index_t>{0, 5, 10, 15, 20, 24} : std::vector<index_t>{0, 2, 8, 9, 14, 15, 22, 24}));
    CHECK(bits_of(run) == bits_of(*whole.run));
    CHECK(metrics_of(place) == expected);
    CHECK(same_bits(logits(part.model), logits(whole.model)));
  }
}

TEST_CASE("validation changes no bit of training, and states what floating point and the shipped model lose") {
  for (const bool learn : {false, true})
    for (const index_t delay : {0, 7, 24}) {
      CAPTURE(learn);
      CAPTURE(delay);
      const TempDir dir;
      RunPart silent(dir / "silent"), scored(dir / "scored");
      for (RunPart* part : {&silent, &scored}) {
        part->rules = {{"linear", parse_scheme("weight=int3:group32:asymmetric")}};
        part->learn_scales = learn;
        part->config.delay_fake_quant_steps = delay;
      }
      silent.held_out = chain(40);
      scored.options.validate_every = 1;
      silent.begin().drive(ignore);
      ValidationLoss last;
      scored.begin().drive([&](const RunStep& step) {
        REQUIRE(step.validation.has_value());
        REQUIRE(step.validation->quantized.has_value());
        last = *step.validation;
        CHECK(last.floating != *last.quantized);
      });
      CHECK(bits_of(*silent.run) == bits_of(*scored.run));
      const TokenWindows windows = TokenWindows::contiguous(scored.held_out, 32);
      CHECK(evaluate(two_threads(), scored.model, windows).nats_per_token() == *last.quantized);
      if (delay < 24) {
        convert(two_threads(), scored.model);
        CHECK(evaluate(two_threads(), scored.model, windows).nats_per_token() == *last.quantized);
        restore_float(silent.model);
        CHECK(evaluate(two_threads(), silent.model, windows).nats_per_token() == last.floating);
      }
    }
}

TEST_CASE("a model without prepared layers has a float loss alone") {
  const TempDir dir;
  RunPart part(dir / "d");
  part.rules.clear();
  index_t scored = 0;
  part.begin().drive([&](const RunStep& step) {
    scored += step.validation.has_value();
    if (step.validation) CHECK_FALSE(step.validation->quantized.has_value());
  });
  CHECK(scored == 1);  // after the last step
}

TEST_CASE("checkpoints are written when due and at the end, the newest are kept") {
  const TempDir dir;
  RunPart part(dir / "d");
  part.options.checkpoint_every = 5;
  part.options.keep_last = 3;
  Run& run = part.begin();
  run.drive([&](const RunStep& step) {
    const index_t done = step.report.step + 1;
    CHECK((step.checkpoint_seconds > 0.0) == (done % 5 == 0 || done == 24));
    CHECK(step.seconds_left >= 0.0);
    CHECK((step.seconds_left == 0.0) == (done == 24));
    CHECK(step.peak_memory > 1000000);
  });
  CHECK(run.directory().checkpoint_steps() == std::vector<index_t>{15, 20, 24});
  const RunTime& time = run.time();
  CHECK(time.steps > 0.0);
  CHECK(time.validation > 0.0);
  CHECK(time.checkpoints > 0.0);
  CHECK(time.total >= time.steps + time.validation + time.checkpoints);
  CHECK(time.overhead() * time.steps >= time.checkpoints);
}

TEST_CASE("a disk that is full ends the run with the file named and the checkpoint before intact") {
  const TempDir dir;
  RunPart whole(dir / "whole"), part(dir / "d");
  whole.begin().drive(ignore);
  part.options.checkpoint_every = 10;
  Run& run = part.begin();
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const auto full_after_15 = [&](const RunStep& step) {
    if (step.report.step != 15) return;
    rlimit tight = before;
    tight.rlim_cur = 1 << 17;  // the metrics fit, a checkpoint does not
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &tight) == 0);
  };
  QAT_CHECK_ERROR(run.drive(full_after_15), "state.safetensors: cannot write: File too large");
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &before) == 0);
  std::signal(SIGXFSZ, handler);
  CHECK(list_directory(dir / "d/checkpoints") == std::vector<std::string>{"step-000010"});
  part.run.reset();
  RunPart again(dir / "d");
  CHECK(again.resume().first_step() == 10);
  CHECK(again.run->drive(ignore));
  CHECK(bits_of(*again.run) == bits_of(*whole.run));
  CHECK(metrics_of(dir / "d") == metrics_of(dir / "whole"));
}

TEST_CASE("another run in the directory is refused, resumed only if it is the same, replaced when told to") {
  const TempDir dir;
  {
    RunPart part(dir / "d");
    part.options.checkpoint_every = 10;
    part.begin().drive(ignore);
  }
  RunPart refused(dir / "d"), other(dir / "d"), damaged(dir / "d"), replaced(dir / "d");
  QAT_CHECK_ERROR(refused.begin(), "d: holds a run of 24 steps, with a checkpoint after step 24");
  other.config.seed = 3;
  QAT_CHECK_ERROR(other.resume(), "d/run.json: is another run: training.seed is 0 in the run there, 3 in this one");
  const std::string path = dir / "d/checkpoints/step-000024/state.safetensors";
  const std::string bytes = test::read_file(path);
  test::write_bytes(path, bytes.substr(0, bytes.size() / 2));
  QAT_CHECK_ERROR(damaged.resume(), "step-000024/state.safetensors", "remove ", "step-000024 to go on after step 20");
  damaged.run.reset();
  remove_directory(dir / "d/checkpoints/step-000020");
  RunPart alone(dir / "d");
  const std::string message = test::error_of([&] { alone.resume(); });
  CHECK(contains(message, "step-000024/state.safetensors"));
  CHECK_FALSE(contains(message, "remove "));
  CHECK(metrics_of(dir / "d").size() == 24);
  replaced.config.seed = 3;
  replaced.options.existing = ExistingRun::kOverwrite;
  replaced.options.description = {{"note", "again"}};
  CHECK(replaced.begin().first_step() == 0);
  CHECK(metrics_of(dir / "d").empty());
  CHECK(read_json(dir / "d/run.json").at("note") == "again");
  RunPart negative(dir / "negative");
  negative.options.keep_last = -1;
  QAT_CHECK_ERROR(negative.begin(), "keep_last -1");
}

TEST_CASE("with averaged weights a run scores and ends with them, and a resumed one to the same bits") {
  const TempDir dir;
  const auto configure = [](RunPart& part) {
    part.config.ema_decay = 0.9;
    part.options.checkpoint_every = 5;
    part.options.validate_every = 6;
  };
  RunPart whole(dir / "whole"), plain(dir / "plain");
  configure(whole);
  configure(plain);
  plain.config.ema_decay = 0.0;
  ValidationLoss last, last_plain;
  whole.begin().drive([&](const RunStep& step) { last = step.validation.value_or(last); });
  plain.begin().drive([&](const RunStep& step) { last_plain = step.validation.value_or(last_plain); });
  const TokenWindows windows = TokenWindows::contiguous(whole.held_out, 32);
  CHECK(last.quantized == evaluate(two_threads(), whole.model, windows).nats_per_token());
  CHECK(last.quantized != last_plain.quantized);

  RunPart first(dir / "parts"), second(dir / "parts"), third(dir / "parts");
  for (RunPart* part : {&first, &second, &third}) configure(*part);
  CHECK_THROWS_AS(first.begin().drive([](const RunStep& step) {
    if (step.report.step == 12) throw Stop();
  }),
                  Stop);
  first.run.reset();
  second.resume().drive(ignore);
  CHECK(same_bits(logits(second.model), logits(whole.model)));
  CHECK(metrics_of(dir / "parts") == metrics_of(dir / "whole"));
  second.run.reset();
  third.resume().drive(ignore);  // a finished run: to its end
  CHECK(same_bits(logits(third.model), logits(whole.model)));
  plain.run.reset();
  RunPart other(dir / "plain");
  configure(other);
  QAT_CHECK_ERROR(other.resume(), "run.json", "training.ema_decay is absent in the run there, 0.9 in this one");
}

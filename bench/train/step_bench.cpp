// Times training steps of a Llama with random weights on random tokens, several schemes in alternation: one step of
// each, again and again. Prints one JSON object a scheme: median milliseconds of a step and of its parts, the share of
// this core's multiply-add ceiling (measured between the steps) and the peak memory of a step.
//
// Usage: step_bench [--shape 260k|12m] [--threads N] [--steps N] SCHEME...
//   SCHEME: float, or any scheme of recipe::parse_scheme; with "+head" behind it the tied head is quantized too, with
//   "/bf16" last its fp32 products may round to bf16
#include <algorithm>
#include <charconv>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "../micro/ceilings.hpp"
#include "qat/recipe/train.hpp"

namespace {

using namespace qat;

struct Options {
  std::string shape = "260k";
  int threads = 1, steps = 5;
  std::vector<std::string> schemes;
};

LlamaConfig shape_of(const std::string& name) {
  LlamaConfig c;  // tied
  if (name == "260k") {
    c.dim = 64, c.hidden_dim = 172, c.n_layers = 5, c.n_heads = 8, c.n_kv_heads = 4, c.head_dim = 8, c.vocab_size = 512;
  } else {
    QAT_CHECK(name == "12m", kInvalidArgument, "--shape ", name, " is unknown, accepted: 260k, 12m");
    c.dim = 384, c.hidden_dim = 1024, c.n_layers = 6, c.n_heads = 6, c.n_kv_heads = 6, c.head_dim = 64,
    c.vocab_size = 4096;
  }
  c.max_seq_len = 512;
  return c;
}

/// Multiply-adds of matrix products, times two: forward, dX and dW of the layers, and attention over the keys a query
/// sees (forward 2 products of T/2 keys, backward 5).
double flops_of_step(const LlamaConfig& c, double tokens, double length) {
  const double d = static_cast<double>(c.dim), heads = static_cast<double>(c.n_heads * c.head_dim),
               kv = static_cast<double>(c.n_kv_heads * c.head_dim), hidden = static_cast<double>(c.hidden_dim),
               layers = static_cast<double>(c.n_layers);
  const double weights = layers * (2 * d * heads + 2 * d * kv + 3 * d * hidden) + d * static_cast<double>(c.vocab_size);
  return 6 * weights * tokens + layers * 7 * 2 * heads * (length / 2) * tokens;
}

struct Run {
  std::string name;
  nn::Transformer model;
  std::vector<std::int32_t> tokens;
  recipe::TrainConfig config;  // 8 x 256 tokens a step
  std::vector<double> step, forward, backward, update;
  index_t held_bytes = 0, peak_bytes = 0;  // between steps, during a step

  Run(const std::string& scheme, const Options& o, Run* first) : name(scheme), model(shape_of(o.shape)), tokens(65536) {
    if (first == nullptr) {
      model.randomize(1, 0.05f);
    } else {
      model.load(first->model.tensors());
    }
    const std::string products = scheme.substr(0, scheme.find("/bf16")),
                      base = products.substr(0, products.find("+head"));
    if (base != "float") {
      std::vector<recipe::LayerRule> rules = {{"linear", recipe::parse_scheme(base)}};
      if (base != products) rules.push_back({"head", recipe::parse_scheme(base)});
      recipe::prepare(model, rules);
    }
    CounterRandom random(2);
    const auto vocabulary = static_cast<std::uint32_t>(model.config().vocab_size);
    for (std::int32_t& t : tokens) t = static_cast<std::int32_t>(random.next_below(vocabulary));
    config.steps = 1000000;
    config.warmup_steps = 1;
  }
};

double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v[v.size() / 2];
}

void run(const Options& o) {
  const CpuBackend fp32(o.threads), bf16(o.threads, MatmulPrecision::kBfloat16);
  std::vector<std::unique_ptr<Run>> runs;
  std::vector<std::unique_ptr<recipe::Trainer>> trainers;
  for (const std::string& scheme : o.schemes) {
    const index_t before = memory_stats().current_bytes;
    runs.push_back(std::make_unique<Run>(scheme, o, runs.empty() ? nullptr : runs.front().get()));
    Run& r = *runs.back();
    const CpuBackend& backend = scheme.ends_with("/bf16") ? bf16 : fp32;
    trainers.push_back(std::make_unique<recipe::Trainer>(backend, r.model, r.tokens, r.config));
    trainers.back()->step();
    r.held_bytes = memory_stats().current_bytes - before;
  }
  std::vector<double> ceilings;
  for (int i = 0; i < o.steps; ++i) {
    ceilings.push_back(bench::fma_rate());
    for (std::size_t s = 0; s < runs.size(); ++s) {
      const index_t others = memory_stats().current_bytes - runs[s]->held_bytes;
      reset_peak();
      const recipe::StepReport report = trainers[s]->step();
      runs[s]->peak_bytes = memory_stats().peak_bytes - others;
      runs[s]->step.push_back(report.seconds);
      runs[s]->forward.push_back(report.forward_seconds);
      runs[s]->backward.push_back(report.backward_seconds);
      runs[s]->update.push_back(report.seconds - report.forward_seconds - report.backward_seconds);
    }
  }
  const double ceiling = median(ceilings) * o.threads;
  for (std::size_t s = 0; s < runs.size(); ++s) {
    const Run& r = *runs[s];
    const double seconds = median(r.step), forward = median(r.forward), backward = median(r.backward);
    const double rate = flops_of_step(r.model.config(), 2048, 256) / seconds;
    std::printf(
        "{\"scheme\": \"%s\", \"shape\": \"%s\", \"threads\": %d, \"steps\": %d, \"median_ms\": %.3f, "
        "\"fastest_ms\": %.3f, \"forward_ms\": %.3f, \"backward_ms\": %.3f, \"update_ms\": %.3f, \"over_first\": %.4f, "
        "\"gflops\": %.1f, \"fma_gflops\": %.1f, \"of_fma\": %.3f, \"peak_bytes\": %td}\n",
        r.name.c_str(), o.shape.c_str(), o.threads, o.steps, seconds * 1e3,
        *std::min_element(r.step.begin(), r.step.end()) * 1e3, forward * 1e3, backward * 1e3, median(r.update) * 1e3,
        seconds / median(runs[0]->step), rate * 1e-9, ceiling * 1e-9, ceiling > 0 ? rate / ceiling : 0.0, r.peak_bytes);
  }
}

int number(std::string_view option, std::string_view text) {
  int n = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  QAT_CHECK(error == std::errc() && end == text.data() + text.size() && n >= 1, kInvalidArgument, option, " is ", text,
            ", must be a positive integer");
  return n;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    Options o;
    for (int i = 1; i < argc; ++i) {
      const std::string_view argument = argv[i];
      if (!argument.starts_with("--")) {
        o.schemes.emplace_back(argument);
        continue;
      }
      QAT_CHECK(i + 1 < argc, kInvalidArgument, argument, " needs a value");
      const std::string_view value = argv[++i];
      if (argument == "--shape") {
        o.shape = value;
      } else if (argument == "--threads") {
        o.threads = number(argument, value);
      } else {
        QAT_CHECK(argument == "--steps", kInvalidArgument, argument, " is unknown");
        o.steps = number(argument, value);
      }
    }
    QAT_CHECK(!o.schemes.empty(), kInvalidArgument,
              "usage: step_bench [--shape 260k|12m] [--threads N] [--steps N] SCHEME...");
    run(o);
  } catch (const qat::Error& e) {
    std::fprintf(stderr, "step_bench: %s\n", e.what());
    return 2;
  }
  return 0;
}

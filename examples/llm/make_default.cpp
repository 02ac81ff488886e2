// make-default OUT_DIR [STEPS]: makes examples/llm/default/ again: text, tokenizer, a model trained from nothing,
// valid.txt.
#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "default_model.hpp"
#include "qat/data/bpe_tokenizer.hpp"
#include "qat/io/hf_llama.hpp"
#include "qat/optim/adamw.hpp"
#include "qat/optim/grad_clip.hpp"
#include "qat/optim/schedule.hpp"
#include "qat/recipe/evaluate.hpp"
#include "qat/recipe/prepare.hpp"

namespace {

using namespace qat;

constexpr index_t kSteps = 8000, kBatchTokens = 2048;
constexpr std::size_t kTextBytes = 20'000'000;  // every document is seen about three times
constexpr double kPeakRate = 4e-3;
constexpr float kDeviation = 0.25f;

double nats(const CpuBackend& backend, nn::Transformer& model, const TokenWindows& windows) {
  return recipe::evaluate(backend, model, windows).nats_per_token();
}

/// How much rounding the weights costs, in nats per token.
double damage(const CpuBackend& backend, nn::Transformer& model, const TokenWindows& windows, const char* spec) {
  nn::Transformer rounded(model.config());
  rounded.load(model.tensors());
  recipe::quantize(backend, rounded, {{"linear", {parse_spec(spec), {}}}});
  return nats(backend, rounded, windows) - nats(backend, model, windows);
}

void train(const CpuBackend& backend, nn::Transformer& model, const TokenStream& text, const TokenStream& valid,
           index_t steps) {
  const std::vector<Parameter*> parameters = model.parameters();
  // No weight decay: it keeps weights small and rounding cheap, and the point of this model is that rounding hurts.
  AdamW optimizer(parameters, {.lr = kPeakRate, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .weight_decay = 0.0});
  const LearningRateSchedule schedule{ScheduleKind::kCosine, kPeakRate, 0.0, steps < 1000 ? steps / 10 : 100, steps};
  std::vector<std::int32_t> inputs(kBatchTokens), targets(kBatchTokens);
  const View<const std::int32_t, 1> x = view(std::as_const(inputs).data(), kBatchTokens);
  const View<const std::int32_t, 1> y = view(std::as_const(targets).data(), kBatchTokens);
  const auto start = std::chrono::steady_clock::now();
  double sum = 0.0;
  for (index_t step = 0; step < steps; ++step) {
    // Facts are learned within a document, which short windows hold; the last fifth makes the model used to long ones.
    const index_t length = step < steps - steps / 5 ? 128 : 512, batch = kBatchTokens / length;
    BatchSampler(text.tokens, batch, length, /*seed=*/1)
        .sample(static_cast<std::uint64_t>(step), inputs.data(), targets.data());
    zero_grad(parameters);
    Tape tape(backend);
    ops::CrossEntropyResult result;
    tape.backward(model.loss(tape, x, y, batch, &result));
    clip_grad_norm(backend, parameters, 1.0);
    optimizer.set_learning_rate(schedule.at(step));
    optimizer.step(backend);
    sum += result.mean();
    if ((step + 1) % 250 == 0) {
      const TokenWindows windows = TokenWindows::contiguous(std::span(valid.tokens).first(6000), length);
      std::printf("step %5td of %td  train %.4f  valid %.4f  int4 %+.4f  int2 %+.4f  %.0f s\n", step + 1, steps,
                  sum / 250, nats(backend, model, windows), damage(backend, model, windows, "int4:group32:symmetric"),
                  damage(backend, model, windows, "int2:group32:symmetric"),
                  std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
      std::fflush(stdout);
      sum = 0.0;
    }
  }
}

int run(int argc, char** argv) {
  QAT_CHECK(argc == 2 || argc == 3, kInvalidArgument, "usage: make-default OUT_DIR [STEPS]");
  const std::string directory = argv[1];
  const index_t steps = argc == 3 ? std::atol(argv[2]) : kSteps;
  QAT_CHECK(steps >= 1, kInvalidArgument, "STEPS is ", argv[2], "; accepted: at least 1");

  make_directory(directory);
  write_file(join_path(directory, "tokenizer.json"), qat_llm::default_tokenizer_json());
  write_file(join_path(directory, "valid.txt"), qat_llm::default_valid_text());
  const BpeTokenizer tokenizer(join_path(directory, "tokenizer.json"));
  const LlamaConfig config = qat_llm::default_config();
  const TokenStream text = make_token_stream(qat_llm::DefaultText().text(qat_llm::DefaultText::kTrainBegin, kTextBytes),
                                             tokenizer, config.vocab_size, "training text");
  const TokenStream valid = load_token_stream(join_path(directory, "valid.txt"), tokenizer, config.vocab_size);

  const CpuBackend& backend = CpuBackend::shared();
  nn::Transformer model(config);
  model.randomize(/*seed=*/1, kDeviation);
  index_t count = 0;
  for (const Parameter* p : model.parameters()) count += p->value.size();
  std::printf("%td parameters; %zu tokens to train on, %zu to judge by\n", count, text.tokens.size(),
              valid.tokens.size());
  train(backend, model, text, valid, steps);
  write_hf_llama({config, model.tensors()}, directory);

  const TokenWindows windows = TokenWindows::contiguous(valid.tokens, 512);
  std::printf("%-38s %.4f nats per token\n", "float", nats(backend, model, windows));
  for (const char* spec : {"int8:group32:symmetric", "int4:group32:symmetric", "int4:group32:signed_extremum:bf16safe",
                           "int3:group32:symmetric", "int3:group32:signed_extremum:bf16safe", "int2:group32:symmetric",
                           "int2:group32:signed_extremum:bf16safe"})
    std::printf("%-38s %+.4f\n", spec, damage(backend, model, windows, spec));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "make-default: %s\n", error.what());
    return 2;
  }
}

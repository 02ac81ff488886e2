// Real checkpoints against recorded results: Hugging Face's tiny models (logits, loss, gradients) and stories260K
// (greedy text of llama2.c, nats per token of the stream protocol).
#include <doctest/doctest.h>

#include <cmath>

#include "golden/checkpoint_record.hpp"
#include "qat/data/load_tokenizer.hpp"
#include "qat/data/token_stream.hpp"
#include "qat/io/llama.hpp"
#include "qat/nn/transformer.hpp"
#include "qat/recipe/multiple_choice.hpp"
#include "support/data.hpp"

using namespace qat;

namespace {

nn::Transformer load_model(const std::string& path) {
  LlamaWeights weights = load_llama(path);
  nn::Transformer model(weights.config);
  model.load(std::move(weights.tensors));
  return model;
}

}  // namespace

TEST_CASE("checkpoints of every architecture give the logits, loss and gradients that transformers recorded") {
  std::vector<std::string> folders = {(test::golden_dir() / "hf-tiny" / "gpt2").string()};
  if (const auto root = test::shared_data("hf-tiny"))
    for (const char* name : {"llama-tied", "llama-untied-ffn84", "llama-llama3rope-sharded", "llama-bf16",
                             "llama-headdim24", "mistral-window", "qwen2", "qwen3", "gemma", "gpt2"})
      folders.push_back((*root / name).string());
  for (const std::string& folder : folders) {
    CAPTURE(folder);
    for (const Target target : {Target::kBaseline, active_target()}) {
      const ScopedTarget forced(target);
      const golden::RecordDifferences found = golden::compare_with_record(CpuBackend::shared(), folder);
      CAPTURE(found.worst_gradient);
      CHECK(found.logits < golden::RecordDifferences::kLogits);
      CHECK(found.loss < golden::RecordDifferences::kLoss);
      CHECK(found.gradient_norms < golden::RecordDifferences::kGradientNorms);
      CHECK(found.gradients < golden::RecordDifferences::kGradients);
    }
  }
}

TEST_CASE("stories260K continues greedily as llama2.c does, and decoding equals the full forward pass") {
  const auto model_path = test::shared_data("stories260K/stories260K.bin");
  const auto golden = test::shared_data("golden/stories260K_greedy200.txt");
  if (!model_path || !golden) return;
  const CpuBackend& backend = CpuBackend::shared();
  nn::Transformer model = load_model(model_path->string());
  const auto tokenizer = load_model_tokenizer(model_path->string(), model.config().vocab_size);
  nn::KvCache cache(model.config(), 1, 200);
  std::vector<std::int32_t> tokens = {tokenizer->bos_id()};
  Tensor<float> step_logits({200, model.config().vocab_size});
  for (index_t i = 0; i < 200; ++i) {
    const Tensor<float> logits = model.decode(backend, cache, view(std::as_const(tokens).data() + i, 1));
    std::int32_t best = 0;
    for (index_t v = 0; v < logits.size(); ++v) {
      step_logits[i * logits.size() + v] = logits[v];
      if (logits[v] > logits[best]) best = static_cast<std::int32_t>(v);
    }
    if (best == tokenizer->bos_id()) break;
    tokens.push_back(best);
  }
  std::string text = tokenizer->decode(tokens), wanted = test::read_file(*golden);
  while (!wanted.empty() && wanted.back() == '\n') wanted.pop_back();
  while (!text.empty() && text.back() == '\n') text.pop_back();
  CHECK(tokens.size() == 201);
  CHECK(text == wanted);

  const Tensor<float> full = model.forward(backend, view(std::as_const(tokens).data(), 200), 1);
  index_t different = 0;
  for (index_t i = 0; i < full.size(); ++i)
    different += std::bit_cast<std::uint32_t>(full[i]) != std::bit_cast<std::uint32_t>(step_logits[i]);
  CHECK(different == 0);
}

TEST_CASE("stories260K has 1.3861 nats per token under the stream protocol") {
  const auto model_path = test::shared_data("stories260K/stories260K.bin");
  const auto data = test::shared_data("tinystories/v2-valid.txt");
  if (!model_path || !data) return;
  const CpuBackend& backend = CpuBackend::shared();
  nn::Transformer model = load_model(model_path->string());
  const auto tokenizer = load_model_tokenizer(model_path->string(), model.config().vocab_size);
  const TokenStream stream = load_token_stream(data->string(), *tokenizer, model.config().vocab_size);
  const TokenWindows windows = TokenWindows::contiguous(stream.tokens, 512, data->string());
  ops::CrossEntropyResult total;
  for (index_t i = 0; i < windows.count(); ++i) {
    const auto inputs = windows.inputs(i), targets = windows.targets(i);
    const auto part = model.evaluate(backend, view(inputs.data(), 512), view(targets.data(), 512), 1);
    total.sum += part.sum;
    total.targets += part.targets;
  }
  const double nats = total.sum / static_cast<double>(total.targets);
  MESSAGE("nats per token ", nats, " over ", total.targets, " tokens");
  CHECK(std::fabs(nats - 1.3861) < 0.0005);
}

TEST_CASE("stories260K finds 57.8 % of the true next sentences by log-probability per byte") {
  const auto model_path = test::shared_data("stories260K/stories260K.bin");
  const auto data = test::shared_data("tinystories/cloze_v2_valid.jsonl");
  if (!model_path || !data) return;
  nn::Transformer model = load_model(model_path->string());
  const auto tokenizer = load_model_tokenizer(model_path->string(), model.config().vocab_size);
  std::vector<ChoiceItem> items = load_choice_items(data->string());
#if defined(QAT_ADDRESS_SANITIZER)
  items.resize(20);  // all of them take minutes there
#endif
  const recipe::ChoiceScores s =
      recipe::score_choices(CpuBackend::shared(), model, *tokenizer, items, data->string(), [](index_t, index_t) {});
  MESSAGE("acc ", s.acc(), ", acc_norm ", s.acc_norm(), " over ", s.items, " items");
  CHECK(s.items == std::ssize(items));
#if !defined(QAT_ADDRESS_SANITIZER)
  CHECK(s.items == 600);
  CHECK(std::fabs(s.acc_norm() - 0.578) < 0.0015);  // one item of 600 is 0.0017
#endif
}

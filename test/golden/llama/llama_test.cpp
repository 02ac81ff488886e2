// Real checkpoints against recorded results: Hugging Face's tiny Llama models (logits, loss, gradients) and stories260K
// (greedy text of llama2.c, nats per token of the stream protocol).
#include <doctest/doctest.h>

#include <cmath>

#include "qat/data/load_tokenizer.hpp"
#include "qat/data/token_stream.hpp"
#include "qat/io/json.hpp"
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

double largest_difference(const float* x, const std::vector<double>& expected) {
  double worst = 0.0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double difference = std::fabs(static_cast<double>(x[i]) - expected[i]);
    worst = difference <= worst ? worst : difference;  // keeps a NaN
  }
  return worst;
}

double norm(const Tensor<float>& t) {
  double total = 0.0;
  for (const float v : t) total += static_cast<double>(v) * static_cast<double>(v);
  return std::sqrt(total);
}

}  // namespace

TEST_CASE("Hugging Face's tiny Llama checkpoints give the recorded logits, loss and gradients") {
  const CpuBackend& backend = CpuBackend::shared();
  const auto root = test::shared_data("hf-tiny");
  if (!root) return;
  for (const char* name :
       {"llama-tied", "llama-untied-ffn84", "llama-llama3rope-sharded", "llama-bf16", "llama-headdim24"}) {
    CAPTURE(name);
    const std::string folder = (*root / name).string();
    nn::Transformer model = load_model(folder);
    const Safetensors expected = Safetensors::open(folder + "/expected.safetensors");
    const std::vector<std::int64_t> ids = expected.at("input_ids").values<std::int64_t>(DType::kI64);
    const index_t batch = 2, length = static_cast<index_t>(ids.size()) / batch;
    Tensor<std::int32_t> tokens({batch * length}), targets({batch * length});
    for (index_t i = 0; i < batch * length; ++i) {
      tokens[i] = static_cast<std::int32_t>(ids[static_cast<std::size_t>(i)]);
      const bool last = i % length == length - 1;
      targets[i] = last ? ops::kIgnoreIndex : static_cast<std::int32_t>(ids[static_cast<std::size_t>(i) + 1]);
    }

    const Tensor<float> logits = model.forward(backend, std::as_const(tokens).flat(), batch);
    const std::vector<double> logits64 = expected.at("logits_f64").values<double>(DType::kF64);
    const std::vector<float> logits32 = expected.at("logits_f32").values<float>(DType::kF32);
    REQUIRE(logits64.size() == static_cast<std::size_t>(logits.size()));
    CHECK(largest_difference(logits.data(), logits64) < 2e-5);
    CHECK(largest_difference(logits.data(), std::vector<double>(logits32.begin(), logits32.end())) < 2e-5);

    Tape tape(backend);
    zero_grad(model.parameters());
    const Variable loss = model.loss(tape, std::as_const(tokens).flat(), std::as_const(targets).flat(), batch);
    const Json record = read_json(folder + "/expected.json");
    CHECK(std::fabs(static_cast<double>(tape.value(loss)[0]) - record["loss_f64"].get<double>()) < 2e-6);
    tape.backward(loss);
    CHECK(record["grad_norm_f64"].size() == model.parameters().size());
    for (const Parameter* p : model.parameters()) {
      CAPTURE(p->name);
      const double wanted = record["grad_norm_f64"][p->name].get<double>();
      CHECK(std::fabs(norm(p->grad) / wanted - 1.0) < 1e-4);
    }
    const Safetensors gradients = Safetensors::open(folder + "/expected_grads.safetensors");
    index_t compared = 0;
    for (const auto& [tensor_name, tensor] : gradients.tensors()) {
      for (const Parameter* p : model.parameters()) {
        if (p->name != tensor_name) continue;
        CAPTURE(p->name);
        const std::vector<float> wanted = tensor.values<float>(DType::kF32);
        REQUIRE(wanted.size() == static_cast<std::size_t>(p->grad.size()));
        const double scale = norm(p->grad);
        CHECK(largest_difference(p->grad.data(), std::vector<double>(wanted.begin(), wanted.end())) < 1e-5 * scale);
        ++compared;
      }
    }
    CHECK(compared == static_cast<index_t>(gradients.tensors().size()));
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
#if defined(__SANITIZE_ADDRESS__)
  items.resize(20);  // all of them take minutes there
#endif
  const recipe::ChoiceScores s =
      recipe::score_choices(CpuBackend::shared(), model, *tokenizer, items, data->string(), [](index_t, index_t) {});
  MESSAGE("acc ", s.acc(), ", acc_norm ", s.acc_norm(), " over ", s.items, " items");
  CHECK(s.items == std::ssize(items));
#if !defined(__SANITIZE_ADDRESS__)
  CHECK(s.items == 600);
  CHECK(std::fabs(s.acc_norm() - 0.578) < 0.0015);  // one item of 600 is 0.0017
#endif
}

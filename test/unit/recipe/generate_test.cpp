// Generation: the tokens are those that full forward passes choose; where it ends, and what it refuses.
#include "qat/recipe/generate.hpp"

#include <doctest/doctest.h>

#include "qat/data/byte_tokenizer.hpp"
#include "unit/recipe/tiny_model.hpp"

using namespace qat_test;
using qat::recipe::generate;
using qat::recipe::Generation;
using qat::recipe::GenerationEnd;

namespace {

/// Reads and writes bytes; context of 64 tokens. No token ends a text unless `end` says so.
nn::Transformer byte_model(std::int32_t end = -1) {
  LlamaConfig config = tiny_config(false);
  config.vocab_size = 256;
  config.bos_id = config.eos_id = end;
  nn::Transformer model(config);
  model.randomize(4, 0.2f);
  return model;
}
Generation run(nn::Transformer& model, const std::string& prompt, index_t count,
               const nn::SamplingOptions& options = {}, const CpuBackend& backend = two_threads()) {
  return generate(backend, model, ByteTokenizer(), prompt, count, options, [](const std::string&) {});
}

}  // namespace

TEST_CASE("each token is the one that a full forward pass over all before it would choose") {
  nn::Transformer model = byte_model();
  for (const bool packed : {false, true}) {
    if (packed) recipe::quantize(two_threads(), model, {{"linear", recipe::parse_scheme("8da4w")}});
    const nn::SamplingOptions options{0.8f, 40, 0.9f, 11};
    const Generation g = run(model, "the cat", 20, options);
    CHECK(g.prompt_tokens == 8);  // with BOS
    CHECK(g.generated() == 20);
    CHECK(g.decode_steps == 19);
    nn::Sampler sampler(options);
    for (std::size_t n = 8; n < g.tokens.size(); ++n) {
      const std::vector<std::int32_t> before(g.tokens.begin(), g.tokens.begin() + static_cast<std::ptrdiff_t>(n));
      const Tensor<float> logits = model.forward(two_threads(), view_of(before), 1);
      const auto rows = static_cast<index_t>(n);
      CHECK(sampler(logits.flat().slice(0, (rows - 1) * 256, 256)) == g.tokens[n]);
    }
  }
}

TEST_CASE("a seed gives the same text on any number of threads") {
  nn::Transformer model = byte_model();
  recipe::quantize(two_threads(), model, {{"linear", recipe::parse_scheme("8da4w")}});
  const CpuBackend one(1), three(3);
  const nn::SamplingOptions options{1.0f, 0, 1.0f, 3};
  const Generation a = run(model, "the cat", 40, options), b = run(model, "the cat", 40, options, one),
                   c = run(model, "the cat", 40, options, three), d = run(model, "the cat", 40, {1.0f, 0, 1.0f, 4});
  CHECK(a.tokens == b.tokens);
  CHECK(a.tokens == c.tokens);
  CHECK(a.tokens != d.tokens);
}

TEST_CASE("the pieces make the text, which begins with the prompt") {
  nn::Transformer model = byte_model();
  std::string text;
  const Generation g = generate(two_threads(), model, ByteTokenizer(), "the cat", 30, {1.0f},
                                [&](const std::string& piece) { text += piece; });
  CHECK(text == g.text);
  CHECK(g.text.starts_with("the cat"));
  CHECK(g.completion() == g.text.substr(7));
  CHECK(g.text == ByteTokenizer().decode(g.tokens));
}

TEST_CASE("a text ends after so many tokens, at the end token, or where the context is full") {
  nn::Transformer model = byte_model();
  const Generation whole = run(model, "the cat", 10);
  CHECK(whole.end == GenerationEnd::kCount);
  CHECK(whole.prefill_rate() > 0.0);
  CHECK(whole.decode_rate() > 0.0);
  const Generation none = run(model, "the cat", 0);
  CHECK(none.generated() == 0);
  CHECK(none.decode_rate() == 0.0);

  // The same model told that its fourth token is the end.
  const std::int32_t fourth = whole.tokens[8 + 3];
  const auto first = std::find(whole.tokens.begin() + 8, whole.tokens.end(), fourth);
  nn::Transformer ending = byte_model(fourth);
  const Generation ended = run(ending, "the cat", 10);
  CHECK(ended.end == GenerationEnd::kToken);
  CHECK(ended.tokens == std::vector<std::int32_t>(whole.tokens.begin(), first));

  LlamaConfig config = byte_model().config();
  config.add_eos(255);  // not among the ten
  config.add_eos(fourth);
  nn::Transformer second_end(config);
  second_end.randomize(4, 0.2f);
  CHECK(config.more_eos_ids == std::vector<std::int32_t>{fourth});
  CHECK(run(second_end, "the cat", 10).tokens == ended.tokens);

  const Generation full = run(model, std::string(60, 'a'), 100);  // 61 tokens of 64; the last one chosen has no place
  CHECK(full.end == GenerationEnd::kContext);
  CHECK(full.generated() == 4);
  CHECK(run(model, std::string(63, 'a'), 100).generated() == 1);
}

TEST_CASE("a prompt that the model cannot read is refused") {
  nn::Transformer model = byte_model();
  QAT_CHECK_ERROR(run(model, std::string(64, 'a'), 5), "the prompt has 65 tokens", "context is 64");
  QAT_CHECK_ERROR(run(model, "a", -1), "-1 tokens are asked for");
  QAT_CHECK_ERROR(run(model, "a", 5, {-1.0f}), "temperature is -1");
  nn::Transformer narrow = tiny_model();
  QAT_CHECK_ERROR(run(narrow, "a", 5), "prompt", "0 to 49");
}

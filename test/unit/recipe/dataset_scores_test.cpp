// Scores of data sets: every figure follows from the nats of single tokens and the answers to single items.
#include "qat/recipe/dataset_scores.hpp"

#include <doctest/doctest.h>

#include "qat/recipe/evaluate.hpp"
#include "unit/recipe/folded_bytes.hpp"
#include "unit/recipe/tiny_model.hpp"

using namespace qat;
using namespace qat_test;

namespace {

recipe::ScoredDataset score(nn::Transformer& model, const recipe::DatasetSource& source,
                            const recipe::DatasetOptions& options = {}) {
  return recipe::score_dataset(two_threads(), model, FoldedBytes(), source, options, [](index_t, index_t) {});
}

}  // namespace

TEST_CASE("the standard error of equal parts is that of a mean, and weights count as copies would") {
  const recipe::RatioSums r{"acc", {1, 0, 0, 1, 1}, {1, 1, 1, 1, 1}};
  CHECK(r.ratio() == doctest::Approx(0.6));
  CHECK(*r.standard_error() == doctest::Approx(std::sqrt(0.6 * 0.4 / 4)));
  const recipe::RatioSums weighted{"nats", {2, 9, 1}, {2, 3, 1}};
  CHECK(weighted.ratio() == 2.0);  // parts lie at 1, 3 and 1, by 2 * -1, 3 * 1 and 1 * -1 off the ratio
  CHECK(*weighted.standard_error() == doctest::Approx(std::sqrt((4.0 + 9.0 + 1.0) * 3 / 2) / 6));
  CHECK(!recipe::RatioSums{"one", {1}, {1}}.standard_error().has_value());
}

TEST_CASE("a stream's windows give the figures of evaluate(), a limit takes the first ones") {
  const test::TempDir directory;
  nn::Transformer model = tiny_model();
  std::string text;
  for (int i = 0; i < 40; ++i) text += "word" + std::to_string(i) + (i % 10 == 9 ? "\n<|endoftext|>\n" : " and ");
  test::write_bytes(directory / "t.txt", text);
  const recipe::DatasetSource source{"t", directory / "t.txt", recipe::DatasetKind::kText};
  const recipe::ScoredDataset all = score(model, source, {.length = 16});
  const TokenStream stream = make_token_stream(text, FoldedBytes(), 50, "t");
  const recipe::Evaluation expected =
      recipe::evaluate(two_threads(), model, TokenWindows::contiguous(stream.tokens, 16));
  const auto size = static_cast<double>(stream.tokens.size());
  CHECK(all.scores.find("nats_per_token")->value == doctest::Approx(expected.nats_per_token()).epsilon(1e-12));
  CHECK(all.scores.find("word_perplexity")->value ==
        doctest::Approx(expected.word_perplexity(static_cast<double>(stream.words) / size)));
  CHECK(all.scores.find("byte_perplexity")->value ==
        doctest::Approx(expected.byte_perplexity(static_cast<double>(stream.bytes) / size)));
  CHECK(all.scores.find("bits_per_byte")->value ==
        doctest::Approx(expected.bits_per_byte(static_cast<double>(stream.bytes) / size)));
  CHECK(all.description.targets == expected.targets);
  CHECK(*all.scores.find("nats_per_token")->standard_error > 0.0);
  const recipe::ScoredDataset some = score(model, source, {.length = 16, .limit = 3});
  CHECK(some.description.targets == 48);
  CHECK(some.parts[0].values[2] == all.parts[0].values[2]);
  CHECK(contains(error_of([&] { score(model, source, {.length = 65}); }), "--length is 65; the model accepts 1 to 64"));
}

TEST_CASE("WikiText counts every token once, with as much context as a window holds") {
  const test::TempDir directory;
  nn::Transformer model = tiny_model();
  const std::string text = " = One = \n" + std::string(37, 'a') + " bcd , e \n = Two = \n short \n";
  test::write_bytes(directory / "w.txt", text);
  const recipe::DatasetSource source{"w", directory / "w.txt", recipe::DatasetKind::kText, true};
  const recipe::ScoredDataset scored = score(model, source, {.length = 20});
  double nats = 0.0;
  index_t targets = 0, words = 0, bytes = 0;
  for (const std::string_view article : wikitext_articles(text)) {
    const std::vector<std::int32_t> ids = FoldedBytes().encode(detokenize_wikitext(article), true);
    const auto n = std::ssize(ids) - 1;
    for (index_t t = 0; t < n; ++t) {  // target t as the last of its window
      const index_t end = (std::min)((t / 20 + 1) * 20, n), begin = (std::max)(index_t{0}, end - 20);
      const std::vector<std::int32_t> inputs(ids.begin() + begin, ids.begin() + t + 1);
      const Tensor<float> logits = model.forward(two_threads(), view_of(inputs), 1);
      const float* row = logits.data() + (std::ssize(inputs) - 1) * 50;
      double sum = 0.0;
      for (int c = 0; c < 50; ++c) sum += std::exp(static_cast<double>(row[c]));
      nats += std::log(sum) - static_cast<double>(row[ids[static_cast<std::size_t>(t + 1)]]);
    }
    targets += n;
    words += count_wikitext_words(article);
    bytes += std::ssize(article);
  }
  CHECK(scored.description.targets == targets);
  CHECK(scored.description.words == words);
  CHECK(scored.description.bytes == bytes);
  CHECK(scored.scores.find("word_perplexity")->value ==
        doctest::Approx(std::exp(nats / static_cast<double>(words))).epsilon(1e-5));
  CHECK(score(model, source, {.length = 20, .limit = 1}).description.targets < targets);
}

TEST_CASE("differences are paired on the same data and on no other") {
  const test::TempDir directory;
  nn::Transformer model = tiny_model(), other = tiny_model(false, 2);
  std::string lines;
  for (int i = 0; i < 30; ++i)
    lines += "{\"ctx\": \"item " + std::to_string(i) + "\", \"endings\": [\"a" + std::to_string(i) +
             "\", \"b\", \"c d\"], \"label\": " + std::to_string(i % 3) + "}\n";
  test::write_bytes(directory / "c.jsonl", lines + "{\n");
  const recipe::DatasetSource source{"c", directory / "c.jsonl", recipe::DatasetKind::kChoices};
  CHECK(contains(error_of([&] { score(model, source); }), "c.jsonl:31"));
  const recipe::DatasetOptions lenient{.skip_broken = true};
  const recipe::ScoredDataset a = score(model, source, lenient), b = score(other, source, lenient);
  CHECK(a.skipped.count == 1);
  CHECK(a.description.items == 30);
  const auto differences = recipe::paired_differences(a, "A", b, "B");
  REQUIRE(differences.size() == 2);
  CHECK(differences[0].metric == "acc");
  CHECK(differences[0].difference == doctest::Approx(a.scores.find("acc")->value - b.scores.find("acc")->value));
  double squares = 0.0;
  for (std::size_t i = 0; i < 30; ++i)
    squares += std::pow(a.parts[0].values[i] - b.parts[0].values[i] - differences[0].difference, 2);
  CHECK(*differences[0].standard_error == doctest::Approx(std::sqrt(squares / 29 / 30)));
  CHECK(*recipe::paired_differences(a, "A", a, "A")[0].standard_error == 0.0);
  recipe::DatasetOptions fewer = lenient;
  fewer.limit = 20;
  CHECK(recipe::paired_differences(a, "A", score(model, source, fewer), "B").empty());
}

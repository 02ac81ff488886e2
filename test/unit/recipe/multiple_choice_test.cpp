// Multiple choice: the ending with the largest log-probability, as a forward pass over each ending alone gives it.
#include "qat/recipe/multiple_choice.hpp"

#include <doctest/doctest.h>

#include "unit/recipe/folded_bytes.hpp"
#include "unit/recipe/tiny_model.hpp"

using namespace qat;
using namespace qat_test;

namespace {

/// -log p of the ending after the context, in double precision from the logits of one sequence.
double nats_of(nn::Transformer& model, const std::string& context, const std::string& ending) {
  std::vector<std::int32_t> ids = FoldedBytes().encode(context + " " + ending, true);
  const index_t vocabulary = model.config().vocab_size, longest = model.config().max_seq_len;
  if (static_cast<index_t>(ids.size()) > longest + 1) ids.erase(ids.begin(), ids.end() - (longest + 1));
  const Tensor<float> logits =
      model.forward(two_threads(), view(static_cast<const std::int32_t*>(ids.data()), std::ssize(ids) - 1), 1);
  double nats = 0.0;
  for (index_t t = std::ssize(ids) - 2 - std::ssize(ending); t < std::ssize(ids) - 1; ++t) {  // a space comes first
    const float* row = logits.data() + t * vocabulary;
    double sum = 0.0;
    for (index_t c = 0; c < vocabulary; ++c) sum += std::exp(static_cast<double>(row[c]));
    nats += std::log(sum) - static_cast<double>(row[ids[static_cast<std::size_t>(t + 1)]]);
  }
  return nats;
}

recipe::ChoiceScores score(nn::Transformer& model, const std::vector<ChoiceItem>& items) {
  return recipe::score_choices(two_threads(), model, FoldedBytes(), items, "items", [](index_t, index_t) {});
}

}  // namespace

TEST_CASE(
    "the scores are those of each ending alone, whatever the lengths of the others; long contexts lose their "
    "beginning") {
  nn::Transformer model = tiny_model();
  const std::string contexts[] = {"", "a cat", std::string(100, 'q') + " and then"};
  const std::vector<std::string> endings = {"sat.", "went all the way home", "z", "is"};
  index_t different = 0;
  for (const std::string& context : contexts) {
    index_t best = 0, best_norm = 0;
    std::vector<double> nats, norm;
    for (const std::string& ending : endings) {
      nats.push_back(nats_of(model, context, ending));
      norm.push_back(nats.back() / static_cast<double>(ending.size()));
    }
    best = std::min_element(nats.begin(), nats.end()) - nats.begin();
    best_norm = std::min_element(norm.begin(), norm.end()) - norm.begin();
    different += best != best_norm;
    for (index_t label = 0; label < 4; ++label) {
      const recipe::ChoiceScores s = score(model, {{context, endings, label}});
      CHECK(s.acc() == (label == best ? 1.0 : 0.0));
      CHECK(s.acc_norm() == (label == best_norm ? 1.0 : 0.0));
      CHECK(s.truncated == (context.size() > 64 ? 1 : 0));
    }
  }
  CHECK(different > 0);  // or the two figures could be one
}

TEST_CASE("endings that share a context have the bits of whole sequences") {
  nn::Transformer model = tiny_model();
  for (const std::string context : {"", "x", "a context of some length"}) {
    std::vector<recipe::detail::ChoiceSequence> sequences;
    bool truncated = false;
    const std::size_t before = FoldedBytes().encode(context, true).size();
    for (const char* ending : {"same start", "same stop and more", "z"})
      sequences.push_back(
          recipe::detail::choice_sequence(FoldedBytes(), context, before, ending, 64, 50, "items", truncated));
    const auto together = recipe::detail::score_endings(two_threads(), model, sequences);
    for (std::size_t i = 0; i < sequences.size(); ++i) {
      const auto one = recipe::detail::score_endings(two_threads(), model, std::span(sequences).subspan(i, 1));
      CHECK(together[i].nats == one[0].nats);
      CHECK(together[i].targets == sequences[i].scored);
    }
    CHECK(together[2].nats == doctest::Approx(nats_of(model, context, "z")).epsilon(1e-5));
  }
}

TEST_CASE("a packed model scores as the fake-quantized one, and standard errors are those of a sample") {
  nn::Transformer model = tiny_model();
  std::vector<ChoiceItem> items;
  for (index_t i = 0; i < 24; ++i)
    items.push_back({"item " + std::to_string(i), {"a" + std::to_string(i), "b", "c d"}, i % 3});
  recipe::prepare(model, {{"linear", recipe::parse_scheme("8da4w")}});
  const recipe::ChoiceScores prepared = score(model, items);
  recipe::convert(two_threads(), model);
  const recipe::ChoiceScores packed = score(model, items);
  CHECK(packed.correct == prepared.correct);
  CHECK(packed.correct_norm == prepared.correct_norm);
  const double p = packed.acc();
  CHECK(packed.acc_stderr() == doctest::Approx(std::sqrt(p * (1 - p) * 24 / 23 / 24)));
}

TEST_CASE("what cannot be scored ends in one line that names the item") {
  nn::Transformer model = tiny_model();
  CHECK(contains(error_of([&] { score(model, {{"a", {"b", std::string(80, 'c')}, 0}}); }), "items, item 1"));
  CHECK(contains(error_of([&] { score(model, std::vector<ChoiceItem>()); }), "no items"));
  model.norm().weight().value[3] = __builtin_nanf("");
  CHECK(contains(error_of([&] { score(model, {{"a", {"b", "c"}, 0}}); }), "NaN or infinite logits"));
}

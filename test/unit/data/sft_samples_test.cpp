// Samples for supervised fine-tuning: which targets count, and every line that is refused.
#include "qat/data/sft_samples.hpp"

#include <doctest/doctest.h>

#include "qat/data/byte_tokenizer.hpp"
#include "qat/data/llama2c_tokenizer.hpp"
#include "support/data.hpp"
#include "support/files.hpp"

using namespace qat;

namespace {

SftOptions sft_options(index_t longest = 64) {
  SftOptions options;
  options.longest = longest;
  options.vocab_size = ByteTokenizer().vocab_size();
  options.chat_template = "[{role}]{content};";
  return options;
}
SftData read_samples(const std::string& text, const SftOptions& options) {
  const test::TempDir directory;
  test::write_bytes(directory / "d.jsonl", text);
  return load_sft_data(directory / "d.jsonl", ByteTokenizer(), options);
}
/// The counted targets as text.
std::string counted_text(const SftSample& sample) {
  std::vector<std::int32_t> ids;
  for (const std::int32_t t : sample.targets)
    if (t != ops::kIgnoreIndex) ids.push_back(t);
  return ByteTokenizer().decode(ids);
}

}  // namespace

TEST_CASE("the loss counts on the completion and on the end token alone") {
  SftOptions options = sft_options();
  const SftData data = read_samples("{\"prompt\": \"2+2=\", \"completion\": \"4.\", \"id\": 7}\n\n", options);
  REQUIRE(data.samples.size() == 1);
  const SftSample& s = data.samples[0];
  CHECK(counted_text(s) == "4.");
  CHECK(s.counted == 2);
  CHECK(s.line == 1);
  CHECK(s.inputs.size() == s.targets.size());
  for (std::size_t t = 0; t + 1 < s.inputs.size(); ++t)
    if (s.targets[t] != ops::kIgnoreIndex) CHECK(s.targets[t] == s.inputs[t + 1]);
  options.eos_id = 3;
  const SftSample ended = read_samples("{\"prompt\": \"2+2=\", \"completion\": \"4.\"}", options).samples[0];
  CHECK(ended.counted == 3);
  CHECK(ended.targets.back() == 3);
  CHECK(ended.inputs.size() == s.inputs.size() + 1);
}

TEST_CASE("of a conversation the assistant's messages count, with what closes them") {
  const SftData data = read_samples(
      "{\"messages\": [{\"role\": \"system\", \"content\": \"be brief\"}, {\"role\": \"user\", \"content\": \"hi\"},"
      "{\"role\": \"assistant\", \"content\": \"yo\"}, {\"role\": \"user\", \"content\": \"bye\"},"
      "{\"role\": \"assistant\", \"content\": \"ok\"}]}\n",
      sft_options(200));
  CHECK(counted_text(data.samples[0]) == "yo;ok;");
  const SftData last = read_samples(
      "{\"messages\": [{\"role\": \"assistant\", \"content\": \"yo\"}, {\"role\": \"user\", \"content\": \"x\"}]}", [] {
        SftOptions options = sft_options();
        options.eos_id = 3;
        return options;
      }());
  CHECK(counted_text(last.samples[0]) == "yo;");  // the end token follows the user's words: it does not count
}

TEST_CASE("a token that reaches from the prompt into the completion counts") {
  const auto tokenizer_path = test::shared_data("stories260K/tok512.bin");
  if (!tokenizer_path) return;
  const Llama2cTokenizer tokenizer(tokenizer_path->string());
  SftOptions options;
  options.vocab_size = 512;
  const test::TempDir directory;
  test::write_bytes(directory / "d.jsonl", "{\"prompt\": \"Once upon a t\", \"completion\": \"ime there was\"}");
  const SftSample s = load_sft_data(directory / "d.jsonl", tokenizer, options).samples[0];
  const std::vector<std::int32_t> whole = tokenizer.encode("Once upon a time there was", true);
  CHECK(std::vector<std::int32_t>(whole.begin(), whole.end() - 1) == s.inputs);
  std::vector<std::int32_t> counted;
  for (const std::int32_t t : s.targets)
    if (t != ops::kIgnoreIndex) counted.push_back(t);
  CHECK(tokenizer.decode(counted).find("time there was") != std::string::npos);
}

TEST_CASE("every broken line is an error with its number, or left out and counted where that is asked for") {
  const char* const good = "{\"prompt\": \"a\", \"completion\": \"b\"}\n";
  const struct {
    const char *line, *says;
  } cases[] = {
      {"{\"prompt\": \"a\"", "not valid JSON"},
      {"[1]", "accepted: an object with prompt and completion"},
      {"{\"completion\": \"b\"}", "prompt is missing"},
      {"{\"prompt\": 3, \"completion\": \"b\"}", "prompt is 3; accepted: a string"},
      {"{\"prompt\": \"a\", \"completion\": \"\"}", "completion is empty"},
      {"{\"messages\": []}", "messages is []"},
      {"{\"messages\": [3]}", "a message is 3"},
      {"{\"messages\": [{\"role\": \"bot\", \"content\": \"x\"}]}", "role is 'bot'; accepted: system, user, assistant"},
      {"{\"messages\": [{\"role\": \"user\"}]}", "content is missing"},
      {"{\"messages\": [{\"role\": \"user\", \"content\": \"x\"}]}", "no message is the assistant's"},
      {"{\"prompt\": \"0123456789\", \"completion\": \"b\"}", "the prompt has 11 tokens; accepted: at most 8"},
      {"{\"prompt\": \"01234\", \"completion\": \"0123456789\"}",
       "prompt and completion have 15 tokens; accepted: at most 8"},
  };
  for (const auto& c : cases) {
    SftOptions options = sft_options(8);
    const std::string text = std::string(good) + "\n" + c.line + "\n" + good;
    const std::string message = test::error_of([&] { read_samples(text, options); });
    INFO(message);
    CHECK(test::contains(message, "d.jsonl:3: "));
    CHECK(test::contains(message, c.says));
    options.skip_broken = true;
    const SftData data = read_samples(text, options);
    CHECK(data.samples.size() == 2);
    CHECK(data.samples[1].line == 4);
    CHECK(data.skipped == 1);
    CHECK(test::contains(data.first_skipped, c.says));
  }
  SftOptions options = sft_options(8);
  QAT_CHECK_ERROR(read_samples("\n \n", options), "d.jsonl: has no samples", "accepted");
  options.skip_broken = true;
  QAT_CHECK_ERROR(read_samples("{}\n", options), "has no samples", "the first line left out", "prompt is missing");
  options = sft_options();
  options.vocab_size = 10;
  QAT_CHECK_ERROR(read_samples(good, options), "d.jsonl:1", "accepted by the model's vocabulary: 0 to 9");
}

TEST_CASE("a split has every sample on one side") {
  std::string text;
  for (int i = 0; i < 10; ++i) text += "{\"prompt\": \"" + std::to_string(i) + "\", \"completion\": \"b\"}\n";
  const SftData data = read_samples(text, sft_options());
  const auto [train, held] = split_samples(data.samples, 0.3, 5, "d.jsonl");
  CHECK(train.size() == 7);
  CHECK(held.size() == 3);
  std::vector<bool> seen(11, false);
  for (const auto* part : {&train, &held})
    for (const SftSample& s : *part) {
      CHECK_FALSE(seen[static_cast<std::size_t>(s.line)]);
      seen[static_cast<std::size_t>(s.line)] = true;
    }
}

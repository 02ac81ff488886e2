// The committed default model: made by the committed generator and trainer, as good and as fragile as its README says.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "../../examples/llm/default_model.hpp"
#include "qat/data/bpe_tokenizer.hpp"
#include "qat/io/hf_llama.hpp"
#include "qat/recipe/evaluate.hpp"
#include "qat/recipe/prepare.hpp"

namespace {

using namespace qat;

constexpr std::uint64_t kFirstDocuments = 0xAE2A1EF195E8C2BD;  // FNV-1a of the first 100 kB
constexpr double kNats = 0.4852;                               // of the first 20 windows

const std::string kDirectory = std::string(QAT_SOURCE_ROOT) + "/examples/llm/default";

std::uint64_t fnv1a(std::string_view text) {
  std::uint64_t hash = 0xCBF29CE484222325u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  return hash;
}

TEST_CASE("the default text is a pure function of seed and document index") {
  const qat_llm::DefaultText text, again, other(qat_llm::DefaultText::kSeed + 1);
  CHECK(text.document(7) == again.document(7));
  CHECK(text.document(7) != text.document(8));
  CHECK(text.document(7) != other.document(7));
  const std::string two = text.text(0, text.document(0).size() + std::string(kDocumentSeparator).size() + 1);
  CHECK(two == text.document(0) + std::string(kDocumentSeparator) + text.document(1) + std::string(kDocumentSeparator));
  CHECK(fnv1a(text.text(0, 100'000)) == kFirstDocuments);
}

TEST_CASE("every document fills its templates and agrees with itself") {
  const qat_llm::DefaultText text;
  std::map<std::string, std::set<std::string>> born;
  for (std::uint64_t i = 0; i < 2000; ++i) {
    const std::string document = text.document(i);
    REQUIRE(document.find('$') == std::string::npos);
    REQUIRE(document.size() > 30);
    if (const std::size_t at = document.find(", born in "); at != std::string::npos) {
      const std::size_t name_end = document.find(' ', document.find(' ') + 1);
      born[document.substr(0, std::min(name_end, document.find(',')))].insert(
          document.substr(document.find("born in "), 12));
    }
  }
  CHECK(born.size() > 50);
  for (const auto& entry : born) CHECK_MESSAGE(entry.second.size() == 1, entry.first);
}

TEST_CASE("validation documents are not training documents") {
  const qat_llm::DefaultText text;
  std::set<std::string> train;
  for (std::uint64_t i = 0; i < 2000; ++i) train.insert(text.document(qat_llm::DefaultText::kTrainBegin + i));
  for (std::uint64_t i = 0; i < 200; ++i) CHECK(!train.contains(text.document(qat_llm::DefaultText::kValidBegin + i)));
}

TEST_CASE("byte-pair merges are the most frequent pairs, ties to the smallest ids") {
  const auto id = [](char c) { return 1 + static_cast<std::int32_t>(static_cast<unsigned char>(c)); };
  const auto merges = qat_llm::train_bpe("abab cd cd ab", 257 + 3);  // words: "abab", " cd", " cd", " ab"
  REQUIRE(merges.size() == 3);
  CHECK(merges[0] == std::pair(id('a'), id('b')));  // 3 times
  CHECK(merges[1] == std::pair(id(' '), id('c')));  // twice, as is "cd"; a space is smaller than c
  CHECK(merges[2] == std::pair(258, id('d')));
  CHECK_THROWS_AS(qat_llm::train_bpe("ab", 300), Error);
}

TEST_CASE("the committed tokenizer and validation text are what the generator gives, and round-trip") {
  const MappedFile tokenizer_file(kDirectory + "/tokenizer.json"), valid_file(kDirectory + "/valid.txt");
  CHECK(tokenizer_file.text() == qat_llm::default_tokenizer_json());
  CHECK(valid_file.text() == qat_llm::default_valid_text());
  const BpeTokenizer tokenizer(kDirectory + "/tokenizer.json");
  CHECK(tokenizer.vocab_size() == qat_llm::kDefaultVocabSize);
  CHECK(tokenizer.bos_id() == 0);
  CHECK(tokenizer.eos_id() == 0);
  std::string text(valid_file.text().substr(0, 5000));
  for (int byte = 0; byte < 256; ++byte) text += static_cast<char>(byte);
  for (const std::string_view document : split_documents(text)) {
    const std::vector<std::int32_t> ids = tokenizer.encode(document, true);
    CHECK(ids.front() == tokenizer.bos_id());
    CHECK(tokenizer.decode(ids) == document);
  }
}

TEST_CASE("the committed model has the recorded loss, and rounding its weights costs what the demo needs") {
  const LlamaWeights weights = read_hf_llama(kDirectory);
  CHECK(weights.config == qat_llm::default_config());
  const BpeTokenizer tokenizer(kDirectory + "/tokenizer.json");
  const TokenStream valid = load_token_stream(kDirectory + "/valid.txt", tokenizer, weights.config.vocab_size);
  const TokenWindows windows = TokenWindows::contiguous(std::span(valid.tokens).first(20 * 512 + 1), 512);
  const CpuBackend& backend = CpuBackend::shared();
  const auto nats = [&](const char* spec) {
    nn::Transformer model(weights.config);
    std::map<std::string, Tensor<float>> tensors;
    for (const auto& [name, tensor] : weights.tensors) tensors.emplace(name, tensor.clone());
    model.load(std::move(tensors));
    if (spec != nullptr) recipe::quantize(backend, model, {{"linear", {parse_spec(spec), {}}}});
    return recipe::evaluate(backend, model, windows).nats_per_token();
  };
  const double reference = nats(nullptr);
  CHECK(std::abs(reference - kNats) <= 0.005);
  CHECK(nats("int8:group32:symmetric") - reference < 0.005);
  CHECK(nats("int4:group32:symmetric") - reference >= 0.05);
  CHECK(nats("int2:group32:symmetric") - reference >= 1.0);
}

}  // namespace

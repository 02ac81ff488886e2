// Quantized GGUF files of llama.cpp, evaluated here in fp32 from their decoded weights.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "qat/data/gguf_vocabulary.hpp"
#include "qat/data/llama2c_tokenizer.hpp"
#include "qat/io/json.hpp"
#include "qat/io/llama.hpp"
#include "qat/nn/transformer.hpp"
#include "qat/recipe/gguf_export.hpp"
#include "support/data.hpp"
#include "support/files.hpp"

using namespace qat;

namespace {

/// Mean NLL of each story given BOS alone, at most 512 tokens of it.
struct StoryLoss {
  double sum = 0;
  index_t targets = 0;
  double mean() const { return sum / static_cast<double>(targets); }
};

StoryLoss story_loss(nn::Transformer& model, const Tokenizer& tokenizer, const std::string& text,
                     index_t stories = 1000) {
  const CpuBackend& backend = CpuBackend::shared();
  StoryLoss loss;
  const std::string separator = "<|endoftext|>";
  std::size_t begin = 0;
  while (begin < text.size() && stories-- > 0) {
    const std::size_t found = text.find(separator, begin);
    std::string_view story = std::string_view(text).substr(begin, found - begin);
    begin = found == std::string::npos ? text.size() : found + separator.size();
    const std::size_t first = story.find_first_not_of(" \n\r"), last = story.find_last_not_of(" \n\r");
    if (first == story.npos) continue;
    std::vector<std::int32_t> ids = tokenizer.encode(story.substr(first, last - first + 1), true);
    ids.resize(std::min<std::size_t>(ids.size(), 513));
    const auto n = static_cast<index_t>(ids.size()) - 1;
    const auto part =
        model.evaluate(backend, view(std::as_const(ids).data(), n), view(std::as_const(ids).data() + 1, n), 1);
    loss.sum += part.sum;
    loss.targets += part.targets;
  }
  return loss;
}

/// What a command prints; nothing where it exits with 77 or cannot be run.
std::optional<std::string> output_of(const std::string& command) {
  std::string out;
  std::FILE* const pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return std::nullopt;
  char buffer[4096];
  while (const std::size_t n = std::fread(buffer, 1, sizeof buffer, pipe)) out.append(buffer, n);
  const int status = ::pclose(pipe);
  if (WIFEXITED(status) && (WEXITSTATUS(status) == 77 || WEXITSTATUS(status) == 127)) return std::nullopt;
  CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 0));
  return out;
}

/// What tools/llamacpp_logits.py prints for its arguments; nothing, said loudly, where it or llama.cpp is not there.
std::optional<Json> score_with_llama_cpp(const std::string& arguments) {
  const auto script = test::shared_data("../tools/llamacpp_logits.py");
  if (!script) return std::nullopt;
  const char* const python = std::getenv("QAT_FOREIGN_PYTHON");
  const auto printed = output_of("'" + std::string(python != nullptr ? python : "python3") + "' '" + script->string() +
                                 "' " + arguments + " 2>/dev/null");
  if (printed) return parse_json(*printed, "llamacpp_logits.py");
  QAT_SKIP("llama.cpp", "neither llama-cpp-python nor xllamacpp of PyPI is installed: python3 test/foreign/install.py");
  return std::nullopt;
}

/// A vocabulary of n tokens for models that have none.
Vocabulary numbered_vocabulary(index_t n) {
  Vocabulary v;
  v.model = "llama";
  v.pre = "default";
  v.tokens = {"<unk>", "<s>", "</s>"};
  v.types = {TokenType::kUnknown, TokenType::kControl, TokenType::kControl};
  for (index_t i = 3; i < n; ++i) {
    v.tokens.push_back("t" + std::to_string(i));
    v.types.push_back(TokenType::kNormal);
  }
  v.scores.resize(v.tokens.size());
  v.bos = 1;
  v.eos = 2;
  v.unknown = 0;
  return v;
}

/// The values of a .npy file of float32.
std::vector<float> read_npy(const std::string& path) {
  const std::string bytes = test::read_file(path);
  const std::size_t begin = 10 + static_cast<unsigned char>(bytes[8]) + 256 * static_cast<unsigned char>(bytes[9]);
  std::vector<float> values((bytes.size() - begin) / sizeof(float));
  std::memcpy(values.data(), bytes.data() + begin, values.size() * sizeof(float));
  return values;
}

}  // namespace

TEST_CASE("llama.cpp computes our logits from GGUF files of every architecture, in floating point and as Q4_0") {
  const auto root = test::shared_data("hf-tiny");
  if (!root) return;
  // ggml takes GELU from a table of halves, and rounds the inputs of products with Q4_0 to 8 bits.
  constexpr double kFloat = 1e-5, kGelu = 2e-3, kQuantized = 0.1;
  const struct {
    const char* name;
    double tolerance;
  } models[] = {{"llama-untied-ffn84", kFloat},
                {"llama-llama3rope-sharded", kFloat},
                {"llama-headdim24", kFloat},
                {"qwen2", kFloat},
                {"qwen3", kFloat},
                {"gemma", kGelu},
                {"gpt2", kGelu}};
  for (const auto& entry : models)
    for (const char* scheme : {"", "gguf:q4_0"}) {
      const std::string name = entry.name;
      CAPTURE(name);
      CAPTURE(std::string(scheme));
      LlamaWeights weights = load_llama((*root / name).string());
      nn::Transformer model(weights.config);
      model.load(std::move(weights.tensors));
      const bool quantized = *scheme != 0;
      if (quantized) recipe::quantize(CpuBackend::shared(), model, {{"linear", recipe::parse_scheme(scheme)}});
      const index_t length = 48, vocab = model.config().vocab_size;
      CounterRandom random(7);
      std::vector<std::int32_t> ids = {1};
      std::string text;
      for (index_t i = 0; i < length; ++i) {
        ids.push_back(static_cast<std::int32_t>(3 + random.next_u32() % static_cast<std::uint32_t>(vocab - 3)));
        text += std::to_string(ids.back()) + " ";
      }
      const test::TempDir dir;
      test::write_bytes(dir / "ids", text);
      GgufMetadata vocabulary;
      add_vocabulary(vocabulary, numbered_vocabulary(vocab));
      recipe::export_gguf(model, vocabulary, dir / "m.gguf");
      const auto scored = score_with_llama_cpp("'" + (dir / "m.gguf") + "' '" + (dir / "ids") +
                                               "' --tokens --n-ctx 48 --dump-logits '" + (dir / "logits.npy") + "'");
      if (!scored) return;
      const std::vector<float> theirs = read_npy(dir / "logits.npy");
      const Tensor<float> ours = model.forward(CpuBackend::shared(), view(std::as_const(ids).data(), length), 1);
      REQUIRE(static_cast<index_t>(theirs.size()) == ours.size());
      double worst = 0.0;
      for (index_t i = 0; i < ours.size(); ++i)
        worst = std::max(worst, std::fabs(static_cast<double>(ours[i]) - theirs[static_cast<std::size_t>(i)]));
      const auto sum = model.evaluate(CpuBackend::shared(), view(std::as_const(ids).data(), length),
                                      view(std::as_const(ids).data() + 1, length), 1);
      const double loss = sum.mean(), their_loss = (*scored)["nll"].get<double>();
      MESSAGE(name, " ", std::string(scheme), ": logits differ by ", worst, ", nats per token by ", their_loss - loss,
              " of ", loss);
      CHECK(worst < (quantized ? kQuantized : entry.tolerance));
      CHECK(std::fabs(their_loss - loss) < (quantized ? 5e-3 : entry.tolerance));
    }
}

TEST_CASE("llama.cpp runs what export_gguf writes, and loses what we lose with the same weights") {
  const auto folder = test::shared_data("stories260K");
  const auto text_path = test::shared_data("tinystories/v2-valid.txt");
  if (!folder || !text_path) return;
  const Llama2cTokenizer tokenizer((*folder / "tok512.bin").string());
  LlamaWeights weights = load_llama((*folder / "stories260K.bin").string());
  nn::Transformer model(weights.config);
  model.load(std::move(weights.tensors));
  recipe::quantize(CpuBackend::shared(), model, {{"linear", recipe::parse_scheme("gguf:q4_0")}});
  const test::TempDir dir;
  GgufMetadata vocabulary;
  add_vocabulary(vocabulary, tokenizer.vocabulary());
  recipe::export_gguf(model, vocabulary, dir / "m.gguf");

  const std::string text = test::read_file(*text_path).substr(0, 20000);
  test::write_bytes(dir / "text", text);
  const auto scored =
      score_with_llama_cpp("'" + (dir / "m.gguf") + "' '" + (dir / "text") + "' --split '<|endoftext|>' --first-chunk");
  if (!scored) return;
  const Json& theirs = *scored;
  const StoryLoss ours = story_loss(model, tokenizer, text);
  MESSAGE("nats per token: ", ours.mean(), " here, ", theirs["nll"].get<double>(), " in llama.cpp, over ",
          ours.targets);
  CHECK(theirs["targets"].get<index_t>() == ours.targets);
  CHECK(std::fabs(theirs["nll"].get<double>() - ours.mean()) < 2e-3);  // llama.cpp rounds activations to Q8_0
}

TEST_CASE("llama.cpp's GGUF files of stories260K lose what llama.cpp measured, but for its 8-bit activations") {
  const auto folder = test::shared_data("stories260K-gguf");
  const auto text_path = test::shared_data("tinystories/v2-valid.txt");
  const auto tokens = test::shared_data("stories260K/tok512.bin");
  if (!folder || !text_path || !tokens) return;
  const std::string text = test::read_file(*text_path);
  const Llama2cTokenizer tokenizer(tokens->string());
  // llama.cpp on the first 100 stories; llama.cpp rounds activations to Q8_0 where weights are quantized.
  const struct {
    const char* file;
    double nats, tolerance;
  } recorded[] = {{"stories260K-F32.gguf", 1.33734, 2e-5},
                  {"stories260K-Q8_0.gguf", 1.33796, 2e-3},
                  {"stories260K-Q4_0.gguf", 1.40484, 2e-3},
                  {"stories260K-Q4_1.gguf", 1.39919, 2e-3}};
  for (const auto& r : recorded) {
    LlamaWeights weights = load_llama((*folder / r.file).string());
    nn::Transformer model(weights.config);
    model.load(std::move(weights.tensors));
    const StoryLoss loss = story_loss(model, tokenizer, text, test::full_run() ? 1000 : 100);
    MESSAGE(std::string(r.file), ": ", loss.mean(), " nats per token over ", loss.targets, " targets");
    if (!test::full_run()) CHECK(std::fabs(loss.mean() - r.nats) < r.tolerance);
  }
}

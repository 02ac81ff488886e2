// Quantized GGUF files of llama.cpp, evaluated here in fp32 from their decoded weights.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
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

}  // namespace

TEST_CASE("llama.cpp runs what export_gguf writes, and loses what we lose with the same weights") {
  const auto folder = test::shared_data("stories260K");
  const auto text_path = test::shared_data("tinystories/v2-valid.txt");
  const auto script = test::shared_data("../tools/llamacpp_logits.py");
  if (!folder || !text_path || !script) return;
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
  const char* const python = std::getenv("QAT_FOREIGN_PYTHON");
  const auto printed =
      output_of("'" + std::string(python != nullptr ? python : "python3") + "' '" + script->string() + "' '" +
                (dir / "m.gguf") + "' '" + (dir / "text") + "' --split '<|endoftext|>' --first-chunk 2>/dev/null");
  if (!printed)
    return QAT_SKIP("llama.cpp",
                    "neither llama-cpp-python nor xllamacpp of PyPI is installed: python3 test/foreign/install.py");
  const Json theirs = parse_json(*printed, "llamacpp_logits.py");
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

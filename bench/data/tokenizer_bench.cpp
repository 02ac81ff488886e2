// tokenizer_bench TEXT TOKENIZER...: bytes of the text encoded a second, as {"tokenizer", "cold", "warm", "tokens",
// "hash"} lines. cold: the first time; warm: the best of the rest. TOKENIZER as load_tokenizer() takes it, or
// VOCAB.json:MERGES.txt.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>

#include "qat/data/load_tokenizer.hpp"

namespace {

std::unique_ptr<qat::Tokenizer> load(const std::string& name) {
  const std::size_t colon = name.find(':');
  if (colon == name.npos) return qat::load_tokenizer(name);
  return std::make_unique<qat::BpeTokenizer>(
      qat::BpeTokenizer::from_gpt2_files(name.substr(0, colon), name.substr(colon + 1)));
}

double seconds(const qat::Tokenizer& tokenizer, std::string_view text, std::vector<std::int32_t>& ids) {
  const auto start = std::chrono::steady_clock::now();
  ids = tokenizer.encode(text, false);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc < 3) qat::raise(qat::ErrorCode::kInvalidArgument, "usage: tokenizer_bench TEXT TOKENIZER...");
    const qat::MappedFile text(argv[1]);
    for (int i = 2; i < argc; ++i) {
      const auto tokenizer = load(argv[i]);
      std::vector<std::int32_t> ids;
      const double cold = seconds(*tokenizer, text.text(), ids);
      double warm = cold;
      for (int round = 0; round < 3; ++round) warm = (std::min)(warm, seconds(*tokenizer, text.text(), ids));
      std::uint64_t hash = 0;  // of the ids, to see that a peer has the same
      for (const std::int32_t id : ids) hash = (hash * 31 + static_cast<std::uint64_t>(id)) % 1'000'000'007u;
      const auto size = static_cast<double>(text.size());
      std::printf("{\"tokenizer\": %s, \"cold\": %.0f, \"warm\": %.0f, \"tokens\": %zu, \"hash\": %llu}\n",
                  qat::Json(argv[i]).dump().c_str(), size / cold, size / warm, ids.size(),
                  static_cast<unsigned long long>(hash));
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}

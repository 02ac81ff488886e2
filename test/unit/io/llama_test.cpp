// One door for checkpoints: formats are recognized, and the same model is the same in each.
#include "qat/io/llama.hpp"

#include <doctest/doctest.h>

#include "support/data.hpp"
#include "support/files.hpp"
#include "support/tiny_llama.hpp"

using namespace qat;
using qat::test::TempDir;

TEST_CASE("save chooses the format by name and load recognizes it") {
  const TempDir dir;
  const LlamaWeights weights = test::tiny_llama(test::tiny_llama_config());
  save_llama(weights, dir / "m.bin");
  save_llama(weights, dir / "hf");
  CHECK(test::same_weights(load_llama(dir / "m.bin"), weights));
  CHECK(test::same_weights(load_llama(dir / "hf"), weights));
  for (const char* name : {"m.bin", "hf", "hf/config.json"}) CHECK(load_llama_config(dir / name) == weights.config);
  CHECK(test::same_weights(load_llama(dir / "hf/config.json"), weights));
  QAT_CHECK_ERROR(save_llama(weights, dir / "n.bin", DType::kBF16), "n.bin", "F32", "BF16");
}

TEST_CASE("what is no checkpoint is told what would be") {
  const TempDir dir;
  test::write_bytes(dir / "m.gguf", "GGUF\3\0\0\0");
  test::write_bytes(dir / "m.pt", "PK\x03\x04...");
  test::write_bytes(dir / "t.txt", "Once upon a time, there was a text file longer than a header.");
  QAT_CHECK_ERROR(load_llama(dir / "m.gguf"), "m.gguf: at byte", "truncated");
  QAT_CHECK_ERROR(load_llama(dir / "m.pt"), "m.pt", "zip", "accepted: a llama2.c");
  QAT_CHECK_ERROR(load_llama(dir / "t.txt"), "t.txt", "llama2.c checkpoint");
  QAT_CHECK_ERROR(load_llama(dir / "none.bin"), "none.bin", "does not exist", "accepted");
  QAT_CHECK_ERROR(load_llama(dir.path()), "config.json", "accepted");
  QAT_CHECK_ERROR(load_llama(dir / "model.safetensors"), "give its directory");
}

TEST_CASE("stories260K is the same model as llama2.c, as Hugging Face and, rounded, as bfloat16 shards") {
  const auto bin = test::shared_data("stories260K/stories260K.bin");
  const auto hf = test::shared_data("stories260K-hf"), sharded = test::shared_data("stories260K-hf-bf16-sharded");
  if (!bin || !hf || !sharded) return;
  const LlamaWeights a = load_llama(bin->string()), b = load_llama(hf->string()), c = load_llama(sharded->string());
  CHECK(a.config == b.config);
  CHECK(a.config == c.config);
  CHECK(test::same_weights(a, b));
  CHECK(a.tensors.size() == c.tensors.size());
  for (const auto& [name, tensor] : a.tensors)
    for (index_t i = 0; i < tensor.size(); ++i)
      REQUIRE(c.tensors.at(name)[i] == static_cast<float>(bfloat16(tensor[i])));
}

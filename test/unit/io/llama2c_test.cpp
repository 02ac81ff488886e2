// llama2.c checkpoints: round trips to the byte, and every way a file can be wrong.
#include "qat/io/llama2c.hpp"

#include <doctest/doctest.h>

#include "support/data.hpp"
#include "support/files.hpp"
#include "support/tiny_llama.hpp"

using namespace qat;
using qat::test::TempDir;

TEST_CASE("what is written is read back, tied and untied") {
  const TempDir dir;
  for (const bool tied : {true, false}) {
    const LlamaWeights weights = test::tiny_llama(test::tiny_llama_config(tied));
    write_llama2c(weights, dir / "m.bin");
    const LlamaWeights back = read_llama2c(dir / "m.bin");
    CHECK(back.config == weights.config);
    CHECK(test::same_weights(weights, back));
  }
}

TEST_CASE("stories260K is written back with the same weight bytes; only its RoPE tables may be rounded otherwise") {
  const auto path = test::shared_data("stories260K/stories260K.bin");
  if (!path) return;
  const TempDir dir;
  const LlamaWeights weights = read_llama2c(path->string());
  CHECK(weights.config.n_kv_heads == 4);
  CHECK(weights.tensors.size() == 47);
  write_llama2c(weights, dir / "m.bin");
  const std::string a = test::read_file(*path), b = test::read_file(dir / "m.bin");
  REQUIRE(a.size() == b.size());
  const std::size_t tables = 2 * 512 * 4 * 4;  // the end of a tied file
  CHECK(a.substr(0, a.size() - tables) == b.substr(0, b.size() - tables));
  for (std::size_t i = a.size() - tables; i < a.size(); i += 4) {
    float x, y;
    std::memcpy(&x, a.data() + i, 4);
    std::memcpy(&y, b.data() + i, 4);
    REQUIRE(std::abs(x - y) < 1e-4f);
  }
}

TEST_CASE("each defect of a file is named") {
  const TempDir dir;
  write_llama2c(test::tiny_llama(test::tiny_llama_config()), dir / "m.bin");
  const std::string good = test::read_file(dir / "m.bin");
  const auto error_with = [&](const std::string& bytes) {
    test::write_bytes(dir / "bad.bin", bytes);
    const std::string message = test::error_of([&] { read_llama2c(dir / "bad.bin"); });
    CHECK(test::contains(message, "bad.bin"));
    return message;
  };
  const auto with_field = [&](int field, std::int32_t value) {
    std::string bytes = good;
    std::memcpy(bytes.data() + 4 * field, &value, 4);
    return bytes;
  };
  CHECK(test::contains(error_with(""), "at byte 0: dim needs 4 bytes, the file has 0 more: truncated"));
  CHECK(test::contains(error_with(good.substr(0, 27)), "at byte 24: seq_len needs 4 bytes, the file has 3 more"));
  const std::string inside = error_with(good.substr(0, 28 + 4 * (40 * 16 + 2 * 16 + 3)));
  CHECK(test::contains(inside, "at byte 2728: the file ends inside model.layers.0.self_attn.q_proj.weight, "));
  CHECK(test::contains(inside, " bytes from byte 2716: truncated"));
  for (const std::size_t n : {std::size_t{28}, std::size_t{1000}, good.size() - 1})
    CHECK(test::contains(error_with(good.substr(0, n)), "truncated"));
  CHECK(test::contains(error_with(good + "x"), "oversized"));
  CHECK(test::contains(error_with(with_field(0, 0x616b3432)), "version 24"));
  CHECK(test::contains(error_with(with_field(0, 0)), "dim is 0"));
  CHECK(test::contains(error_with(with_field(0, 17)), "dim is 17"));
  CHECK(test::contains(error_with(with_field(1, -1)), "hidden_dim"));
  CHECK(test::contains(error_with(with_field(2, 2147483647)), "n_layers"));
  CHECK(test::contains(error_with(with_field(3, 0)), "n_heads 0"));
  CHECK(test::contains(error_with(with_field(4, 3)), "n_kv_heads"));
  CHECK(test::contains(error_with(with_field(5, 0)), "vocab_size"));
  CHECK(test::contains(error_with(with_field(5, -40)), "truncated"));  // an untied model has one more tensor
  CHECK(test::contains(error_with(with_field(5, -2147483647 - 1)), "vocab_size"));
  CHECK(test::contains(error_with(with_field(6, 2147483647)), "inside the RoPE tables"));
  std::string nan = good;
  const float bad = std::nanf("");
  std::memcpy(nan.data() + 28 + 4 * (40 * 16 + 2 * 16 + 3), &bad, 4);
  const std::string message = error_with(nan);
  CHECK(test::contains(message, "model.layers.0.self_attn.q_proj.weight"));
  CHECK(test::contains(message, "nan"));
}

TEST_CASE("a model the format cannot hold is refused and nothing is written") {
  const TempDir dir;
  const auto refuse = [&](const LlamaConfig& config, const char* field) {
    QAT_CHECK_ERROR(write_llama2c(test::tiny_llama(config), dir / "m.bin"), "m.bin", field, "llama2.c");
    CHECK(std::filesystem::is_empty(dir.path()));
  };
  LlamaConfig c = test::tiny_llama_config();
  c.norm_eps = 1e-6f;
  refuse(c, "norm_eps");
  c = test::tiny_llama_config();
  c.head_dim = 6;
  refuse(c, "head_dim");
  c = test::tiny_llama_config();
  c.rope.theta = 500000;
  refuse(c, "theta");
  refuse(with_architecture(test::tiny_llama_config(), Architecture::kQwen2), "biases");
}

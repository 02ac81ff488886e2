// Llama weights in memory: the configuration's rules, the tensor list, the order of RoPE's rows.
#include "qat/io/llama_weights.hpp"

#include <doctest/doctest.h>

#include <limits>

#include "support/files.hpp"
#include "support/tiny_llama.hpp"

using namespace qat;

TEST_CASE("a configuration that makes no model is named by its field") {
  const struct {
    void (*change)(LlamaConfig&);
    const char* field;
  } cases[] = {
      {[](LlamaConfig& c) { c.dim = 0; }, "dim"},
      {[](LlamaConfig& c) { c.vocab_size = -5; }, "vocab_size is -5"},
      {[](LlamaConfig& c) { c.n_layers = index_t{1} << 40; }, "n_layers"},
      {[](LlamaConfig& c) { c.n_kv_heads = 3; }, "n_kv_heads"},
      {[](LlamaConfig& c) { c.head_dim = 5; }, "head_dim is 5"},
      {[](LlamaConfig& c) { c.norm_eps = 0; }, "norm_eps"},
      {[](LlamaConfig& c) { c.rope.theta = -1; }, "rope_theta"},
      {[](LlamaConfig& c) { c.rope.scaling = RopeScaling::kLinear, c.rope.factor = 0; }, "factor"},
      {[](LlamaConfig& c) { c.rope.scaling = RopeScaling::kLlama3; }, "original_max_position_embeddings"},
  };
  CHECK_NOTHROW(check_config(test::tiny_llama_config(), "f"));
  for (const auto& c : cases) {
    LlamaConfig config = test::tiny_llama_config();
    c.change(config);
    QAT_CHECK_ERROR(check_config(config, "some.file"), "some.file", c.field, "accepted");
  }
}

TEST_CASE("weights must be exactly the configuration's tensors") {
  LlamaWeights weights = test::tiny_llama(test::tiny_llama_config(false));
  CHECK_NOTHROW(check_weights(weights, "f"));
  weights.tensors["extra"] = Tensor<float>({2});
  QAT_CHECK_ERROR(check_weights(weights, "f"), "'extra'", "not part");
  weights.tensors.erase("extra");
  weights.tensors["lm_head.weight"] = Tensor<float>({16, 40});
  QAT_CHECK_ERROR(check_weights(weights, "f"), "'lm_head.weight'", "(16, 40)", "(40, 16)");
  weights.tensors.erase("lm_head.weight");
  QAT_CHECK_ERROR(check_weights(weights, "f"), "'lm_head.weight'", "missing");
}

TEST_CASE("NaN and infinity are found and named") {
  Tensor<float> tensor({2, 3});
  CHECK_NOTHROW(check_finite(tensor, "w", "f"));
  tensor[4] = std::numeric_limits<float>::quiet_NaN();
  QAT_CHECK_ERROR(check_finite(tensor, "w", "f.bin"), "f.bin", "'w'", "nan", "element 4", "(2, 3)");
  tensor[4] = -std::numeric_limits<float>::infinity();
  QAT_CHECK_ERROR(check_finite(tensor, "w", "f.bin"), "-inf", "finite");
}

TEST_CASE("rows go from pairs to halves as W.reshape(n, hs/2, 2, K).swapaxes(1, 2), and back") {
  const index_t heads = 2, head_dim = 6, columns = 3, size = heads * head_dim * columns;
  float in[size], halves[size], back[size];
  for (index_t i = 0; i < size; ++i) in[i] = static_cast<float>(i);
  interleaved_rows_to_halves(in, heads, head_dim, columns, halves);
  for (index_t h = 0; h < heads; ++h)
    for (index_t i = 0; i < head_dim / 2; ++i)
      for (index_t j = 0; j < 2; ++j)
        for (index_t k = 0; k < columns; ++k)
          CHECK(halves[(h * head_dim + j * (head_dim / 2) + i) * columns + k] ==
                in[(h * head_dim + 2 * i + j) * columns + k]);
  halves_rows_to_interleaved(halves, heads, head_dim, columns, back);
  for (index_t i = 0; i < size; ++i) CHECK(back[i] == in[i]);
}

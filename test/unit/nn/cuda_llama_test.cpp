// A training step on the (emulated) GPU against the CPU's transformer, and against itself.
#include "qat/nn/cuda_llama.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "qat/kernels/cuda/activation.cuh"
#include "qat/kernels/cuda/adamw.cuh"
#include "qat/kernels/cuda/attention.cuh"
#include "qat/kernels/cuda/average.cuh"
#include "qat/kernels/cuda/cross_entropy.cuh"
#include "qat/kernels/cuda/device.cuh"
#include "qat/kernels/cuda/embedding.cuh"
#include "qat/kernels/cuda/fake_quantize.cuh"
#include "qat/kernels/cuda/gemm.cuh"
#include "qat/kernels/cuda/rmsnorm.cuh"
#include "qat/kernels/cuda/rope.cuh"
#include "qat/kernels/cuda/sum_rows.cuh"
#include "qat/kernels/reference/quantize.hpp"
#include "qat/nn/transformer.hpp"
#include "qat/recipe/prepare.hpp"
#include "support/compare.hpp"

namespace qat::cuda_llama_test {
namespace {

using namespace qat::test;

LlamaConfig tiny_config(bool tied) {
  LlamaConfig c;
  c.dim = 64;
  c.hidden_dim = 96;
  c.n_layers = 2;
  c.n_heads = 4;
  c.n_kv_heads = 2;
  c.head_dim = 16;
  c.vocab_size = 50;
  c.max_seq_len = 32;
  c.tied = tied;
  return c;
}
constexpr index_t kBatch = 2, kLength = 11;

nn::CudaLlamaOptions options_of(bool quantized) {
  nn::CudaLlamaOptions o;
  o.batch = kBatch;
  o.length = kLength;
  if (quantized) {
    o.weight = parse_spec("int4:group32:symmetric");
    o.activation = parse_spec("int8:token:asymmetric");
  }
  return o;
}

/// A model on the device with the weights of one on the CPU, and its tokens.
struct Fixture {
  Fixture(nn::Transformer& model, const nn::CudaLlamaOptions& options)
      : bytes(nn::CudaLlama::workspace_bytes(model.config(), options)), workspace(static_cast<index_t>(bytes)) {
    backend.workspace = workspace.data();
    backend.workspace_bytes = bytes;
    CounterRandom random(3);
    std::vector<std::int32_t> stream(kBatch * kLength + 1);
    for (std::int32_t& t : stream)
      t = static_cast<std::int32_t>(random.next_below(static_cast<std::uint32_t>(model.config().vocab_size)));
    host_tokens.assign(stream.begin(), stream.end() - 1);
    host_targets.assign(stream.begin() + 1, stream.end());
    tokens = cuda::DeviceBuffer<std::int32_t>(backend, host_tokens.data(), kBatch * kLength);
    targets = cuda::DeviceBuffer<std::int32_t>(backend, host_targets.data(), kBatch * kLength);
    llama = std::make_unique<nn::CudaLlama>(backend, model.config(), options);
    for (const auto& [name, tensor] : model.tensors())
      llama->weights().set(backend, name, tensor.data(), tensor.size());
    llama->weights().refresh(backend);
  }
  void backward() { llama->backward(tokens.data(), targets.data()); }

  std::size_t bytes;
  cuda::DeviceBuffer<char> workspace;
  CudaBackend backend;
  std::vector<std::int32_t> host_tokens, host_targets;
  cuda::DeviceBuffer<std::int32_t> tokens, targets;
  std::unique_ptr<nn::CudaLlama> llama;
};

/// Loss of the CPU's model on the same tokens, in fp32; gradients stay in its parameters.
float cpu_backward(nn::Transformer& model, const Fixture& f) {
  const CpuBackend backend;
  zero_grad(model.parameters());
  Tape tape(backend);
  const Variable loss = model.loss(tape, view(f.host_tokens.data(), kBatch * kLength),
                                   view(f.host_targets.data(), kBatch * kLength), kBatch);
  const float value = tape.value(loss)[0];
  tape.backward(loss);
  return value;
}

double norm_of(const std::vector<double>& x) {
  double sum = 0.0;
  for (const double v : x) sum += v * v;
  return std::sqrt(sum);
}
/// |a - b| / |b|
double relative(const std::vector<float>& a, const Tensor<float>& b) {
  std::vector<double> difference, size;
  for (index_t i = 0; i < b.size(); ++i) {
    difference.push_back(static_cast<double>(a[static_cast<std::size_t>(i)]) - static_cast<double>(b[i]));
    size.push_back(static_cast<double>(b[i]));
  }
  return norm_of(difference) / norm_of(size);
}

/// biased: of every linear layer, and not zero.
nn::Transformer random_model(bool tied, bool biased = false, bool normed_heads = false) {
  LlamaConfig config = tiny_config(tied);
  config.qkv_bias = config.out_bias = config.mlp_bias = biased;
  config.qk_norm = normed_heads;
  nn::Transformer model(config);
  model.randomize(11, 0.15f);
  CounterRandom random(5);
  for (Parameter* p : model.parameters()) {
    if (p->name.ends_with(".bias"))
      for (float& v : p->value) v = 0.5f * random.next_float() - 0.25f;
    if (p->name.ends_with("q_norm.weight") || p->name.ends_with("k_norm.weight"))
      for (float& v : p->value) v = 0.5f + random.next_float();
  }
  return model;
}

TEST_CASE("CudaLlama: loss and every gradient are those of the CPU's transformer up to bfloat16's rounding") {
  for (const int form : {0, 1, 2, 3, 4}) {
    const bool tied = form != 1, biased = form == 2 || form == 4, normed_heads = form >= 3;
    CAPTURE(tied);
    CAPTURE(biased);
    CAPTURE(normed_heads);
    nn::Transformer model = random_model(tied, biased, normed_heads);
    Fixture f(model, options_of(false));
    f.backward();
    const float expected = cpu_backward(model, f);
    // bfloat16 keeps 8 bits: 2^-9 a rounding. A value on its way through two blocks and back meets about thirty of
    // them, which add up as a root: 30^0.5 * 2^-9 = 0.011, and gradients of small weights a few times that.
    CHECK(std::fabs(f.llama->loss() - expected) < 0.01f * expected);
    for (const Parameter* p : model.parameters()) {
      CAPTURE(p->name);
      CHECK(relative(f.llama->weights().get(f.backend, p->name, true), p->grad) < 0.05);
    }
  }
}

TEST_CASE("CudaLlama: quantized, loss and gradients follow the CPU's prepared model") {
  nn::Transformer model = random_model(true);
  Fixture f(model, options_of(true));
  f.backward();
  recipe::prepare(model, {{"model.layers.*",
                           recipe::parse_scheme("weight=int4:group32:symmetric,activation=int8:token:asymmetric")}});
  const float expected = cpu_backward(model, f);
  CHECK(std::fabs(f.llama->loss() - expected) < 0.02f * expected);
  // Where bfloat16 moves an activation across the middle of two codes, its code moves by a whole step of an int8 grid;
  // what softmax subtracts shows most of that in the gradients of queries and keys.
  for (const Parameter* p : model.parameters()) {
    CAPTURE(p->name);
    const bool scores = p->name.find("q_proj") != std::string::npos || p->name.find("k_proj") != std::string::npos;
    CHECK(relative(f.llama->weights().get(f.backend, p->name, true), p->grad) < (scores ? 0.25 : 0.2));
  }
}

TEST_CASE("CudaLlama: the copies that products read are the fake-quantized masters, before and after a step") {
  nn::Transformer model = random_model(true);
  Fixture f(model, options_of(true));
  const QuantSpec spec = parse_spec("int4:group32:symmetric");
  for (int step = 0; step < 2; ++step) {
    CAPTURE(step);
    for (const Parameter* p : model.parameters()) {
      if (p->value.rank() == 1) continue;
      CAPTURE(p->name);
      const bool quantized = p->name.find("embed_tokens") == std::string::npos;
      const std::vector<float> master = f.llama->weights().get(f.backend, p->name);
      std::vector<float> y = master;
      if (quantized)
        kernels::reference::fake_quantize_dynamic(spec, master.data(), p->value.shape()[0], p->value.shape()[1],
                                                  y.data());
      const std::vector<bfloat16> expected(y.begin(), y.end());
      CHECK(compare_bits<bfloat16>(expected, f.llama->weights().get_copy(f.backend, p->name)));
    }
    f.backward();
    f.llama->weights().set_learning_rate(f.backend, 1e-2, 1);
    f.llama->weights().update(f.backend);
  }
}

TEST_CASE("CudaLlama: a run has the same bits again, and learns its batch") {
  const auto run = [] {
    nn::Transformer model = random_model(true);
    Fixture f(model, options_of(true));
    std::vector<float> found;
    for (int step = 1; step <= 6; ++step) {
      f.backward();
      f.llama->weights().set_learning_rate(f.backend, 1e-2, step);
      f.llama->weights().update(f.backend);
      found.push_back(f.llama->loss());
      found.push_back(f.llama->weights().gradient_norm(f.backend));
    }
    for (const Parameter* p : model.parameters())
      for (const float v : f.llama->weights().get(f.backend, p->name)) found.push_back(v);
    return found;
  };
  const std::vector<float> first = run();
  CHECK(first[10] < 0.8f * first[0]);
  CHECK(compare_bits<float>(first, run()));
}

TEST_CASE(
    "CudaLlama: a step is a graph: it allocates, copies and waits for nothing, and replays to the bits of steps") {
  const auto run = [](bool captured) {
    nn::Transformer model = random_model(true);
    Fixture f(model, options_of(true));
    const auto step = [&f] {
      f.backward();
      f.llama->weights().update(f.backend);
    };
    cuda::DeviceGraph graph;
    std::vector<float> found;
    for (int n = 1; n <= 3; ++n) {
      f.llama->weights().set_learning_rate(f.backend, 1e-2, n);  // what changes from step to step is in memory
      std::rotate(f.host_tokens.begin(), f.host_tokens.begin() + 1, f.host_tokens.end());
      cuda::device_copy(f.backend, f.tokens.data(), f.host_tokens.data(), f.host_tokens.size() * sizeof(std::int32_t));
      if (captured && n == 2) graph = cuda::DeviceGraph(f.backend, step);
      if (graph)
        graph.launch(f.backend);
      else
        step();
      found.push_back(f.llama->loss());
    }
    for (const Parameter* p : model.parameters())
      for (const float v : f.llama->weights().get(f.backend, p->name)) found.push_back(v);
    return found;
  };
  CHECK(compare_bits<float>(run(false), run(true)));
}

TEST_CASE("CudaLlama: what does not make a model is an error that says what") {
  const auto fails = [](const LlamaConfig& c, const nn::CudaLlamaOptions& o, const CudaBackend& backend,
                        const char* text) {
    CHECK_THROWS_WITH_AS(nn::CudaLlama(backend, c, o), doctest::Contains(text), Error);
  };
  const LlamaConfig c = tiny_config(true);
  nn::CudaLlamaOptions o = options_of(false);
  fails(c, o, CudaBackend{}, "bytes of workspace");
  o.length = 33;
  fails(c, o, CudaBackend{}, "length 33");
  LlamaConfig odd = c;
  odd.dim = 60;
  fails(odd, options_of(false), CudaBackend{}, "dim is 60");
  nn::Transformer model = random_model(true);
  Fixture f(model, options_of(false));
  CHECK_THROWS_WITH_AS(f.llama->weights().get(f.backend, "model.norm"),
                       doctest::Contains("no weight is named model.norm"), Error);
  const float one = 1.0f;
  CHECK_THROWS_WITH_AS(f.llama->weights().set(f.backend, "model.norm.weight", &one, 1),
                       doctest::Contains("has 64 values, 1 were given"), Error);
}

}  // namespace
}  // namespace qat::cuda_llama_test

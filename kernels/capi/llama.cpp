// The C interface to a Llama in training.
#include <memory>
#include <vector>

#include "capi.hpp"
#include "qat/base/random.hpp"
#include "qat/nn/cuda_llama.hpp"

using namespace qat;

struct qat_llama {
  nn::CudaLlama model;
  bool stale = false;  ///< weights were set that the copies do not follow yet
};

namespace {
LlamaConfig config_of(const qat_llama_options& o) {
  LlamaConfig c;
  c.dim = o.dim;
  c.hidden_dim = o.hidden_dim;
  c.n_layers = o.n_layers;
  c.n_heads = o.n_heads;
  c.n_kv_heads = o.n_kv_heads;
  c.head_dim = o.head_dim;
  c.vocab_size = o.vocab_size;
  c.max_seq_len = o.max_seq_len;
  c.tied = o.tied != 0;
  return c;
}
nn::CudaLlamaOptions options_of(const qat_llama_options& o) {
  nn::CudaLlamaOptions options;
  options.batch = o.batch;
  options.length = o.length;
  if (o.weight != nullptr) options.weight = parse_spec(o.weight);
  if (o.activation != nullptr) options.activation = parse_spec(o.activation);
  options.weight_decay = o.weight_decay;
  options.clip_norm = o.clip_norm;
  return options;
}
void randomize(const CudaBackend& backend, nn::CudaWeights& weights, std::uint64_t seed) {
  std::uint64_t stream = 0;
  for (const nn::CudaWeight& w : weights.list())
    for (std::size_t i = 0; i < w.names.size(); ++i) {
      CounterRandom random(seed, stream++);
      std::vector<float> values(static_cast<std::size_t>(w.part_rows[i] * w.columns), 1.0f);  // norms
      if (w.rows > 1)
        for (float& v : values) {
          v = -2.0f;
          for (int n = 0; n < 4; ++n) v += random.next_float();
          v *= 0.02f * 1.7320508f;  // deviation 0.02
        }
      weights.set(backend, w.names[i], values.data(), static_cast<index_t>(values.size()));
    }
  weights.refresh(backend);
}
}  // namespace

extern "C" {

qat_status qat_cuda_llama_workspace(const qat_llama_options* options, size_t* bytes) {
  return capi::guarded([&] { *bytes = nn::CudaLlama::workspace_bytes(config_of(*options), options_of(*options)); });
}
qat_status qat_cuda_llama_create(const qat_cuda* cuda, const qat_llama_options* options, uint64_t seed,
                                 qat_llama** llama) {
  return capi::guarded([&] {
    auto made = std::make_unique<qat_llama>(
        qat_llama{nn::CudaLlama(capi::backend(cuda), config_of(*options), options_of(*options))});
    randomize(capi::backend(cuda), made->model.weights(), seed);
    *llama = made.release();
  });
}
qat_status qat_cuda_llama_destroy(qat_llama* llama) {
  return capi::guarded([&] { delete llama; });
}
qat_status qat_cuda_llama_set(qat_llama* llama, const char* name, const float* values, int64_t size) {
  return capi::guarded([&] {
    llama->model.weights().set(llama->model.backend(), name, values, size);
    llama->stale = true;
  });
}
qat_status qat_cuda_llama_learning_rate(qat_llama* llama, double learning_rate, int64_t step) {
  return capi::guarded([&] {
    if (llama->stale) llama->model.weights().refresh(llama->model.backend());
    llama->stale = false;
    llama->model.weights().set_learning_rate(llama->model.backend(), learning_rate, step);
  });
}
qat_status qat_cuda_llama_step(const qat_cuda* cuda, qat_llama* llama, const int32_t* tokens, const int32_t* targets) {
  return capi::guarded([&] {
    capi::check_arguments(cuda, "llama_step", QAT_BFLOAT16, {{"tokens", tokens}, {"targets", targets}});
    QAT_CHECK(!llama->stale, kInvalidArgument, "llama_step: weights were set; call qat_cuda_llama_learning_rate first");
    llama->model.set_backend(capi::backend(cuda));
    llama->model.backward(tokens, targets);
    llama->model.weights().update(llama->model.backend());
  });
}
qat_status qat_cuda_llama_loss(const qat_cuda* cuda, qat_llama* llama, float* loss) {
  return capi::guarded([&] {
    llama->model.set_backend(capi::backend(cuda));
    *loss = llama->model.loss();
  });
}

}  // extern "C"

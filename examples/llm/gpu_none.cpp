// qat-llm without CUDA kernels.
#include "gpu.hpp"

namespace qat_llm {
namespace {
[[noreturn]] void refuse() {
  qat::raise(qat::ErrorCode::kDevice,
             "this qat-llm was built without CUDA; build it with meson -Dcuda=enabled, or use the CPU (--device cpu)");
}
}  // namespace

std::string gpu_name() { refuse(); }
std::shared_ptr<qat::recipe::TrainingDevice> make_gpu_trainer(qat::nn::Transformer&, const qat::recipe::TrainConfig&,
                                                              qat::index_t) {
  refuse();
}
std::shared_ptr<qat::nn::ScoringDevice> make_gpu_scorer(const qat::LlamaConfig&) { refuse(); }
std::unique_ptr<qat::nn::PackingDevice> make_gpu_packer() { refuse(); }

}  // namespace qat_llm

// qat-llm with the instances of kernels/cuda/ linked.
#include "gpu.hpp"
#include "qat/recipe/cuda_device.hpp"

namespace qat_llm {

std::string gpu_name() { return qat::cuda::device_info().name; }
std::shared_ptr<qat::recipe::TrainingDevice> make_gpu_trainer(qat::nn::Transformer& model,
                                                              const qat::recipe::TrainConfig& config,
                                                              qat::index_t longest) {
  return std::make_shared<qat::recipe::CudaTrainingDevice>(model, config, longest);
}
std::shared_ptr<qat::nn::ScoringDevice> make_gpu_scorer(const qat::LlamaConfig& config) {
  qat::nn::check_cuda_model(config, 1);
  return std::make_shared<qat::recipe::CudaScoringDevice>();
}
std::unique_ptr<qat::nn::PackingDevice> make_gpu_packer() { return std::make_unique<qat::recipe::CudaPackingDevice>(); }

}  // namespace qat_llm

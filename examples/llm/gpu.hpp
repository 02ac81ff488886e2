// The GPU as qat-llm sees it: gpu_cuda.cpp defines these in a program that links the CUDA kernels, gpu_none.cpp in one
// without.
#pragma once

#include <memory>
#include <string>

#include "qat/recipe/train.hpp"

namespace qat_llm {

/// Describes the current GPU. @throws qat::Error (kDevice) saying why there is none, or none that serves
std::string gpu_name();
/// @throws qat::Error as recipe::CudaTrainingDevice
std::shared_ptr<qat::recipe::TrainingDevice> make_gpu_trainer(qat::nn::Transformer& model,
                                                              const qat::recipe::TrainConfig& config,
                                                              qat::index_t longest);
/// @throws qat::Error (kUnsupported) for a model that does not run there
std::shared_ptr<qat::nn::ScoringDevice> make_gpu_scorer(const qat::LlamaConfig& config);

std::unique_ptr<qat::nn::PackingDevice> make_gpu_packer();

}  // namespace qat_llm

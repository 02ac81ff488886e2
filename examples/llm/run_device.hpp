// --device: what computes training steps and scores.
#pragma once

#include <cstdio>
#include <memory>
#include <string>

#include "gpu.hpp"
#include "qat/recipe/recipe.hpp"

namespace qat_llm {

/// The device that a user asked for. `auto` is the GPU where there is one and it serves, else the CPU, and says why.
class RunDevice {
 public:
  RunDevice() = default;
  /// @throws qat::Error where a GPU is asked for and there is none that serves
  explicit RunDevice(qat::recipe::DeviceKind kind) : optional_(kind == qat::recipe::DeviceKind::kAuto) {
    if (kind == qat::recipe::DeviceKind::kCpu) return;
    gpu_ = attempt([] { std::fprintf(stderr, "qat-llm: runs on %s\n", gpu_name().c_str()); });
  }

  /// Null: the CPU trains. longest: tokens of the longest sequence scored meanwhile
  std::shared_ptr<qat::recipe::TrainingDevice> trainer(qat::nn::Transformer& model,
                                                       const qat::recipe::TrainConfig& config,
                                                       qat::index_t longest) const {
    std::shared_ptr<qat::recipe::TrainingDevice> device;
    if (gpu_) attempt([&] { device = make_gpu_trainer(model, config, longest); });
    return device;
  }
  /// Scores of the model as it is now are the GPU's from here on, where there is one.
  void score_on(qat::nn::Transformer& model) const {
    if (gpu_) attempt([&] { model.set_scoring_device(make_gpu_scorer(model.config())); });
  }

  /// Null: the CPU packs weights.
  std::unique_ptr<qat::nn::PackingDevice> packer() const { return gpu_ ? make_gpu_packer() : nullptr; }

 private:
  /// Whether f did not throw; only `auto` lives with that.
  template <class F>
  bool attempt(const F& f) const {
    try {
      f();
      return true;
    } catch (const qat::Error& error) {
      const bool missing = error.code() == qat::ErrorCode::kDevice || error.code() == qat::ErrorCode::kUnsupported;
      if (!optional_ || !missing) throw;
      std::fprintf(stderr, "qat-llm: runs on the CPU: %s\n", error.what());
      return false;
    }
  }

  bool optional_ = false, gpu_ = false;
};

}  // namespace qat_llm

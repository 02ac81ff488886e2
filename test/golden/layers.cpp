// Golden families of layers and models.
#include "golden/linear.hpp"
#include "golden/llama_block.hpp"
#include "golden/runners.hpp"
#include "golden/training.hpp"

namespace qat::golden {

Runner layer_runner(const std::string& family, const std::string& id) {
  if (id.find("/mslk-") != std::string::npos) return run_int4_weight;
  if (id.find("embedding") != std::string::npos) return run_embedding;
  if (family == "f04_8daXw_linear" || family == "f05_intx_weight_only" || family == "f06_int4_weight_only")
    return run_linear;
  if (family == "f11_training") return run_training;
  return family == "f12_llama_block" ? run_llama_block : nullptr;
}

}  // namespace qat::golden

// Golden families of single tensors: integer schemes and casts.
#include "golden/casts.hpp"
#include "golden/intx.hpp"
#include "golden/range_learning.hpp"
#include "golden/runners.hpp"

namespace qat::golden {

Runner scheme_runner(const std::string& family, const std::string& id) {
  if (id.find("/qparams-") != std::string::npos || id.find("/tinygemm-fq-") != std::string::npos) return run_intx;
  if (family == "f01_intx_affine" || family == "f02_int8_token_asym" || family == "f03_intx_fake_quantizer")
    return run_intx;
  if (family == "f09_range_learning") return run_range_learning;
  return family == "f10_casts" ? run_casts : nullptr;
}

}  // namespace qat::golden

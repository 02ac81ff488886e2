// qat's kernels and the machine's ceilings, by request (worker.hpp).
#include "elementwise_works.hpp"
#include "packed_works.hpp"
#include "probe.hpp"
#include "qat/version.hpp"

int main() {
  using namespace qat::bench;
  return serve({{"gemm", gemm_work},
                {"w4a8", integer_work},
                {"w4a16", bf16_activation_work},
                {"w4a32", float_activation_work},
                {"fake_quantize", fake_quantize_work},
                {"ste_backward", ste_backward_work},
                {"pack", pack_work},
                {"dequantize", dequantize_work},
                {"ceiling", register_ceiling_work},
                {"memory", memory_ceiling_work}},
               std::string("qat on ") + qat::name(qat::active_target()));
}

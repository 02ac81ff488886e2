// The bits of quantization depend neither on compiler flags nor on the caller's floating-point mode. Built several
// times: as every test is, with -Ofast, and with -march=native; each must give the recorded hashes.
#include <doctest/doctest.h>

#include <string>

#include "consistency/quantize_bits.hpp"
#include "support/host_mode.hpp"
#include "support/targets.hpp"

using namespace qat;
using namespace qat::test;

namespace {

// Recorded from the reference kernels; "the vector kernels equal the reference" is quantize_consistency_test.cpp.
constexpr std::uint64_t kHashFloat = 7809573126439630814u;
constexpr std::uint64_t kHashHalf = 11768940239546536165u;
constexpr std::uint64_t kHashBfloat16 = 2144336076977322109u;

struct Mode {
  const char* name;
  int rounding;
  bool flush;
};

}  // namespace

TEST_CASE("the recorded bits come out of every target, whatever the host's flush-to-zero and rounding mode") {
  const CpuBackend backend(2);
  for (const Mode mode : {Mode{"default", FE_TONEAREST, false}, Mode{"flush to zero", FE_TONEAREST, true},
                          Mode{"toward zero", FE_TOWARDZERO, false}, Mode{"downward", FE_DOWNWARD, false}}) {
    for (const Target target : plain_targets()) {
      CAPTURE(mode.name);
      CAPTURE(std::string(name(target)));
      const ScopedTarget forced(target);
      std::uint64_t hash_float = 0, hash_half = 0, hash_bfloat16 = 0;
      {
        const HostMode host(mode.rounding, mode.flush);
        hash_float = hash_of_everything<float>(backend);
        hash_half = hash_of_everything<half>(backend);
        hash_bfloat16 = hash_of_everything<bfloat16>(backend);
      }
      CHECK(hash_float == kHashFloat);
      CHECK(hash_half == kHashHalf);
      CHECK(hash_bfloat16 == kHashBfloat16);
    }
  }
}

// The tuning table: which processor gets which row, and the strict form in which a row is printed and overridden.
#include "qat/kernels/cpu/tuning.hpp"

#include <string>

#include <doctest/doctest.h>

namespace {

std::string tuning_error(const char* text) {
  try {
    qat::kernels::parse_tuning(text);
  } catch (const qat::Error& error) {
    CHECK(error.code() == qat::ErrorCode::kInvalidArgument);
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("a processor is known by vendor, family and model; any other is 'other'") {
  using qat::kernels::cpu_model;
  using qat::kernels::CpuModel;
  CHECK(cpu_model("AuthenticAMD", 25, 17) == CpuModel::kZen4);
  CHECK(cpu_model("AuthenticAMD", 25, 97) == CpuModel::kZen4);
  CHECK(cpu_model("AuthenticAMD", 25, 1) == CpuModel::kOther);  // Zen 3
  CHECK(cpu_model("AuthenticAMD", 26, 2) == CpuModel::kZen5);
  CHECK(cpu_model("GenuineIntel", 6, 143) == CpuModel::kSapphireRapids);
  CHECK(cpu_model("GenuineIntel", 6, 207) == CpuModel::kSapphireRapids);
  CHECK(cpu_model("GenuineIntel", 6, 85) == CpuModel::kOther);
  CHECK(cpu_model("AuthenticAMD", 6, 143) == CpuModel::kOther);
  CHECK(cpu_model("", 25, 17) == CpuModel::kOther);
  MESSAGE("this processor: " << std::string(name(cpu_model())) << ", " << to_string(default_tuning(cpu_model())));
}

TEST_CASE("every row prints as text that parses to the same row, and an override changes what it names alone") {
  using qat::kernels::CpuModel;
  using qat::kernels::CpuTuning;
  for (const CpuModel model : {CpuModel::kOther, CpuModel::kZen4, CpuModel::kZen5, CpuModel::kSapphireRapids}) {
    const CpuTuning row = default_tuning(model);
    CHECK(qat::kernels::parse_tuning(to_string(row), CpuTuning{64, !row.row_stream, 1, !row.bf16_dot}) == row);
  }
  const CpuTuning base{128, true, 4096, true};
  CHECK(qat::kernels::parse_tuning("", base) == base);
  CHECK(qat::kernels::parse_tuning("stream=4", base) == CpuTuning{128, true, 4, true});
  CHECK(qat::kernels::parse_tuning("bf16=0,prefetch=0,row_stream=0,stream=0", base) == CpuTuning{0, false, 0, false});
}

TEST_CASE("QAT_TUNING that is not understood is refused with the item and what is accepted") {
  CHECK(tuning_error("prefetsch=1")
            .find("'prefetsch=1', must be key=value with a key of prefetch, row_stream, stream, bf16") !=
        std::string::npos);
  for (const char* text : {"prefetch", "=1", "prefetch=1,,bf16=1", ",prefetch=1", " prefetch=1", "prefetch =1", ";"})
    CHECK(tuning_error(text).find("must be key=value") != std::string::npos);
  CHECK(tuning_error("prefetch=2,").find("ends with a comma") != std::string::npos);
  CHECK(tuning_error("prefetch=2,prefetch=3").find("prefetch twice") != std::string::npos);
  for (const char* text : {"prefetch=", "prefetch=-1", "prefetch=2x", "prefetch=0x2", "prefetch= 2", "prefetch=65537",
                           "prefetch=99999999999999999999"})
    CHECK(tuning_error(text).find("prefetch must be a whole number in [0, 65536]") != std::string::npos);
  CHECK(tuning_error("bf16=2").find("[0, 1]") != std::string::npos);
}

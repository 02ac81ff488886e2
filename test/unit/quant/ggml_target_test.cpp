// Which schemes a ggml type holds, decided before training.
#include "qat/quant/ggml_target.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace qat;

namespace {
constexpr QuantSpec kInt4 = spec_of<Int4, PerGroup<32>, SignedExtremum, Bfloat16Safe>;
static_assert(ggml_misfit(GgmlType::kQ4_0, kInt4, 64) == nullptr);
static_assert(ggml_misfit(GgmlType::kQ4_0, spec_of<Int4, PerGroup<32>, Symmetric>, 64) != nullptr);
static_assert(Deploys<QuantPolicy<Int4, PerGroup<32>, SignedExtremum, Bfloat16Safe>, GgmlType::kQ4_0, 4096>);
static_assert(!Deploys<QuantPolicy<Int4, PerGroup<32>, Symmetric>, GgmlType::kQ4_0, 4096>);
static_assert(!Deploys<QuantPolicy<Int8, PerGroup<32>, Symmetric, half>, GgmlType::kQ4_0, 4096>);
static_assert(Deploys<QuantPolicy<Int8, PerGroup<32>, Symmetric, half>, GgmlType::kQ8_0, 4096>);
}  // namespace

TEST_CASE("ggml targets: a type holds what its integers and scales can hold") {
  const struct {
    GgmlType type;
    const char* spec;
    const char* reason;  ///< part of it; nullptr: held
  } cases[] = {
      {GgmlType::kQ4_0, "int4:group32:symmetric:float16", nullptr},
      {GgmlType::kQ4_0, "uint4:group32:symmetric:bf16safe", nullptr},
      {GgmlType::kQ4_0, "int2:group64:signed_extremum:bf16safe", nullptr},
      {GgmlType::kQ4_0, "int4:axis0:symmetric:bf16safe", nullptr},
      {GgmlType::kQ4_0, "int4:group16:symmetric:bf16safe", "whole blocks"},
      {GgmlType::kQ4_0, "int4:group48:symmetric:bf16safe", "whole blocks"},
      {GgmlType::kQ4_0, "int4:axis1:symmetric:bf16safe", "runs of a row"},
      {GgmlType::kQ4_0, "int4:group32:symmetric", "float16 or bf16safe"},
      {GgmlType::kQ4_0, "int4:group32:symmetric:bfloat16", "float16 or bf16safe"},
      {GgmlType::kQ4_0, "int4:group32:asymmetric:bf16safe", "do not fit"},
      {GgmlType::kQ4_0, "int3:group32:asymmetric:bf16safe", nullptr},
      {GgmlType::kQ4_0, "int5:group32:symmetric:bf16safe", "do not fit"},
      {GgmlType::kQ5_0, "int5:group32:symmetric:bf16safe", nullptr},
      {GgmlType::kQ5_0, "int4:group32:asymmetric:bf16safe", nullptr},
      {GgmlType::kQ5_0, "uint4:group32:float_zero_point:float16", "no integer"},
      {GgmlType::kQ8_0, "int8:group32:symmetric:float16", nullptr},
      {GgmlType::kQ8_0, "int8:group32:asymmetric:float16", "do not fit"},
      {GgmlType::kTQ2_0, "int2:group32:symmetric:bf16safe", "whole blocks"},
      {GgmlType::kTQ2_0, "int2:axis0:symmetric:bf16safe", "do not fit"},
      {GgmlType::kTQ2_0, "int1:group256:symmetric:bf16safe", nullptr},
      {GgmlType::kF16, "int4:group32:symmetric:bf16safe", nullptr},
      {GgmlType::kF16, "int4:group32:symmetric:float16", "significant bits"},
      {GgmlType::kF32, "uint4:group32:float_zero_point:bfloat16", nullptr},
      {GgmlType::kQ4_1, "int4:group32:asymmetric:bf16safe", "not every minimum is a half"},
      {GgmlType::kQ4_K, "int4:group256:symmetric:bf16safe", "levels"},
  };
  for (const auto& c : cases) {
    const char* const reason = ggml_misfit(c.type, parse_spec(c.spec), 512);
    INFO(std::string(info(c.type).name) << " " << std::string(c.spec) << ": "
                                        << std::string(reason == nullptr ? "held" : reason));
    CHECK((reason == nullptr) == (c.reason == nullptr));
    if (reason != nullptr && c.reason != nullptr) CHECK(std::string(reason).find(c.reason) != std::string::npos);
  }
  CHECK(ggml_misfit(GgmlType::kQ4_0, parse_spec("int4:group48:symmetric:bf16safe"), 100) ==
        nullptr);  // in floating point
}

TEST_CASE("ggml targets: the scheme a type names is held by it, and names lead to types") {
  for (const GgmlTypeInfo& type : kGgmlTypes) {
    const std::string name = type.name;
    CHECK(find_ggml_type_by_name(name.data(), name.size()) == &type);
    if (const char* scheme = ggml_scheme(type.type)) CHECK(ggml_misfit(type.type, parse_spec(scheme), 512) == nullptr);
  }
  CHECK(find_ggml_type_by_name("q4_0", 4) == &info(GgmlType::kQ4_0));
  CHECK(find_ggml_type_by_name("q4_", 3) == nullptr);
  CHECK(find_ggml_type_by_name("q4_00", 5) == nullptr);
}

// LayerScheme: text and the integer-product rule.
#include "qat/quantizer/layer_scheme.hpp"

#include <doctest/doctest.h>

using namespace qat;

TEST_CASE("a layer scheme prints its parts") {
  LayerScheme scheme;
  CHECK(to_string(scheme) == FixedString<300>("float"));
  scheme.activation = parse_spec("int8:token:asymmetric");
  CHECK(to_string(scheme) == FixedString<300>("activation=int8:token:asymmetric"));
  scheme.weight = parse_spec("int4:group32:symmetric");
  CHECK(to_string(scheme) == FixedString<300>("weight=int4:group32:symmetric,activation=int8:token:asymmetric"));
}

TEST_CASE("the integer product needs int8 per-token activations and integer zero points") {
  LayerScheme scheme;
  scheme.weight = parse_spec("int4:group32:symmetric");
  CHECK_FALSE(scheme.has_integer_product());
  scheme.activation = parse_spec("int8:token:asymmetric");
  CHECK(scheme.has_integer_product());
  scheme.weight = parse_spec("uint4:group32:float_zero_point:bfloat16");
  CHECK_FALSE(scheme.has_integer_product());
  scheme.weight = parse_spec("int4:group32:symmetric");
  scheme.activation = parse_spec("int4:token:asymmetric");
  CHECK_FALSE(scheme.has_integer_product());
}

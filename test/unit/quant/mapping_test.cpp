// Mapping policies name their kinds; which of them store no zero point.
#include "qat/quant/mapping.hpp"

#include <doctest/doctest.h>

using namespace qat;

TEST_CASE("each policy is its kind, and only symmetric ones have a constant zero point") {
  static_assert(Symmetric::kind == MappingKind::kSymmetric && SymmetricNoClip::kind == MappingKind::kSymmetricNoClip);
  static_assert(Asymmetric::kind == MappingKind::kAsymmetric && AsymmetricRaw::kind == MappingKind::kAsymmetricRaw);
  static_assert(SignedExtremum::kind == MappingKind::kSignedExtremum &&
                FloatZeroPoint::kind == MappingKind::kFloatZeroPoint);
  CHECK(has_constant_zero_point(Symmetric::kind));
  CHECK(has_constant_zero_point(SymmetricNoClip::kind));
  CHECK(has_constant_zero_point(SignedExtremum::kind));
  CHECK_FALSE(has_constant_zero_point(Asymmetric::kind));
  CHECK_FALSE(has_constant_zero_point(AsymmetricRaw::kind));
  CHECK_FALSE(has_constant_zero_point(FloatZeroPoint::kind));
}

// Vectors of fp32 and int32 lanes, one set of functions per target: qat::simd::baseline, ::avx2, ::avx512.
// For use inside -inl files only (simd/target.hpp): `namespace vec = simd::QAT_TARGET;`.
#pragma once

#include "qat/simd/target.hpp"

#define QAT_TARGET_INCLUDE "qat/simd/vec-inl.hpp"
#include "qat/simd/foreach_target-inl.hpp"

namespace qat::inline v0::simd {
QAT_ALIAS_DOT_TARGETS
}

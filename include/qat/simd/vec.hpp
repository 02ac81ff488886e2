// Vectors of fp32 and int32 lanes, one set of functions per target: qat::simd::baseline, ::avx2, ::avx512.
// For use inside -inl files only (simd/target.hpp): `namespace vec = simd::QAT_TARGET;`.
#pragma once

#include "qat/simd/target.hpp"

#define QAT_TARGET_INCLUDE "qat/simd/vec-inl.hpp"
#include "qat/simd/foreach_target-inl.hpp"

// A target that adds a dot product has the vectors of the one below.
namespace qat::inline v0::simd {
#if QAT_HAVE_X86_TARGETS
namespace avx2vnni = avx2;
namespace avx512vnni = avx512;
namespace avx512bf16 = avx512;
#elif QAT_HAVE_ARM_TARGETS
namespace neondot = baseline;
namespace neoni8mm = baseline;
#endif
}  // namespace qat::inline v0::simd

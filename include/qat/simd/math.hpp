// Elementary functions and shuffles of float vectors, beside simd/vec.hpp: qat::simd::<target>::exp, sigmoid, ...
// For use inside -inl files only (simd/target.hpp).
#pragma once

#include "qat/simd/vec.hpp"

#define QAT_TARGET_INCLUDE "qat/simd/math-inl.hpp"
#include "qat/simd/foreach_target-inl.hpp"

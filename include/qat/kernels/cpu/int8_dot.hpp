// Dot products of bytes and of 16-bit integers in int32 lanes: one instruction where the target has it.
// For use inside -inl files only.
#pragma once

#include "qat/simd/vec.hpp"

#define QAT_TARGET_WITH_DOT8
#define QAT_TARGET_INCLUDE "qat/kernels/cpu/int8_dot-inl.hpp"
#include "qat/simd/foreach_target-inl.hpp"

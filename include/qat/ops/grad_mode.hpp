// What a backward function does with a gradient it computes.
#pragma once

#include "qat/base/check.hpp"
#include "qat/tensor/view.hpp"

namespace qat::inline v0 {

/// Kept explicit at every call, so that a caller's own buffers can be reused or summed into.
enum class GradMode {
  kOverwrite,   ///< gradient = value; what was there may be uninitialized
  kAccumulate,  ///< gradient += value
  kSkip,        ///< not wanted: not computed, the view is not looked at
};

namespace ops {
namespace detail {

/// Rows of one after the other's elements: what the row kernels take.
template <class T>
void check_rows(const char* op, const char* name, const View<T, 2>& v, index_t rows, index_t cols) {
  QAT_CHECK(v.shape[0] == rows && v.shape[1] == cols, kShapeMismatch, op, ": ", name, " is (", v.shape[0], ", ",
            v.shape[1], "), must be (", rows, ", ", cols, ")");
  QAT_CHECK(v.is_contiguous(), kUnsupported, op, ": ", name, " must be contiguous");
}
template <class T>
void check_vector(const char* op, const char* name, const View<T, 1>& v, index_t size) {
  QAT_CHECK(v.shape[0] == size, kShapeMismatch, op, ": ", name, " has ", v.shape[0], " elements, must have ", size);
  QAT_CHECK(v.is_contiguous(), kUnsupported, op, ": ", name, " must be contiguous");
}

}  // namespace detail
}  // namespace ops
}  // namespace qat::inline v0

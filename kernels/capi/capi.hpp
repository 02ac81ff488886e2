// How a C function calls qat: exceptions become a status and a message of the thread, dtype and scheme become types.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <type_traits>

#include "qat/kernels/cuda/device.hpp"
#include "qat/numeric/bfloat16.hpp"
#include "qat/quant/spec.hpp"
#include "qat_c.h"

namespace qat::capi {

/// Message of the last failing call of this thread.
inline thread_local std::string last_error;

inline qat_status status_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument:
      return QAT_INVALID_ARGUMENT;
    case ErrorCode::kShapeMismatch:
      return QAT_SHAPE_MISMATCH;
    case ErrorCode::kUnsupported:
      return QAT_UNSUPPORTED;
    case ErrorCode::kDevice:
      return QAT_DEVICE;
    default:
      return QAT_OTHER;
  }
}

/// f() with errors as a status.
template <class F>
qat_status guarded(F&& f) noexcept {
  try {
    f();
    return QAT_OK;
  } catch (const Error& e) {
    last_error = e.what();
    return status_of(e.code());
  } catch (const std::exception& e) {
    last_error = e.what();
    return QAT_OTHER;
  }
}

inline CudaBackend backend(const qat_cuda* cuda) {
  if (cuda == nullptr) return {};
  return {static_cast<CUstream_st*>(cuda->stream), cuda->workspace, cuda->workspace_bytes};
}

/// A pointer that a caller passed, and whether it may be null.
struct Argument {
  const char* name;
  const void* p;
  bool optional = false;
  std::size_t alignment = 0;  ///< 0: that of the call's dtype

  Argument(const char* argument, const void* pointer, bool may_be_null = false)
      : name(argument), p(pointer), optional(may_be_null) {}
  template <class T>
  requires(!std::is_void_v<T>) Argument(const char* argument, const T* pointer, bool may_be_null = false)
      : name(argument), p(pointer), optional(may_be_null), alignment(alignof(T)) {}
};
/// Refuses what no kernel can read: null, memory of the host, arrays of `dtype` that do not begin at a multiple of
/// their elements' size. Not while a graph is captured, when only work is queued.
inline void check_arguments(const qat_cuda* cuda, const char* operation, qat_dtype dtype,
                            std::initializer_list<Argument> arguments) {
  if (cuda::is_capturing(backend(cuda))) return;
  const std::size_t element = dtype == QAT_FLOAT32 ? sizeof(float) : sizeof(bfloat16);
  for (const Argument& a : arguments)
    if (a.p != nullptr || !a.optional)
      cuda::check_device_pointer(operation, a.name, a.p, a.alignment != 0 ? a.alignment : element);
}

inline QuantSpec spec(const char* operation, const char* text) {
  QAT_CHECK(text != nullptr, kInvalidArgument, operation, ": spec is null");
  return parse_spec(text);
}

/// f(T{}) with the type that dtype names.
template <class F>
void with_dtype(const char* operation, qat_dtype dtype, F&& f) {
  switch (dtype) {
    case QAT_FLOAT32:
      return f(float{});
    case QAT_BFLOAT16:
      return f(bfloat16{});
  }
  raise(ErrorCode::kInvalidArgument, operation, ": dtype is ", static_cast<int>(dtype),
        "; accepted: 0 (float32), 1 (bfloat16)");
}

}  // namespace qat::capi

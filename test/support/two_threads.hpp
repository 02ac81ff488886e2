// One backend of two threads for all tests of a program: the pool is started once.
#pragma once

#include "qat/backend/cpu.hpp"

namespace qat::test {

inline const CpuBackend& two_threads() {
  static const CpuBackend backend(2);
  return backend;
}

}  // namespace qat::test

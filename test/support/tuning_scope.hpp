// Restores the tuning of the kernels at the end of a scope.
#pragma once

#include "qat/kernels/cpu/tuning.hpp"

namespace qat::test {

class TuningScope {
 public:
  TuningScope() = default;
  ~TuningScope() { kernels::cpu_tuning() = saved_; }
  TuningScope(const TuningScope&) = delete;
  TuningScope& operator=(const TuningScope&) = delete;

 private:
  kernels::CpuTuning saved_ = kernels::cpu_tuning();
};

}  // namespace qat::test

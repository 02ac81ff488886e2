// Learning rates as a function of the step: warm-up, then constant, linear or cosine.
#pragma once

#include <cmath>

#include "qat/base/check.hpp"

namespace qat::inline v0 {

enum class ScheduleKind { kConstant, kLinear, kCosine };

/// Pure function of the step, so that a resumed run needs no state. Steps count from 0.
struct LearningRateSchedule {
  ScheduleKind kind = ScheduleKind::kConstant;
  double peak = 1e-3;        ///< reached at step warmup_steps - 1
  double floor = 0.0;        ///< where linear and cosine end, at step total_steps
  index_t warmup_steps = 0;  ///< linear warm-up: peak * (step + 1) / warmup_steps
  index_t total_steps = 1;   ///< warm-up included

  double at(index_t step) const {
    QAT_CHECK(step >= 0 && warmup_steps >= 0 && total_steps >= 1, kInvalidArgument, "LearningRateSchedule: step ", step,
              ", warmup_steps ", warmup_steps, ", total_steps ", total_steps,
              ": the first two must be >= 0, the last >= 1");
    if (step < warmup_steps) return peak * static_cast<double>(step + 1) / static_cast<double>(warmup_steps);
    if (kind == ScheduleKind::kConstant) return peak;
    if (step >= total_steps) return floor;
    const double done = static_cast<double>(step - warmup_steps) / static_cast<double>(total_steps - warmup_steps);
    if (kind == ScheduleKind::kLinear) return floor + (peak - floor) * (1.0 - done);
    constexpr double kPi = 3.14159265358979323846;
    return floor + (peak - floor) * 0.5 * (1.0 + std::cos(kPi * done));
  }
};

}  // namespace qat::inline v0

// The bridge from a run-time spec to the compiled schemes of menu.def.
#pragma once

#include "qat/quant/spec.hpp"

namespace qat::inline v0 {

/// A scheme known only at run time; stands where a QuantPolicy would for specs outside the menu.
struct RuntimePolicy {
  QuantSpec spec;
};

/// Every spec of menu.def.
inline constexpr QuantSpec kMenu[] = {
#define QAT_MENU_ENTRY(element, granularity, mapping, scale) spec_of<element, granularity, mapping, scale>,
#include "qat/quant/menu.def"
};
inline constexpr int kMenuSize = static_cast<int>(sizeof(kMenu) / sizeof(kMenu[0]));

constexpr bool in_menu(const QuantSpec& spec) {
  for (const QuantSpec& entry : kMenu)
    if (entry == spec) return true;
  return false;
}

/// Calls f(policy) once. policy.spec == spec: a compile-time constant (QuantPolicy) where the menu has it, else a value
/// (RuntimePolicy) for which f takes its run-time path; in_menu(spec) tells which.
template <class F>
constexpr void visit_spec(const QuantSpec& spec, F&& f) {
#define QAT_MENU_ENTRY(element, granularity, mapping, scale) \
  if (spec == spec_of<element, granularity, mapping, scale>) \
    return f(QuantPolicy<element, granularity, mapping, scale>{});
#include "qat/quant/menu.def"
  f(RuntimePolicy{spec});
}

}  // namespace qat::inline v0

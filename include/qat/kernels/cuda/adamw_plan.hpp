// plan_adamw of kernels/cuda/adamw.hpp: which part of which tensor each block of a step takes, and how.
#pragma once

#include "qat/kernels/cuda/adamw.hpp"
#include "qat/kernels/cuda/group_quantize.hpp"
#include "qat/kernels/cuda/group_range.hpp"

namespace qat::inline v0::cuda {

namespace detail {

/// Elements of a tensor that is not quantized; elements with groups in neighbouring lanes; tiles of a warp; of a block.
enum AdamWKind : std::uint32_t { kFlat, kLanes, kWarps, kBlocks, kAligned = 16 };
inline constexpr index_t kAdamWChunk = 4096;  // elements of a work, about
inline constexpr index_t kWarpTile = 1024;

}  // namespace detail

template <class G, class W>
AdamWPlan plan_adamw(const AdamWTensor<G, W>* tensors, index_t count, AdamWWork* works) {
  AdamWPlan plan;
  const auto add = [&](index_t tensor, std::uint32_t kind, index_t first, index_t total, index_t per_work) {
    for (index_t begin = first; begin < total; begin += per_work, ++plan.works)
      if (works != nullptr)
        works[plan.works] = {static_cast<std::uint32_t>(tensor), kind, begin,
                             total - begin < per_work ? total - begin : per_work};
  };
  for (index_t n = 0; n < count; ++n) {
    const AdamWTensor<G, W>& t = tensors[n];
    const index_t size = t.rows * t.columns;
    QAT_CHECK(t.rows >= 0 && t.columns >= 0, kShapeMismatch, "adamw: ", t.name, " is ", t.rows, " x ", t.columns);
    if (size == 0) continue;
    QAT_CHECK(t.columns <= index_t{1} << 30, kUnsupported, "adamw: ", t.name, " has rows of ", t.columns,
              " elements, accepted are at most 2^30");
    const auto check_pointer = [&](const void* p, const char* field) {
      QAT_CHECK(p != nullptr, kInvalidArgument, "adamw: ", t.name, ": ", field, " is null");
    };
    check_pointer(t.value, "value"), check_pointer(t.gradient, "gradient"), check_pointer(t.mean, "mean");
    check_pointer(t.square, "square");
    QAT_CHECK(t.group < AdamWStep::kGroups && t.learned_group < AdamWStep::kGroups, kInvalidArgument, "adamw: ", t.name,
              ": groups ", t.group, " and ", t.learned_group, ", accepted are 0 to ", AdamWStep::kGroups - 1);
    bool aligned = is_aligned4(t.value) && is_aligned4(t.gradient) && is_aligned4(t.mean) && is_aligned4(t.square) &&
                   is_aligned4(t.copy);
    if (t.scale == nullptr) {
      const index_t whole = aligned ? size / 4 * 4 : 0;
      add(n, detail::kFlat | detail::kAligned, 0, whole, detail::kAdamWChunk);
      add(n, detail::kFlat, whole, size, detail::kAdamWChunk);
      continue;
    }
    check_pointer(t.copy, "copy");
    validate_on_device(t.spec);
    const Granularity& g = t.spec.granularity;
    const bool by_group = g.kind == GranularityKind::kPerGroup;
    const bool by_row = g.kind == GranularityKind::kPerToken || (g.kind == GranularityKind::kPerAxis && g.axis == 0);
    QAT_CHECK((by_group || by_row) && quantizes_in_lanes(t.spec), kUnsupported, "adamw: ", t.name, ": ",
              to_string(t.spec),
              " is not folded into the step; accepted are group, axis0 and token granularity with "
              "an integer zero point and half_to_even rounding");
    group_layout(g, t.rows, t.columns);
    if (!has_constant_zero_point(t.spec.mapping)) check_pointer(t.zero_point, "zero_point");
    if (t.learned != nullptr) {
      check_pointer(t.learned_mean, "learned_mean"), check_pointer(t.learned_square, "learned_square");
      plan.has_learned = true;
    }
    const index_t length = by_group ? g.group_size : t.columns;
    if (aligned && by_group && length >= 16 && length <= 256 && (length & (length - 1)) == 0 &&
        t.columns % length == 0) {
      add(n, detail::kLanes | detail::kAligned, 0, size, detail::kAdamWChunk);
      continue;
    }
    aligned = aligned && t.columns % 4 == 0 && length % 4 == 0;
    const std::uint32_t kind = length <= detail::kWarpTile ? detail::kWarps : detail::kBlocks;
    const index_t tiles = group_layout(g, t.rows, t.columns).count(), per_work = detail::kAdamWChunk / length;
    add(n, kind | (aligned ? detail::kAligned : 0u), 0, tiles,
        kind == detail::kWarps ? (per_work + 7) / 8 * 8
        : per_work > 0         ? per_work
                               : 1);
  }
  return plan;
}

}  // namespace qat::inline v0::cuda

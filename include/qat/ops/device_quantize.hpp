// How a thread of a GPU evaluates quantization inside expressions.
#pragma once

#include "qat/expr/quantize.hpp"
#include "qat/kernels/cuda/group_quantize.hpp"
#include "qat/kernels/cuda/group_range.hpp"
#include "qat/ops/device_form.hpp"

QAT_EXACT_BEGIN

namespace qat::inline v0::expr {

/// The definition: schemes that are not plain. Out of line, for it is long and would be copied into every kernel.
template <Step S, class T>
QAT_HOST_DEVICE QAT_NOINLINE float defined_step(T a, const QParams p, const AffineScheme& scheme) {
  if constexpr (S == Step::kDequantize) {
    return qat::dequantize(static_cast<int>(a), p, scheme);
  } else if constexpr (S == Step::kQuantize) {
    return static_cast<float>(qat::quantize(a, p, scheme));
  } else {
    return qat::fake_quantize(a, p, scheme);
  }
}

/// step_run for one element. Plain: the scheme is_plain, and the device's own rounding gives the bits of the
/// definition.
template <Step S, bool Plain, class T, class Context>
QAT_HOST_DEVICE QAT_INLINE float step(const Context& c, T a, const QParams& p, const AffineScheme& scheme) {
  if constexpr (!Plain) {
    return defined_step<S>(a, p, scheme);
  } else {
    const cuda::LaneQuantizer<float> lane(p, scheme);
    if constexpr (S == Step::kDequantize) {
      return lane.dequantize(c, c.sub(static_cast<float>(static_cast<int>(a)), p.zero_point));
    } else if constexpr (S == Step::kQuantize) {
      return static_cast<float>(lane.quantize(c, a));
    } else {
      return lane.fake_quantize(c, a);
    }
  }
}

template <Step S, class A>
struct DeviceForm<StaticNode<S, A>> {
  using Node = StaticNode<S, A>;
  using FormA = DeviceForm<A>;
  static constexpr int kBytes = FormA::kBytes;
  static constexpr bool kPacked = FormA::kPacked, kQuantizes = true, kGroups = FormA::kGroups;

  template <int W>
  static bool is_wide(const Node& node) {
    return (node.tile_columns % W == 0 || node.tile_columns >= node.shape.columns) &&
           FormA::template is_wide<W>(node.a);
  }
  static bool is_plain(const Node& node) { return expr::is_plain(node.scheme) && FormA::is_plain(node.a); }
  template <class F>
  static void each_pointer(const Node& node, F&& f) {
    FormA::each_pointer(node.a, f);
    f("scale", node.params.scale.data, alignof(float));
    if (node.params.zero_point.data != nullptr) f("zero_point", node.params.zero_point.data, alignof(float));
  }
  template <int W>
  static void group(const Node& node, GroupedLanes& lanes) {
    cuda::validate_on_device(node.scheme.spec);
    FormA::template group<W>(node.a, lanes);
  }

  template <int W>
  struct Fetched {
    typename FormA::template Fetched<W> a;
    float scale[W], zero_point[W];
  };
  template <int W, bool Wide, class Context>
  QAT_HOST_DEVICE QAT_INLINE static Fetched<W> fetch(const Context& c, const Node& node, const Position& at,
                                                     index_t n) {
    Fetched<W> out{FormA::template fetch<W, Wide>(c, node.a, at, n), {}, {}};
    const float middle = node.scheme.spec.is_signed ? 0.0f : node.scheme.middle();
    const index_t tile_row = n > 0 ? quotient(node.shape.row(at), node.tile_rows) : 0;
    QAT_CUDA_UNROLL
    for (int i = 0; i < W; ++i) {
      out.scale[i] = 1.0f;
      out.zero_point[i] = middle;
      if (Wide && i > 0) {  // a run lies in one group
        out.scale[i] = out.scale[0];
        out.zero_point[i] = out.zero_point[0];
      } else if (i < n) {
        const index_t tile = quotient(at.column + i, node.tile_columns);
        out.scale[i] = c.load_cached(&node.params.scale(tile_row, tile));
        if (node.params.zero_point.data != nullptr)
          out.zero_point[i] = c.load_cached(&node.params.zero_point(tile_row, tile));
      }
    }
    return out;
  }
  template <int W, bool Plain, class Context>
  QAT_HOST_DEVICE QAT_INLINE static Elements<float, W> compute(const Context& c, const Node& node,
                                                               const Fetched<W>& fetched, index_t n) {
    const auto a = FormA::template compute<W, Plain>(c, node.a, fetched.a, n);
    Elements<float, W> x;
    QAT_CUDA_UNROLL
    for (int i = 0; i < W; ++i) {
      const QParams p = make_qparams(fetched.scale[i], fetched.zero_point[i], node.scheme);
      x.at[i] = step<S, Plain>(c, a.at[i], p, node.scheme);
    }
    return x;
  }
};

template <Step S, class A>
struct DeviceForm<DynamicNode<S, A>> {
  using Node = DynamicNode<S, A>;
  using FormA = DeviceForm<A>;
  static constexpr int kBytes = FormA::kBytes;
  static constexpr bool kPacked = FormA::kPacked, kQuantizes = true, kGroups = true;

  template <int W>
  static bool is_wide(const Node& node) {
    return (node.group_size % W == 0 || node.group_size >= node.columns) && FormA::template is_wide<W>(node.a);
  }
  static bool is_plain(const Node& node) { return expr::is_plain(node.scheme) && FormA::is_plain(node.a); }
  template <class F>
  static void each_pointer(const Node& node, F&& f) {
    FormA::each_pointer(node.a, f);
  }
  template <int W>
  static void group(const Node& node, GroupedLanes& lanes) {
    cuda::validate_on_device(node.scheme.spec);
    FormA::template group<W>(node.a, lanes);
    const int own = lanes_of<W>(node.group_size);
    const auto fills_lanes = [](index_t size) { return size == static_cast<index_t>(lanes_of<W>(size)) * W; };
    QAT_CHECK(lanes.group == 0 || lanes.group == node.group_size ||
                  (fills_lanes(lanes.group) && fills_lanes(node.group_size)),
              kUnsupported, "assign: groups of ", lanes.group, " and of ", node.group_size,
              " elements in one expression; accepted on a GPU: equal sizes, or powers of two from ", W, " on");
    lanes.group = node.group_size > lanes.group ? node.group_size : lanes.group;
    lanes.lanes = own > lanes.lanes ? own : lanes.lanes;
  }

  template <int W>
  using Fetched = typename FormA::template Fetched<W>;
  template <int W, bool Wide, class Context>
  QAT_HOST_DEVICE QAT_INLINE static Fetched<W> fetch(const Context& c, const Node& node, const Position& at,
                                                     index_t n) {
    return FormA::template fetch<W, Wide>(c, node.a, at, n);
  }
  template <int W, bool Plain, class Context>
  QAT_HOST_DEVICE QAT_INLINE static Elements<float, W> compute(const Context& c, const Node& node,
                                                               const Fetched<W>& fetched, index_t n) {
    const auto a = FormA::template compute<W, Plain>(c, node.a, fetched, n);
    const MappingKind mapping = node.scheme.spec.mapping;
    cuda::LaneRange own;
    QAT_CUDA_UNROLL
    for (int i = 0; i < W; ++i)
      if (i < n) own.observe(a.at[i], mapping);
    const cuda::LaneRange all = cuda::merge_lanes(c, own, static_cast<unsigned>(lanes_of<W>(node.group_size)), mapping);
    const QParams p = choose_qparams(all.range(), node.scheme);
    Elements<float, W> x;
    QAT_CUDA_UNROLL
    for (int i = 0; i < W; ++i) x.at[i] = step<S, Plain>(c, a.at[i], p, node.scheme);
    return x;
  }
};

}  // namespace qat::inline v0::expr

QAT_EXACT_END

// assign(CudaBackend, destination, expression): an expression evaluated by a GPU in one launch.
#pragma once

#include "qat/kernels/cuda/device.cuh"
#include "qat/kernels/cuda/launch.cuh"
#include "qat/ops/device_destination.hpp"
#include "qat/ops/device_quantize.hpp"

namespace qat::inline v0 {

namespace expr {

/// Indices of row `row` of a destination whose leading extents are given.
template <int Rank>
QAT_HOST_DEVICE QAT_INLINE void set_row(const index_t (&shape)[Rank], index_t row, Position& at) {
  QAT_CUDA_UNROLL
  for (int d = Rank - 2; d > 0; --d) {
    const index_t next = quotient(row, shape[d]);
    at.row[d] = row - next * shape[d];
    row = next;
  }
  if constexpr (Rank > 1) at.row[0] = row;
}

/// Rows in runs of W elements: kRuns of them a thread, all loaded before the first is computed.
template <class E, class D, int W, bool Wide, bool Plain>
struct AssignKernel {
  static constexpr int kThreads = 256;
  static constexpr int kRuns = W == 1 ? 4 : W <= 8 ? 2 : 1;
  static constexpr int kRank = D::kRank;
  using Form = DeviceForm<E>;

  E e;
  D destination;
  index_t shape[kRank], rows, columns;
  GroupedLanes grouped;
  index_t row_runs;  ///< runs of a row; those that are empty (GroupedLanes) count

  template <class Context>
  QAT_HOST_DEVICE void operator()(const Context& c) const {
    Position at[kRuns];
    int n[kRuns];
    typename Form::template Fetched<W> fetched[kRuns];
    QAT_CUDA_UNROLL
    for (int i = 0; i < kRuns; ++i) {
      const index_t run = (static_cast<index_t>(c.block()) * kRuns + i) * kThreads + c.thread();
      n[i] = place(run, at[i]);
      fetched[i] = Form::template fetch<W, Wide>(c, e, at[i], n[i]);
    }
    QAT_CUDA_UNROLL
    for (int i = 0; i < kRuns; ++i) {
      const auto x = Form::template compute<W, Plain>(c, e, fetched[i], n[i]);
      DeviceForm<D>::template store<W, Wide>(c, destination, at[i], n[i], x);
    }
  }

 private:
  /// Where a run begins, and how many elements it has.
  QAT_HOST_DEVICE QAT_INLINE int place(index_t run, Position& at) const {
    const index_t row = rows == 1 ? (run < row_runs ? 0 : 1) : quotient(run, row_runs);
    if (row >= rows) return 0;
    const index_t in_row = run - row * row_runs;
    index_t end = columns;
    at.column = in_row * W;
    if constexpr (Form::kGroups) {
      const index_t begin = quotient(in_row, grouped.lanes) * grouped.group;
      at.column = begin + in_row % grouped.lanes * W;
      if (begin + grouped.group < end) end = begin + grouped.group;
    }
    set_row(shape, row, at);
    const index_t left = end - at.column;
    return left >= W ? W : left > 0 ? static_cast<int>(left) : 0;
  }
};

/// Packed destinations whose rows share bytes or have gaps between elements: stretches of `length` elements in
/// row-major order that share no byte, one a thread.
template <class E, class D>
struct AssignStretchesKernel {
  static constexpr int kThreads = 128;
  static constexpr int kRank = D::kRank;
  using Form = DeviceForm<E>;

  E e;
  D destination;
  index_t shape[kRank], rows, columns, length;

  template <class Context>
  QAT_HOST_DEVICE void operator()(const Context& c) const {
    const index_t begin = (static_cast<index_t>(c.block()) * kThreads + c.thread()) * length;
    index_t end = rows * columns;
    if (begin + length < end) end = begin + length;
    CodeWriter<Context> writer{c, destination.view.bytes};
    for (index_t i = begin; i < end; ++i) {
      Position at;
      const index_t row = quotient(i, columns);
      at.column = i - row * columns;
      set_row(shape, row, at);
      const auto fetched = Form::template fetch<1, false>(c, e, at, 1);
      const auto x = Form::template compute<1, false>(c, e, fetched, 1);
      writer.put(destination.view.offset + offset_of(destination.view.stride, at), D::value_type::kBits,
                 x.at[0].bits());
    }
    writer.flush();
  }
};

template <class D, class E>
class CudaAssignment {
  using FormE = DeviceForm<E>;
  using FormD = DeviceForm<D>;
  static constexpr int kLargest = FormE::kBytes > FormD::kBytes ? FormE::kBytes : FormD::kBytes;
  static constexpr bool kPacked = FormE::kPacked || FormD::kPacked;
  /// Elements of 16 bytes; eight packed ones fill whole bytes.
  static constexpr int kWidth = kPacked ? 8 : kLargest >= 8 ? 2 : 16 / kLargest;

 public:
  CudaAssignment(const CudaBackend& backend, const Assignment<D, E>& a) : backend_(backend), a_(a) {}

  void run() const {
    check_memory();
    if constexpr (FormE::kGroups) {
      GroupedLanes grouped;
      FormE::template group<kWidth>(a_.e, grouped);
      if (grouped.lanes <= 32) return run_groups<kWidth>(grouped);
      if constexpr (!kPacked && kWidth < 16) {
        grouped = {};
        FormE::template group<16>(a_.e, grouped);
        if (grouped.lanes <= 32) return run_groups<16>(grouped);
      }
      raise(ErrorCode::kUnsupported, "assign: parameters are chosen from groups of ", grouped.group,
            " elements; accepted on a GPU: up to ", 32 * (kPacked ? 8 : 16),
            " (choose them first, then pass them to the expression)");
    } else {
      run_elements();
    }
  }

 private:
  /// Views of the host's memory are easy to pass by mistake, and end a process on a GPU.
  void check_memory() const {
    int operand = 0;
    const auto check_pointer = [&](const char* what, const void* p, std::size_t alignment) {
      if (what[0] != 'o') return cuda::check_device_pointer("assign", what, p, alignment);
      cuda::check_device_pointer("assign", concat("operand ", ++operand).c_str(), p, alignment);
    };
    FormD::each_pointer(a_.destination, check_pointer);
    FormE::each_pointer(a_.e, check_pointer);
  }
  void run_elements() const {
    if (FormD::template is_wide<kWidth>(a_.destination) && FormE::template is_wide<kWidth>(a_.e)) {
      launch_runs<kWidth, true>({});
    } else if constexpr (FormD::kPacked) {
      if (FormD::has_whole_bytes(a_.destination))
        launch_runs<8, false>({});
      else
        launch_stretches();
    } else {
      launch_runs<1, false>({});
    }
  }
  template <int W>
  void run_groups(const GroupedLanes& grouped) const {
    if constexpr (FormD::kPacked)
      QAT_CHECK(FormD::has_whole_bytes(a_.destination) && (grouped.group % 8 == 0 || grouped.group >= a_.columns),
                kUnsupported, "assign: groups of ", grouped.group,
                " elements end inside bytes of the packed destination (choose parameters first, then pass them)");
    if (FormD::template is_wide<W>(a_.destination) && FormE::template is_wide<W>(a_.e))
      launch_runs<W, true>(grouped);
    else
      launch_runs<W, false>(grouped);
  }

  template <int W, bool Wide>
  void launch_runs(const GroupedLanes& grouped) const {
    if constexpr (Wide && FormE::kQuantizes)
      if (FormE::is_plain(a_.e)) return launch_kernel<AssignKernel<E, D, W, true, true>, W>(grouped);
    launch_kernel<AssignKernel<E, D, W, Wide, false>, W>(grouped);
  }
  template <class Kernel, int W>
  void launch_kernel(const GroupedLanes& grouped) const {
    Kernel kernel{a_.e, a_.destination, {}, a_.rows, a_.columns, grouped, (a_.columns + W - 1) / W};
    for (int d = 0; d < D::kRank; ++d) kernel.shape[d] = a_.shape[d];
    if (FormE::kGroups) kernel.row_runs = (a_.columns + grouped.group - 1) / grouped.group * grouped.lanes;
    constexpr index_t per_block = Kernel::kThreads * Kernel::kRuns;
    start(kernel, (a_.rows * kernel.row_runs + per_block - 1) / per_block);
  }
  void launch_stretches() const {
    using Kernel = AssignStretchesKernel<E, D>;
    const auto& view = a_.destination.view;
    const index_t size = a_.rows * a_.columns;
    const bool linear =
        view.is_contiguous() && view.offset % 8 == 0;  // else one thread, for bytes may be shared anywhere
    Kernel kernel{a_.e, a_.destination, {}, a_.rows, a_.columns, linear ? index_t{8} : size};
    for (int d = 0; d < D::kRank; ++d) kernel.shape[d] = a_.shape[d];
    const index_t stretches = (size + kernel.length - 1) / kernel.length;
    start(kernel, (stretches + Kernel::kThreads - 1) / Kernel::kThreads);
  }
  template <class Kernel>
  void start(const Kernel& kernel, index_t blocks) const {
    cuda::launch(backend_, {static_cast<unsigned>(blocks), 1, 0}, kernel, "assign to ", a_.rows, " x ", a_.columns,
                 " elements");
  }

  const CudaBackend& backend_;
  const Assignment<D, E>& a_;
};

}  // namespace expr

/// Evaluates the expression into every element of the destination on the GPU: one launch, one pass, no allocation.
/// Views are of device memory; functions given to transform() and generate() must be callable on the device.
///
/// Shapes:   as for the processor's assign()
/// Exact:    the bits of the processor's assign(), for every node, but for which NaN a NaN is
/// Aliasing: as for the processor's assign()
/// Cost:     each operand element is loaded once, each destination element is stored once: in 16-byte accesses where
///           the views are contiguous along rows that begin aligned, element by element elsewhere. A packed destination
///           whose rows begin inside bytes is written by one thread, unless it is contiguous from a whole byte on
/// @throws qat::Error (kShapeMismatch) naming the dimension and both extents; (kInvalidArgument) for memory of the
/// host,
///         naming the operand; (kUnsupported) for dynamic parameters of
///         groups of more than 512 elements (256 where views are packed); (kDevice) if the device refuses the launch
template <class D, class E>
void assign(const CudaBackend& backend, const D& destination, const E& expression) {
  if constexpr (expr::check_assignable<D, E>()) {
    const auto a = expr::checked_assignment(destination, expression);
    if (!a.empty()) expr::CudaAssignment(backend, a).run();
  }
}

}  // namespace qat::inline v0

// Text of kernels/cpu/lsq.hpp, compiled once per target, after quantize-inl.hpp. The sums of kLanes pieces are reduced
// together: transposed, they are a tree of additions of whole vectors.
namespace qat::inline v0::kernels::QAT_TARGET::quantization {

/// Elements under the parameters of one tile.
struct LsqElements {
  Float scale, zero_point, inverse, qmin, qmax, low, high;
  bool passes_all;

  QAT_INLINE LsqElements(const detail::LsqJob& job, const BatchParams& params, index_t lane)
      : scale(vec::set(params.scale[lane])),
        zero_point(vec::set(params.zero_point[lane])),
        inverse(vec::set(params.inverse_or_low[lane])),
        qmin(vec::set(job.scheme.qmin)),
        qmax(vec::set(job.scheme.qmax)),
        passes_all(job.mask == SteMask::kPassThrough) {
    const float inset = job.mask == SteMask::kStrict ? 1.0f : 0.0f;
    low = vec::set(job.scheme.qmin + inset);
    high = vec::set(job.scheme.qmax - inset);
  }
  /// dx, and in `term` the product that the gradient of the scale sums.
  QAT_INLINE Float backward(Float dy, Float x, Float& term) const {
    const Float steps = rounded_product(x * inverse), unclamped = vec::round_even(steps) + zero_point;
    const Float code = clamp(unclamped, qmin, qmax) - zero_point;
    const Mask number = is_number(x), passes = (low <= unclamped) & (unclamped <= high) & number;
    const Float inside = code - steps;
    const Float derivative = passes_all ? inside : vec::select(passes, inside, code);
    term = rounded_product(dy * vec::select(number, derivative, vec::zero()));
    return passes_all ? dy : vec::select(passes, (dy * scale) * inverse, vec::zero());
  }
};

/// The sixteen lanes of a piece's sum as kLanes: i with i + 8, and so on. dx may be null; kStream: its stores bypass
/// the caches.
template <bool kStream>
QAT_INLINE Float lsq_piece(const LsqElements& elements, const float* dy, const float* x, index_t n, float* dx,
                           bool accumulate) {
  vec::Lanes16 sum = vec::set16(0.0f);
  for (index_t i = 0; i < n; i += 16) {
    QAT_UNROLL(4)
    for (int part = 0; part < vec::kParts16; ++part) {
      const index_t at = i + part * kLanes, left = n - at;
      if (left <= 0) break;
      Float term;
      if (left >= kLanes) {
        Float g = elements.backward(vec::load(dy + at), vec::load(x + at), term);
        if constexpr (kStream) {
          vec::stream(dx + at, g);
        } else if (dx != nullptr) {
          vec::store(dx + at, accumulate ? vec::load(dx + at) + g : g);
        }
      } else {
        Float g = elements.backward(vec::load(dy + at, left), vec::load(x + at, left), term);
        if (dx != nullptr) vec::store(dx + at, accumulate ? vec::load(dx + at, left) + g : g, left);
        float lanes[kLanes] = {};  // the other lanes may hold NaN: 0 * (1 / scale)
        vec::store(lanes, term, left);
        term = vec::load(lanes);
      }
      sum.part[part] = sum.part[part] + term;
    }
  }
  for (int width = vec::kParts16 / 2; width > 0; width /= 2)
    for (int i = 0; i < width; ++i) sum.part[i] = sum.part[i] + sum.part[i + width];
  return sum.part[0];
}

template <bool kStream>
inline void run_lsq_pieces(const detail::LsqJob& job, index_t first, index_t count) {
  const GroupLayout& layout = job.layout;
  const float constant_zero = job.scheme.spec.is_signed ? 0.0f : job.scheme.middle();
  index_t tile = first / job.pieces, piece = first % job.pieces;
  index_t row = tile / layout.tiles_per_row, column = tile % layout.tiles_per_row * layout.tile_columns;
  for (index_t p = 0; p < count; p += kLanes) {
    const index_t batch = count - p < kLanes ? count - p : kLanes;
    index_t begin[kLanes], length[kLanes];
    float scale[kLanes], zero_point[kLanes];
    for (index_t i = 0; i < kLanes; ++i) {
      scale[i] = 1.0f;
      zero_point[i] = 0.0f;
      if (i >= batch) continue;
      scale[i] = job.scale[tile];
      zero_point[i] = job.zero_point != nullptr ? job.zero_point[tile] : constant_zero;
      const index_t from = column + piece * reference::kLsqPiece;
      index_t end = column + layout.tile_columns < layout.columns ? column + layout.tile_columns : layout.columns;
      if (end > from + reference::kLsqPiece) end = from + reference::kLsqPiece;
      begin[i] = row * layout.columns + from;
      length[i] = end - from;
      if (++piece < job.pieces) continue;
      piece = 0;
      ++tile;
      column += layout.tile_columns;
      if (column >= layout.columns) {
        column = 0;
        ++row;
      }
    }
    BatchParams params;
    finish_params(vec::load(scale), vec::load(zero_point), job.scheme, params);
    Float sums[kLanes];
    for (index_t i = 0; i < kLanes; ++i) {
      sums[i] = vec::zero();
      if (i < batch)
        sums[i] = lsq_piece<kStream>(LsqElements(job, params, i), job.dy + begin[i], job.x + begin[i], length[i],
                                     job.dx == nullptr ? nullptr : job.dx + begin[i], job.accumulate_dx);
    }
    vec::transpose(sums);
    for (int width = kLanes / 2; width > 0; width /= 2)
      for (int i = 0; i < width; ++i) sums[i] = sums[i] + sums[i + width];
    float* const out = job.dscale + first + p;
    Float g = rounded_product(sums[0] * vec::set(job.factor));
    if (job.accumulate_dscale) g = vec::load(out, batch) + g;
    vec::store(out, g, batch);
  }
  if constexpr (kStream) vec::stream_fence();
}

/// Pieces [first, first + count) of a job.
inline void lsq_pieces(const detail::LsqJob& job, index_t first, index_t count) {
  const GroupLayout& layout = job.layout;  // every piece must begin where a vector is aligned
  const bool aligned = reinterpret_cast<std::uintptr_t>(job.dx) % sizeof(Float) == 0 && layout.columns % kLanes == 0 &&
                       layout.tile_columns % kLanes == 0;
  if (job.stream && aligned) return run_lsq_pieces<true>(job, first, count);
  run_lsq_pieces<false>(job, first, count);
}

}  // namespace qat::inline v0::kernels::QAT_TARGET::quantization

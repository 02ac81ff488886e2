// Text of kernels/cpu/packed_gemm.hpp, compiled once per target: a register tile whose weights are dequantized in
// registers.
namespace qat::inline v0::kernels::QAT_TARGET {

#if QAT_TARGET_LEVEL >= 1

/// kRows rows of x, packed as a[k][row], times the columns of C from `column` on, one vector for each of kVector.
/// Packed bytes are read in order; the tile is one chain of multiply-adds over ascending k for each output, as gemm's.
template <int kRows, int... kVector>
inline void packed_gemm_tile(const PackedGemmCall& call, const float* a, index_t row, index_t rows, index_t column,
                             std::integer_sequence<int, kVector...>) {
  namespace vec = simd::QAT_TARGET;
  constexpr int kVectors = static_cast<int>(sizeof...(kVector));
  const PackedWeight& w = *call.weight;
  const PanelLayout& layout = w.layout();
  const index_t bits = layout.bits, columns = layout.columns;
  const index_t log_quads = bits == 8 ? 0 : bits == 4 ? 1 : bits == 2 ? 2 : 3;  // quads of a chunk
  // A code under the exponent of 2^23 is the float 2^23 + code, from which a subtraction makes code - zero point.
  constexpr float kTwo23 = 8388608.0f;
  const vec::Int exponent = vec::bits(vec::set(kTwo23)), byte = vec::set_int(255);
  const vec::Int mask = vec::set_int(static_cast<int>(((1u << bits) - 1u) * 0x01010101u));
  const vec::Float start = vec::set(kTwo23 - static_cast<float>(w.spec().lowest()));
  // Vectors beyond the last panel repeat the last one and are not stored.
  const index_t last = layout.panels() * PanelLayout::kPanelRows - vec::kLanes;
  const index_t n[] = {(column + kVector * vec::kLanes < last ? column + kVector * vec::kLanes : last)...};
  const panels::QAT_TARGET::LaneParams params[] = {panels::QAT_TARGET::LaneParams(w, n[kVector])...};
  const std::uint8_t* codes[kVectors];
  for (int v = 0; v < kVectors; ++v)
    codes[v] = w.data() + n[v] / PanelLayout::kPanelRows * layout.panel_bytes() + n[v] % PanelLayout::kPanelRows * 4;

  vec::Float acc[kRows][kVectors];
  QAT_UNROLL(16)
  for (int r = 0; r < kRows; ++r) {
    QAT_UNROLL(4)
    for (int v = 0; v < kVectors; ++v) acc[r][v] = vec::zero();
  }
  const index_t width = w.groups().tile_columns;
  for (index_t k = 0, tile = 0; k < columns; ++tile) {
    vec::Float scale[kVectors], offset[kVectors];
    QAT_UNROLL(4)
    for (int v = 0; v < kVectors; ++v) {
      scale[v] = params[v].scale(tile, k);
      offset[v] = start + params[v].zero(tile, k);
    }
    for (const index_t end = k + width < columns ? k + width : columns; k < end; k += 4, a += 4 * kRows) {
      const index_t quad = k / 4, at = (quad >> log_quads) * PanelLayout::kChunkBytes;
      const int shift = static_cast<int>((quad & ((index_t{1} << log_quads) - 1)) * bits);
      vec::Int u[kVectors];
      QAT_UNROLL(4)
      for (int v = 0; v < kVectors; ++v) {
        __builtin_prefetch(codes[v] + at + call.prefetch_bytes);
        u[v] = vec::shift_right(vec::load_int(reinterpret_cast<const std::int32_t*>(codes[v] + at)), shift) & mask;
      }
      QAT_UNROLL(4)
      for (int j = 0; j < 4; ++j) {
        vec::Float weight[kVectors];
        QAT_UNROLL(4)
        for (int v = 0; v < kVectors; ++v) {
          weight[v] = (vec::from_bits((u[v] & byte) | exponent) - offset[v]) * scale[v];
          u[v] = vec::shift_right<8>(u[v]);
        }
        QAT_UNROLL(16)
        for (int r = 0; r < kRows; ++r) {
          const vec::Float x = vec::set(a[j * kRows + r]);
          QAT_UNROLL(4)
          for (int v = 0; v < kVectors; ++v) accumulate(acc[r][v], x, weight[v]);
        }
      }
    }
  }
  QAT_UNROLL(16)
  for (int r = 0; r < kRows; ++r) {
    if (r >= rows) break;
    QAT_UNROLL(4)
    for (int v = 0; v < kVectors; ++v) {
      const index_t left = w.rows() - column - v * vec::kLanes;
      if (left <= 0) break;
      const index_t valid = left < vec::kLanes ? left : index_t{vec::kLanes};
      vec::Float y = acc[r][v];
      if (call.bias != nullptr) y = y + vec::load(call.bias + column + v * vec::kLanes, valid);
      vec::store(call.c + (row + r) * call.ldc + column + v * vec::kLanes, y, valid);
    }
  }
}

/// Up to 12 rows (AVX2: 6) whose packed form has an even number, times the columns [column, column + 64).
template <class Lazy>
inline void packed_gemm_columns(const PackedGemmCall& call, const float* a, index_t row, index_t rows, index_t column) {
  namespace vec = simd::QAT_TARGET;
  const auto run = [&](auto packed_rows, auto vectors) {
    for (index_t n = column; n < column + kPackedGemmColumns && n < call.weight->rows(); n += vectors() * vec::kLanes)
      packed_gemm_tile<packed_rows()>(call, a, row, rows, n, std::make_integer_sequence<int, vectors()>{});
  };
  constexpr bool kMany = QAT_TARGET_LEVEL >= 2;
  constexpr std::integral_constant<int, kMany ? 4 : 2> few;
  switch (rows) {
    case 1:
      return run(std::integral_constant<int, 1>{}, few);
    case 2:
      return run(std::integral_constant<int, 2>{}, few);
    case 3:
    case 4:
      return run(std::integral_constant<int, 4>{}, few);
    case 5:
    case 6:
      return run(std::integral_constant<int, 6>{}, few);
    default:
      break;
  }
  if constexpr (kMany) {
    constexpr std::integral_constant<int, 2> two;
    if (rows <= 8) return run(std::integral_constant<int, 8>{}, two);
    if (rows <= 10) return run(std::integral_constant<int, 10>{}, two);
    run(std::integral_constant<int, 12>{}, two);
  }
}
template <class Lazy>
inline constexpr PackedGemmKernels kPackedGemmKernels = {QAT_TARGET_LEVEL >= 2 ? 12 : 6, &packed_gemm_columns<Lazy>};
#else
template <class Lazy>
inline constexpr PackedGemmKernels kPackedGemmKernels = {};
#endif

}  // namespace qat::inline v0::kernels::QAT_TARGET

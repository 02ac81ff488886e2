// One weight as compressed-tensors' format "pack-quantized" stores it, which vLLM, SGLang and transformers load.
//
//   NAME.weight_packed      I32 (N, ceil(K * bits / 32))  u = q + 2^(bits-1) of column k in bits [k * bits, (k+1) *
//   bits)
//                           of its row, which is read as little-endian words
//   NAME.weight_scale       F32, BF16 or F16 (N, K / group_size); (N, 1) for the strategy "channel"
//   NAME.weight_shape       I64 (2) = N, K
//   NAME.weight_zero_point  I32 (ceil(N * bits / 32), K / group_size)  packed the same way along N; asymmetric only
// Source: compressed-tensors 0.20.0, pack_to_int32 and PackedQuantizationCompressor; versions before 0.15 pack 3, 5, 6
// and 7 bits otherwise.
#pragma once

#include <bit>
#include <cstring>
#include <string>
#include <vector>

#include "qat/io/safetensors.hpp"
#include "qat/io/stored_weight.hpp"

namespace qat::inline v0 {

struct CompressedWeight {
  int bits = 4;
  index_t rows = 0, columns = 0, groups = 0;  ///< N, K, scales a row
  std::vector<std::int32_t> packed;           ///< (N, words(K))
  std::vector<float> scale;                   ///< (N, groups), every one a value of scale_dtype
  std::vector<std::int32_t> zero_point;       ///< (words(N), groups); empty: symmetric
  DType scale_dtype = DType::kF32;            ///< F32, BF16 or F16

  static index_t words(index_t count, int bits) { return (count * bits + 31) / 32; }
  /// Columns that share a scale.
  index_t group_size() const { return columns / groups; }
};

namespace detail {
static_assert(std::endian::native == std::endian::little, "qat: files of words are written on little-endian machines");

/// u(i) for i in [0, count) as words.
template <class F>
void pack_words(index_t count, int bits, const F& u, std::int32_t* words) {
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(4 * CompressedWeight::words(count, bits)));
  for (index_t i = 0; i < count; ++i) store_packed(bytes.data(), i, bits, static_cast<std::uint32_t>(u(i)));
  if (!bytes.empty()) std::memcpy(words, bytes.data(), bytes.size());
}
/// f(i, u) for i in [0, count).
template <class F>
void unpack_words(index_t count, int bits, const std::int32_t* words, const F& f) {
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(4 * CompressedWeight::words(count, bits)));
  if (!bytes.empty()) std::memcpy(bytes.data(), words, bytes.size());
  for (index_t i = 0; i < count; ++i) f(i, static_cast<int>(load_packed(bytes.data(), i, bits)));
}

/// Whether the format can hold a weight of this scheme; else why not, and which scheme it can.
inline std::string why_not_compressed(const QuantSpec& spec, index_t columns) {
  const Granularity& g = spec.granularity;
  if (has_float_zero_point(spec.mapping))
    return "zero points are floating point; accepted: integer ones, such as int4:group32:asymmetric";
  if (g.kind == GranularityKind::kPerGroup && columns % g.group_size != 0)
    return concat("rows of ", columns, " columns do not divide into groups of ", g.group_size,
                  "; accepted: a divisor, one scale a row (axis0), or the layer in floating point")
        .c_str();
  if (g.kind != GranularityKind::kPerGroup && !(g.kind == GranularityKind::kPerAxis && g.axis == 0))
    return "scales are not per row or per group of a row; accepted: groupG, axis0";
  return "";
}

/// The type of scales that a file holds as F32, F16 or BF16.
inline ScaleType stored_scale_type(DType dtype) {
  return dtype == DType::kBF16  ? ScaleType::kBfloat16
         : dtype == DType::kF16 ? ScaleType::kFloat16
                                : ScaleType::kFloat32;
}
/// @throws qat::Error (kUnsupported) naming the first scale that `dtype` cannot hold
inline void check_scales_held(const StoredWeight& weight, const std::string& name, DType dtype) {
  const FloatType type = dtype == DType::kBF16  ? FloatType::kBfloat16
                         : dtype == DType::kF16 ? FloatType::kFloat16
                                                : FloatType::kFloat32;
  if (dtype == DType::kF32) return;
  for (index_t i = 0; i < weight.groups().count(); ++i)
    QAT_CHECK(round_to(type, weight.scale(i)) == weight.scale(i), kUnsupported, name, ": scale ", i, " is ",
              weight.scale(i), ", which ", info(dtype).name,
              " cannot hold; accepted: F32, or a model trained with scales of that type, such as qat4's");
}
}  // namespace detail

/// The stored form of packed weights: codes and scales as they are. Scales become `scale_dtype`, which must hold them.
/// with_codes: false leaves `packed` empty
/// @throws qat::Error (kUnsupported) naming `name` where the format has no place for the scheme, or a scale does not
/// fit
inline CompressedWeight compress_weight(const StoredWeight& weight, const std::string& name,
                                        DType scale_dtype = DType::kF32, bool with_codes = true) {
  const QuantSpec& spec = weight.spec();
  const std::string reason = detail::why_not_compressed(spec, weight.columns());
  QAT_CHECK(reason.empty(), kUnsupported, name, ": ", to_string(spec), " does not fit pack-quantized: ", reason);
  detail::check_scales_held(weight, name, scale_dtype);
  CompressedWeight out;
  out.bits = spec.bits;
  out.rows = weight.rows();
  out.columns = weight.columns();
  out.groups = weight.groups().tiles_per_row;
  out.scale_dtype = scale_dtype;
  const index_t row_words = CompressedWeight::words(out.columns, out.bits);
  out.packed.resize(with_codes ? static_cast<std::size_t>(out.rows * row_words) : 0);
  std::vector<std::uint8_t> u(static_cast<std::size_t>(out.columns));
  for (index_t n = 0; with_codes && n < out.rows; ++n)  // a row of words is a string of bits
    weight.bits(n, u.data(), reinterpret_cast<std::uint8_t*>(out.packed.data() + n * row_words));
  out.scale = weight.scales();
  bool symmetric = true;
  for (index_t i = 0; i < out.rows * out.groups; ++i)
    symmetric = symmetric && static_cast<int>(weight.zero_point(i)) - spec.lowest() == 1 << (out.bits - 1);
  if (symmetric) return out;
  const index_t words = CompressedWeight::words(out.rows, out.bits);
  out.zero_point.resize(static_cast<std::size_t>(words * out.groups));
  std::vector<std::int32_t> column(static_cast<std::size_t>(words));
  for (index_t g = 0; g < out.groups; ++g) {
    detail::pack_words(
        out.rows, out.bits,
        [&](index_t n) { return static_cast<int>(weight.zero_point(n * out.groups + g)) - spec.lowest(); },
        column.data());
    for (index_t w = 0; w < words; ++w)
      out.zero_point[static_cast<std::size_t>(w * out.groups + g)] = column[static_cast<std::size_t>(w)];
  }
  return out;
}

inline CompressedWeight compress_weight(const PackedWeight& weight, const std::string& name,
                                        DType scale_dtype = DType::kF32) {
  return compress_weight(StoredWeight(weight), name, scale_dtype);
}

/// The weights that run: signed codes, symmetric or asymmetric, scales in the stored type.
inline PackedWeight decompress_weight(const CompressedWeight& stored) {
  QuantSpec spec;
  spec.bits = stored.bits;
  spec.granularity =
      stored.groups == 1 ? PerAxis<0>::granularity : Granularity{GranularityKind::kPerGroup, 0, stored.group_size()};
  spec.mapping = stored.zero_point.empty() ? MappingKind::kSymmetric : MappingKind::kAsymmetric;
  spec.scale_type = detail::stored_scale_type(stored.scale_dtype);
  const index_t row_words = CompressedWeight::words(stored.columns, stored.bits);
  std::vector<float> zero_point(stored.zero_point.empty() ? 0 : stored.scale.size());
  if (!zero_point.empty()) {
    const index_t words = CompressedWeight::words(stored.rows, stored.bits);
    std::vector<std::int32_t> column(static_cast<std::size_t>(words));
    for (index_t g = 0; g < stored.groups; ++g) {
      for (index_t w = 0; w < words; ++w)
        column[static_cast<std::size_t>(w)] = stored.zero_point[static_cast<std::size_t>(w * stored.groups + g)];
      detail::unpack_words(stored.rows, stored.bits, column.data(), [&](index_t n, int u) {
        zero_point[static_cast<std::size_t>(n * stored.groups + g)] = static_cast<float>(u + spec.qmin());
      });
    }
  }
  return pack_rows(
      spec, stored.rows, stored.columns,
      [&](index_t n, std::uint8_t* u) {
        detail::unpack_bits(reinterpret_cast<const std::uint8_t*>(stored.packed.data() + n * row_words), stored.columns,
                            stored.bits, u);
      },
      stored.scale.data(), zero_point.empty() ? nullptr : zero_point.data());
}

/// Reads the tensors of one layer. bits: what the configuration says; shapes must agree with it.
/// @throws qat::Error naming file and tensor: a missing one, a wrong type or shape, a scale that is NaN or infinite
inline CompressedWeight read_compressed_weight(const Safetensors& file, const std::string& name, int bits) {
  const auto tensor = [&](const char* suffix, const std::vector<index_t>& expected) -> const SafetensorView& {
    const SafetensorView& view = file.at(name + suffix);
    QAT_CHECK(view.shape == expected, kShapeMismatch, view.file, ": tensor ", printable(view.name), " has shape ",
              shape_text(view.shape), "; accepted: ", shape_text(expected));
    return view;
  };
  QAT_CHECK(bits >= 1 && bits <= 8, kUnsupported, name, ": num_bits is ", bits, "; accepted: 1 to 8");
  const std::vector<std::int64_t> shape = tensor(".weight_shape", {2}).values<std::int64_t>(DType::kI64);
  const SafetensorView& scale = file.at(name + ".weight_scale");
  QAT_CHECK(scale.dtype == DType::kF32 || scale.dtype == DType::kBF16 || scale.dtype == DType::kF16, kUnsupported,
            scale.file, ": tensor ", printable(scale.name), " is ", info(scale.dtype).name,
            "; accepted: F32, BF16, F16");
  CompressedWeight out;
  out.bits = bits;
  out.rows = static_cast<index_t>(shape[0]);
  out.columns = static_cast<index_t>(shape[1]);
  const bool is_matrix = scale.shape.size() == 2;
  out.groups = is_matrix ? scale.shape[1] : 0;
  constexpr index_t kLargest = index_t{1} << 40;  // so that no product of sizes overflows
  QAT_CHECK(is_matrix && out.rows > 0 && out.columns > 0 && out.rows < kLargest && out.columns < kLargest &&
                scale.shape[0] == out.rows && out.groups > 0 && out.columns % out.groups == 0,
            kShapeMismatch, scale.file, ": tensor ", printable(scale.name), " has shape ", shape_text(scale.shape),
            "; a weight of shape [", out.rows, ", ", out.columns, "] has (rows, groups), groups a divisor of columns");
  out.scale_dtype = scale.dtype;
  out.scale.resize(static_cast<std::size_t>(scale.size()));
  scale.to_float(out.scale.data());
  for (const float s : out.scale)
    QAT_CHECK(!is_nonfinite(s), kBadFile, scale.file, ": tensor ", printable(scale.name), " has a scale ", s,
              "; accepted: finite numbers");
  out.packed = tensor(".weight_packed", {out.rows, CompressedWeight::words(out.columns, bits)})
                   .values<std::int32_t>(DType::kI32);
  if (file.find(name + ".weight_zero_point") != nullptr)
    out.zero_point = tensor(".weight_zero_point", {CompressedWeight::words(out.rows, bits), out.groups})
                         .values<std::int32_t>(DType::kI32);
  return out;
}

}  // namespace qat::inline v0

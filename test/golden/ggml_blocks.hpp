// A folder of golden vectors of ggml's blocks: bytes and floats of rows, as cases.json {"rows": [...], "types": {...}}
// and tensors.safetensors hold them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "golden/totals.hpp"
#include "qat/io/json.hpp"
#include "qat/io/safetensors.hpp"
#include "qat/quant/affine.hpp"
#include "qat/quant/ggml_encode.hpp"
#include "qat/quant/ggml_target.hpp"

namespace qat::golden {

inline bool is_ggml_folder(const Json& cases) {
  return cases.is_object() && cases.contains("types") && cases.contains("rows");
}

namespace blocks {

/// One tensor's rows that differ from what was computed.
class GgmlComparison {
 public:
  GgmlComparison(const std::string& what, Totals& totals) : what_(what), totals_(totals) {}
  /// Rows of `stored` (count, bytes of a row) against `computed`. Rows with excused[i] may differ.
  void rows(const unsigned char* stored, const unsigned char* computed, std::size_t count, std::size_t row_bytes,
            const std::vector<bool>& excused = {}) {
    std::size_t excused_rows = 0, wrong = 0, first = 0;
    for (std::size_t i = 0; i < count; ++i) {
      if (std::memcmp(stored + i * row_bytes, computed + i * row_bytes, row_bytes) == 0) continue;
      if (i < excused.size() && excused[i]) {
        ++excused_rows;
        continue;
      }
      if (wrong++ == 0) first = i;
    }
    if (wrong > 0)
      std::printf("FAILED: %s: %zu of %zu rows differ, the first is %zu\n", what_.c_str(), wrong, count, first);
    ++(wrong > 0 ? totals_.failed : totals_.passed);
    if (wrong == 0)
      std::printf("%s: %zu rows byte for byte%s\n", what_.c_str(), count - excused_rows,
                  excused_rows > 0 ? (", " + std::to_string(excused_rows) + " undefined in C").c_str() : "");
  }

 private:
  std::string what_;
  Totals& totals_;
};

inline index_t ggml_rows(const SafetensorView& view) { return view.shape.at(0); }

/// Bits of floats, every NaN the same.
inline std::vector<std::uint32_t> comparable_bits(const std::vector<float>& values) {
  std::vector<std::uint32_t> bits;
  for (const float v : values) bits.push_back(is_nan(v) ? 0x7FC00000u : qat::bit_cast<std::uint32_t>(v));
  return bits;
}

/// A row of floats as a scheme of ggml's activations makes it, by the definition.
inline std::vector<float> activation_values(const QuantSpec& spec, const float* x, std::size_t columns) {
  const AffineScheme scheme(spec, FloatType::kFloat32);
  const auto group = static_cast<std::size_t>(spec.granularity.group_size);
  std::vector<float> values(columns);
  for (std::size_t begin = 0; begin < columns; begin += group) {
    GroupRange range;
    for (std::size_t i = begin; i < begin + group; ++i) range.observe(x[i]);
    const QParams p = choose_qparams(range, scheme);
    for (std::size_t i = begin; i < begin + group; ++i) values[i] = fake_quantize(x[i], p, scheme) + 0.0f;
  }
  return values;
}

/// A row of Q8_1 (half d, half d * sum(q), 32 codes) or Q8_K (fp32 d, 256 codes, 16 sums of 16): values d * q.
inline std::vector<float> decoded_activations(bool is_q8_k, const unsigned char* bytes, std::size_t columns) {
  std::vector<float> values(columns);
  const std::size_t block = is_q8_k ? 256 : 32;
  for (std::size_t begin = 0; begin < columns; begin += block, bytes += is_q8_k ? 292 : 36) {
    float d = 0.0f;
    std::uint16_t bits = 0;
    std::memcpy(&bits, bytes, sizeof bits);
    std::memcpy(&d, bytes, sizeof d);
    if (!is_q8_k) d = static_cast<float>(half::from_bits(bits));
    for (std::size_t i = 0; i < block; ++i)
      values[begin + i] = d * static_cast<float>(static_cast<std::int8_t>(bytes[4 + i])) + 0.0f;
  }
  return values;
}

/// The other types of activations: their values are those of our schemes, bit for bit.
inline void run_ggml_activations(const Safetensors& tensors, const std::vector<float>& input,
                                 const std::vector<bool>& excused, Totals& totals) {
  const std::size_t rows = excused.size(), columns = input.size() / (rows == 0 ? 1 : rows);
  for (const GgmlType type : {GgmlType::kQ4_1, GgmlType::kTQ2_0}) {
    const bool is_q8_k = type == GgmlType::kTQ2_0;
    for (const char* which : {"ref", "generic", "cpu"}) {
      const SafetensorView* stored = tensors.find(std::string(is_q8_k ? "act.Q8_K." : "act.Q8_1.") + which);
      if (stored == nullptr) continue;
      QuantSpec spec = parse_spec(ggml_activation(type).scheme);
      if (!is_q8_k && which[0] != 'c') spec.rounding = RoundingKind::kHalfAwayFromZero;
      std::vector<float> theirs, ours;
      for (std::size_t row = 0; row < rows; ++row) {
        const unsigned char* const bytes = stored->data + row * (stored->bytes / rows);
        const std::vector<float> a = decoded_activations(is_q8_k, bytes, columns),
                                 b = activation_values(spec, input.data() + row * columns, columns);
        theirs.insert(theirs.end(), a.begin(), a.end());
        ours.insert(ours.end(), b.begin(), b.end());
      }
      std::vector<bool> undefined = excused;
      if (is_q8_k)  // its scale has the range of a float, but where 127/amax is infinite
        for (std::size_t row = 0; row < rows; ++row) {
          float largest = 0.0f;
          for (std::size_t i = row * columns; i < (row + 1) * columns; ++i)
            largest = std::max(largest, std::abs(input[i]));
          undefined[row] = largest > 0.0f && largest < 0x1p-121f;
        }
      const std::vector<std::uint32_t> a = comparable_bits(theirs), b = comparable_bits(ours);
      GgmlComparison(stored->name, totals)
          .rows(reinterpret_cast<const unsigned char*>(a.data()), reinterpret_cast<const unsigned char*>(b.data()),
                rows, columns * sizeof(float), undefined);
    }
  }
}

/// Products with the activations of our schemes: the operands multiplied in double agree with ggml's kernels to 1e-5 of
/// the largest product, and to 1e-4 under Q4_1, whose minima ggml multiplies with sums in half.
inline void run_ggml_dots(const Json& cases, const Safetensors& tensors, const std::vector<float>& input,
                          Totals& totals) {
  const auto rows = [&](const char* name) { return tensors.at(name).values<std::int32_t>(DType::kI32); };
  const std::vector<std::int32_t> weights = rows("dot.weight_rows"), activations = rows("dot.activation_rows");
  const index_t columns = cases.at("row_length").get<index_t>();
  const auto decoded = [&](GgmlType type, const std::string& name, std::int32_t row) {
    const SafetensorView& bytes = tensors.at(name);
    std::vector<float> out(static_cast<std::size_t>(columns));
    ggml_decode(type, bytes.data + static_cast<std::size_t>(row) * static_cast<std::size_t>(bytes.shape[1]), columns,
                out.data());
    return out;
  };
  for (const auto& [name, entry] : cases.at("dot").items()) {
    const GgmlTypeInfo& type = *find_ggml_type(cases.at("types").at(name).at("type_id").get<std::uint32_t>());
    const GgmlActivation activation = ggml_activation(entry.at("activation") == "Q8_0" ? GgmlType::kQ4_0 : type.type);
    if (activation.scheme == nullptr) continue;
    const QuantSpec spec = parse_spec(activation.scheme);
    const std::vector<float> stored = tensors.at("dot." + name + ".cpu").values<float>(DType::kF32);
    double worst = 0, largest = 0;
    std::size_t i = 0;
    for (const std::int32_t a : activations) {
      const std::vector<float> x =
          activation_values(spec, input.data() + a * columns, static_cast<std::size_t>(columns));
      for (const std::int32_t w : weights) {
        const std::vector<float> y = decoded(type.type, name + ".bytes", w);
        double sum = 0;
        for (std::size_t k = 0; k < x.size(); ++k) sum += static_cast<double>(x[k]) * static_cast<double>(y[k]);
        const auto theirs = static_cast<double>(stored[i++]);
        worst = std::max(worst, std::abs(sum - theirs));
        largest = std::max(largest, std::abs(theirs));
      }
    }
    const bool passed = worst <= (type.type == GgmlType::kQ4_1 ? 1e-4 : 1e-5) * largest;
    std::printf("%sdot.%s: %zu products, largest difference %.2g of the largest\n",
                passed ? "" : "FAILED: ", name.c_str(), i, worst / largest);
    ++(passed ? totals.passed : totals.failed);
  }
}

}  // namespace blocks

/// Every type that is decoded or encoded here, and activations to Q8_0 both ways.
inline Totals run_ggml_folder(const Json& cases, const Safetensors& tensors) {
  Totals totals;
  const auto bytes_of = [](const std::vector<std::uint32_t>& v) {
    return reinterpret_cast<const unsigned char*>(v.data());
  };
  std::vector<float> input;
  std::vector<bool> excused;  // rows whose half-precision scale overflows: codes that C leaves undefined
  for (const Json& name : cases.at("rows")) excused.push_back(name.get<std::string>().starts_with("large_"));
  if (const SafetensorView* view = tensors.find("input")) input = view->values<float>(DType::kF32);
  for (const auto& [name, entry] : cases.at("types").items()) {
    const GgmlTypeInfo* type = entry.is_object() ? find_ggml_type(entry.at("type_id").get<std::uint32_t>()) : nullptr;
    if (type == nullptr || !is_ggml_decoded(type->type)) {
      std::printf("%s: not decoded here\n", name.c_str());
      ++totals.skipped;
      continue;
    }
    for (const char* prefix : {"", "decode_"}) {
      const SafetensorView* stored = tensors.find(name + "." + prefix + "bytes");
      const SafetensorView* floats = tensors.find(name + "." + prefix + "dequant");
      if (stored == nullptr || floats == nullptr) continue;
      std::vector<float> decoded(static_cast<std::size_t>(floats->size()));
      ggml_decode(type->type, stored->data, floats->size(), decoded.data());
      const auto expected = blocks::comparable_bits(floats->values<float>(DType::kF32));
      blocks::GgmlComparison(name + "." + prefix + "dequant", totals)
          .rows(bytes_of(expected), bytes_of(blocks::comparable_bits(decoded)),
                static_cast<std::size_t>(blocks::ggml_rows(*floats)), static_cast<std::size_t>(floats->shape[1]) * 4);
    }
    const SafetensorView* stored = tensors.find(name + ".bytes");
    if (stored == nullptr || !is_ggml_encoded(type->type)) continue;
    std::vector<unsigned char> encoded(stored->bytes);
    ggml_encode(type->type, input.data(), static_cast<index_t>(input.size()), encoded.data());
    blocks::GgmlComparison(name + ".bytes", totals)
        .rows(stored->data, encoded.data(), excused.size(), stored->bytes / excused.size(), excused);
  }
  if (cases.contains("dot")) blocks::run_ggml_dots(cases, tensors, input, totals);
  blocks::run_ggml_activations(tensors, input, excused, totals);
  for (const char* which : {"ref", "generic", "cpu"}) {
    const SafetensorView* stored = tensors.find(std::string("act.Q8_0.") + which);
    if (stored == nullptr) continue;
    std::vector<unsigned char> encoded(stored->bytes);
    ggml_encode_q8_0(input.data(), static_cast<index_t>(input.size()), encoded.data(),
                     which[0] == 'c' ? Q8Rounding::kVector : Q8Rounding::kReference);
    blocks::GgmlComparison(stored->name, totals)
        .rows(stored->data, encoded.data(), excused.size(), stored->bytes / excused.size(), excused);
  }
  return totals;
}

}  // namespace qat::golden

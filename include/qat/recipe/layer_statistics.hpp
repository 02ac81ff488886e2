// What one looks at in a quantized model, layer by layer: bytes, scales, codes, and how far the weights moved.
#pragma once

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "qat/recipe/packed_checkpoint.hpp"

namespace qat::inline v0::recipe {

/// Counts of log2|scale| by octave: counts[i] are in [2^(first + i), 2^(first + i + 1)). Zero scales are not in it.
struct OctaveHistogram {
  int first = 0;
  std::vector<index_t> counts;
};

struct LayerStatistics {
  std::string name;
  std::string scheme;  ///< "float" for a layer in floating point
  Shape shape;         ///< of its weight
  index_t bytes = 0;   ///< resident: packed codes, scales and zero points, or fp32; 0 for a tied head
  double bits_per_weight = 0.0;
  // Of packed layers:
  index_t scale_count = 0, negative_scales = 0, zero_scales = 0;
  double least_scale = 0.0, median_scale = 0.0, largest_scale = 0.0;  ///< of |scale|
  OctaveHistogram scales;
  int first_code = 0;          ///< qmin
  std::vector<index_t> codes;  ///< how often each code from qmin to qmax occurs
  double extreme_codes = 0.0;  ///< share of codes that are qmin or qmax
  bool has_sqnr = false;
  double sqnr_db = 0.0;  ///< 10 log10(sum w^2 / sum (w - dequantized)^2); infinite where nothing moved
};

/// 10 log10(signal / noise), of sums of squares.
inline double sqnr_decibel(double signal, double noise) { return 10.0 * std::log10(signal / noise); }

namespace detail {

inline void add_scale_statistics(const PackedWeight& packed, LayerStatistics& s) {
  std::vector<double> sizes;
  std::map<int, index_t> octaves;
  for (index_t i = 0; i < packed.groups().count(); ++i) {
    const auto scale = static_cast<double>(packed.scale(i));
    s.negative_scales += scale < 0.0;
    s.zero_scales += scale == 0.0;
    sizes.push_back(std::abs(scale));
    if (scale != 0.0) ++octaves[std::ilogb(scale)];
  }
  s.scale_count = static_cast<index_t>(sizes.size());
  if (sizes.empty()) return;
  std::sort(sizes.begin(), sizes.end());
  s.least_scale = sizes.front();
  s.median_scale = sizes[sizes.size() / 2];
  s.largest_scale = sizes.back();
  if (octaves.empty()) return;
  s.scales.first = octaves.begin()->first;
  s.scales.counts.assign(static_cast<std::size_t>(octaves.rbegin()->first - s.scales.first + 1), 0);
  for (const auto& [octave, count] : octaves)
    s.scales.counts[static_cast<std::size_t>(octave - s.scales.first)] = count;
}

inline void add_code_statistics(const PackedWeight& packed, LayerStatistics& s) {
  const int qmin = packed.spec().qmin(), qmax = packed.spec().qmax();
  s.first_code = qmin;
  s.codes.assign(static_cast<std::size_t>(qmax - qmin + 1), 0);
  for (index_t row = 0; row < packed.rows(); ++row)
    for (index_t k = 0; k < packed.columns(); ++k) ++s.codes[static_cast<std::size_t>(packed.code(row, k) - qmin)];
  const index_t all = packed.rows() * packed.columns();
  if (all > 0) s.extreme_codes = static_cast<double>(s.codes.front() + s.codes.back()) / static_cast<double>(all);
}

}  // namespace detail

/// Every layer of a model, in the order of its report. originals: weights before quantization by parameter name
/// (`NAME.weight`), for the SQNR; may be empty.
inline std::vector<LayerStatistics> layer_statistics(nn::Transformer& model,
                                                     const std::map<std::string, Tensor<float>>& originals = {}) {
  std::vector<LayerStatistics> all;
  std::shared_ptr<const PackedWeight> embedding;
  for (const detail::NamedLayer& layer : detail::layers_of(model)) {
    LayerStatistics& s = all.emplace_back();
    s.name = layer.name;
    const std::shared_ptr<const PackedWeight> packed = detail::packed_of(layer);
    if (packed == nullptr) {
      s.scheme = "float";
      s.shape = layer.weight->value.shape();
      s.bytes = layer.is_tied ? 0 : layer.weight->value.size_bytes();
      if (layer.is_tied && embedding != nullptr)
        all.front().bytes += layer.weight->value.size_bytes();  // both are held
      s.bits_per_weight = 32.0;
      continue;
    }
    LayerScheme scheme{packed->spec(), {}};
    if (layer.linear != nullptr)
      scheme.activation = dynamic_cast<const nn::PackedLinear*>(layer.linear->quantization())->activation();
    s.scheme = to_string(scheme).c_str();
    s.shape = Shape{packed->rows(), packed->columns()};
    s.bytes = packed == embedding ? 0 : packed->resident_bytes();
    const index_t weights = packed->rows() * packed->columns();
    s.bits_per_weight = 8.0 * static_cast<double>(packed->resident_bytes()) / static_cast<double>(weights);
    if (layer.embedding != nullptr) embedding = packed;
    detail::add_scale_statistics(*packed, s);
    detail::add_code_statistics(*packed, s);
    const auto original = originals.find((layer.is_tied ? model.embed_tokens().name() : layer.name) + ".weight");
    if (original == originals.end()) continue;
    double signal = 0.0, noise = 0.0;
    for (index_t row = 0; row < packed->rows(); ++row)
      for (index_t k = 0; k < packed->columns(); ++k) {
        const auto w = static_cast<double>(original->second[row * packed->columns() + k]);
        const double error = w - static_cast<double>(packed->dequantized(row, k));
        signal += w * w;
        noise += error * error;
      }
    s.has_sqnr = true;
    s.sqnr_db = sqnr_decibel(signal, noise);
  }
  return all;
}

/// The members that its layer has; SQNR is null where nothing moved.
inline nlohmann::ordered_json to_json(const LayerStatistics& s) {
  using Ordered = nlohmann::ordered_json;
  Ordered shape = Ordered::array();
  for (int d = 0; d < s.shape.rank(); ++d) shape.push_back(s.shape[d]);
  Ordered json = {{"name", s.name},
                  {"scheme", s.scheme},
                  {"shape", shape},
                  {"bytes", s.bytes},
                  {"bits_per_weight", s.bits_per_weight}};
  if (s.codes.empty()) return json;
  json["scales"] = {{"count", s.scale_count},         {"zero", s.zero_scales},     {"negative", s.negative_scales},
                    {"least", s.least_scale},         {"median", s.median_scale},  {"largest", s.largest_scale},
                    {"first_octave", s.scales.first}, {"octaves", s.scales.counts}};
  json["first_code"] = s.first_code;
  json["codes"] = s.codes;
  json["extreme_codes"] = s.extreme_codes;
  json["sqnr_db"] = s.has_sqnr && (std::isfinite)(s.sqnr_db) ? Ordered(s.sqnr_db) : Ordered(nullptr);
  return json;
}

}  // namespace qat::inline v0::recipe

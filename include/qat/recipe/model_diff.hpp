// What differs between two models, layer by layer: codes and scales of packed layers, values of the others.
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "qat/recipe/on_grid_weights.hpp"

namespace qat::inline v0::recipe {

struct LayerDiff {
  std::string name;
  std::string scheme_a, scheme_b;  ///< "float" for a layer in floating point
  index_t elements = 0;
  bool has_codes = false;   ///< both are packed in the same groups and bits: the counts of codes, scales and zero
                            ///< points are given
  index_t codes = 0;        ///< how many differ
  index_t scale_count = 0;  ///< of a layer
  index_t scales = 0;       ///< how many differ
  index_t zero_points = 0;  ///< how many differ
  index_t values = 0;       ///< weights, dequantized where packed, that differ
  double largest = 0.0;     ///< |a - b| of them
  bool same() const { return codes == 0 && scales == 0 && zero_points == 0 && values == 0; }
};

/// Compares layer by layer. An unsigned code stands for the signed one that is 2^(bits-1) less.
/// @throws qat::Error (kShapeMismatch) naming the first layer whose shapes differ, or the number of layers
inline std::vector<LayerDiff> model_diff(nn::Transformer& a, nn::Transformer& b) {
  const std::vector<detail::NamedLayer> layers_a = detail::layers_of(a), layers_b = detail::layers_of(b);
  QAT_CHECK(layers_a.size() == layers_b.size(), kShapeMismatch, "diff: the models have ", layers_a.size(), " and ",
            layers_b.size(), " layers");
  std::vector<LayerDiff> out;
  const auto compare_values = [](const Tensor<float>& wa, const Tensor<float>& wb, LayerDiff& d) {
    d.elements = wa.size();
    for (index_t k = 0; k < d.elements; ++k) {
      if (wa[k] == wb[k]) continue;
      ++d.values;
      const double difference = std::abs(static_cast<double>(wa[k]) - static_cast<double>(wb[k]));
      if (difference > d.largest) d.largest = difference;
    }
  };
  for (std::size_t i = 0; i < layers_a.size(); ++i) {
    const detail::NamedLayer &la = layers_a[i], &lb = layers_b[i];
    const std::shared_ptr<const PackedWeight> pa = detail::packed_of(la), pb = detail::packed_of(lb);
    if (la.is_tied && lb.is_tied && pa == nullptr && pb == nullptr) continue;  // its table is the embedding's
    const auto shape_of = [](const detail::NamedLayer& layer, const PackedWeight* packed) {
      return packed != nullptr ? Shape{packed->rows(), packed->columns()} : layer.weight->value.shape();
    };
    const Shape shape = shape_of(la, pa.get());
    QAT_CHECK(la.name == lb.name && shape == shape_of(lb, pb.get()), kShapeMismatch, "diff: ", la.name, " has shape ",
              to_string(shape), ", ", lb.name, " in the other model ", to_string(shape_of(lb, pb.get())));
    LayerDiff d;
    d.name = la.name;
    d.scheme_a = pa == nullptr ? "float" : to_string(pa->spec()).c_str();
    d.scheme_b = pb == nullptr ? "float" : to_string(pb->spec()).c_str();
    const Tensor<float> dense_a = pa == nullptr ? Tensor<float>() : dequantized_weight(*pa),
                        dense_b = pb == nullptr ? Tensor<float>() : dequantized_weight(*pb);
    const Tensor<float>&wa = pa == nullptr ? la.weight->value : dense_a,
          &wb = pb == nullptr ? lb.weight->value : dense_b;
    compare_values(wa, wb, d);
    d.has_codes = pa != nullptr && pb != nullptr && pa->spec().bits == pb->spec().bits &&
                  pa->groups().tile_rows == pb->groups().tile_rows &&
                  pa->groups().tile_columns == pb->groups().tile_columns;
    if (d.has_codes) {
      const int qa = pa->spec().lowest(), qb = pb->spec().lowest();
      for (index_t n = 0; n < pa->rows(); ++n)
        for (index_t k = 0; k < pa->columns(); ++k) d.codes += pa->code(n, k) - qa != pb->code(n, k) - qb;
      d.scale_count = pa->groups().count();
      for (index_t g = 0; g < d.scale_count; ++g) {
        d.scales += pa->scale(g) != pb->scale(g);
        d.zero_points += pa->zero_point(g) - static_cast<float>(qa) != pb->zero_point(g) - static_cast<float>(qb);
      }
    }
    out.push_back(std::move(d));
    if (la.bias == nullptr && lb.bias == nullptr) continue;
    QAT_CHECK(la.bias != nullptr && lb.bias != nullptr && la.bias->value.size() == lb.bias->value.size(),
              kShapeMismatch, "diff: ", la.name, ": one of the models has no bias there, or one of another size");
    LayerDiff bias;
    bias.name = la.name + ".bias";
    bias.scheme_a = bias.scheme_b = "float";
    compare_values(la.bias->value, lb.bias->value, bias);
    out.push_back(std::move(bias));
  }
  return out;
}

}  // namespace qat::inline v0::recipe

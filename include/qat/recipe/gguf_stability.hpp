// Whether a GGUF file's blocks survive somebody else's conversion: the weights written in floating point, and quantized
// again by ggml's own rules.
#pragma once

#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "qat/recipe/gguf_export.hpp"

namespace qat::inline v0::recipe {

/// Blocks that come back with the bytes they had, of how many.
struct RequantizedBlocks {
  index_t equal = 0, total = 0;
};

/// @param type    holds every row of the weight exactly (detail::holds_packed)
/// @param stored  the floating-point type of the checkpoint in between: F32, F16 or BF16
inline RequantizedBlocks requantized_blocks(const StoredWeight& weight, GgmlType type, GgmlType stored) {
  const index_t columns = weight.columns(), bytes = info(type).bytes;
  std::vector<float> values(static_cast<std::size_t>(columns));
  std::vector<std::uint8_t> scratch(values.size());
  std::vector<std::uint8_t> floats(static_cast<std::size_t>(ggml_row_bytes(stored, columns)));
  std::vector<std::uint8_t> ours(static_cast<std::size_t>(ggml_row_bytes(type, columns))), theirs(ours.size());
  RequantizedBlocks blocks;
  for (index_t row = 0; row < weight.rows(); ++row) {
    weight.values(row, scratch.data(), values.data());
    ggml_encode(stored, values.data(), columns, floats.data());
    ggml_decode(stored, floats.data(), columns, values.data());
    ggml_encode(type, values.data(), columns, theirs.data());
    const bool held = detail::encode_packed_row(weight, type, row, ours.data());
    QAT_CHECK(held, kInvalidArgument, "requantized_blocks: ", to_string(weight.spec()), " is not exact in ",
              info(type).name);
    const index_t count = static_cast<index_t>(ours.size()) / bytes;
    for (index_t b = 0; b < count; ++b)
      blocks.equal +=
          std::memcmp(ours.data() + b * bytes, theirs.data() + b * bytes, static_cast<std::size_t>(bytes)) == 0;
    blocks.total += count;
  }
  return blocks;
}

/// One layer of the report.
struct StabilityLine {
  std::string name;
  GgmlType type = GgmlType::kF32;  ///< in the GGUF file
  RequantizedBlocks blocks;        ///< none of a layer in floating point
  bool is_stable() const { return blocks.equal == blocks.total; }
};

/// Every packed matrix of a converted model as export_gguf stores it with options.type (layers that stand in one tensor
/// of the file have one type), and what becomes of its blocks.
/// @throws qat::Error as export_gguf does, where the type does not hold a layer
inline std::vector<StabilityLine> gguf_stability(nn::Transformer& model, std::optional<GgmlType> type,
                                                 GgmlType stored = GgmlType::kBF16) {
  const ExportSource source = export_source(model);
  GgufExportOptions options;
  options.type = type;
  std::vector<StabilityLine> lines;
  for (const detail::GgufPart& part : detail::gguf_parts(source, options)) {
    if (!part.layer->packed) continue;
    StabilityLine& line = lines.emplace_back(StabilityLine{part.layer->name, part.line.type, {}});
    if (info(line.type).block > 1) line.blocks = requantized_blocks(*part.layer->packed(), line.type, stored);
  }
  return lines;
}

}  // namespace qat::inline v0::recipe

// Integers of a layer in compressed-tensors' format "pack-quantized", written and read back: the codes and scales are
// yours, nothing is quantized again.
//   integer_weights DIRECTORY
#include <cmath>
#include <cstdio>

#include "qat/io/compressed_tensors.hpp"

int main(int argc, char** argv) {
  using namespace qat;
  if (argc != 2) return std::fprintf(stderr, "usage: integer_weights DIRECTORY\n"), 2;
  try {
    make_directory(argv[1]);
    const std::string path = join_path(argv[1], "layer.safetensors");
    constexpr index_t kRows = 16, kColumns = 64, kGroup = 32;

    // Codes from -8 to 7 of a (16, 64) weight, and a scale for each 32 columns: here of a wave, yours from training.
    std::vector<std::int8_t> codes;
    for (index_t i = 0; i < kRows * kColumns; ++i)
      codes.push_back(static_cast<std::int8_t>(std::lround(7.0 * std::sin(0.1 * static_cast<double>(i)))));
    const std::vector<float> scales(kRows * kColumns / kGroup, 0.125f);
    const PackedWeight weight =
        PackedWeight::pack(parse_spec("int4:group32:symmetric"), kRows, kColumns, codes.data(), scales.data());

    const CompressedWeight stored = compress_weight(weight, "up_proj", DType::kBF16);  // scales exact in bfloat16
    const std::int64_t shape[] = {stored.rows, stored.columns};
    const std::vector<std::uint16_t> stored_scales =
        rounded_bits(stored.scale.data(), stored.rows * stored.groups, DType::kBF16);
    write_safetensors(path, {{"up_proj.weight_packed", DType::kI32, {kRows, kColumns / 8}, stored.packed.data()},
                             {"up_proj.weight_scale", DType::kBF16, {kRows, stored.groups}, stored_scales.data()},
                             {"up_proj.weight_shape", DType::kI64, {2}, shape}});

    const PackedWeight again = decompress_weight(read_compressed_weight(Safetensors::open(path), "up_proj", 4));
    for (index_t n = 0; n < kRows; ++n)
      for (index_t k = 0; k < kColumns; ++k)
        if (again.dequantized(n, k) != weight.dequantized(n, k)) return 1;
    std::printf("%s: %td codes of %d bits, %s\n", path.c_str(), kRows * kColumns, stored.bits,
                to_string(again.spec()).c_str());
  } catch (const Error& error) {
    return std::fprintf(stderr, "%s\n", error.what()), 2;
  }
  return 0;
}

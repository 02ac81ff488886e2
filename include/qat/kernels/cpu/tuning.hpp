// Choices on which machines disagree, one row per kind of processor. They change speed alone, never a bit.
#pragma once

#include <cstdlib>
#include <string>
#include <string_view>

#include "qat/base/check.hpp"
#include "qat/simd/cpuid.hpp"

namespace qat::inline v0::kernels {

enum class CpuModel {
  kOther,
  kZen4,            ///< AMD family 25, models 16-31, 96-127, 160-175
  kZen5,            ///< AMD family 26
  kSapphireRapids,  ///< Intel family 6, model 143, and Emerald Rapids, model 207
};

constexpr const char* name(CpuModel model) {
  switch (model) {
    case CpuModel::kZen4:
      return "Zen 4";
    case CpuModel::kZen5:
      return "Zen 5";
    case CpuModel::kSapphireRapids:
      return "Sapphire or Emerald Rapids";
    case CpuModel::kOther:
      break;
  }
  return "other";
}

/// @param vendor        the twelve letters of CPUID leaf 0
/// @param family, model  with their extensions, as /proc/cpuinfo shows them
constexpr CpuModel cpu_model(std::string_view vendor, int family, int model) {
  if (vendor == "AuthenticAMD") {
    const bool zen4 = (model >= 16 && model <= 31) || (model >= 96 && model <= 127) || (model >= 160 && model <= 175);
    if (family == 25 && zen4) return CpuModel::kZen4;
    if (family == 26) return CpuModel::kZen5;
  }
  if (vendor == "GenuineIntel" && family == 6 && (model == 143 || model == 207)) return CpuModel::kSapphireRapids;
  return CpuModel::kOther;
}

/// The processor this runs on.
inline CpuModel cpu_model() {
#if defined(__x86_64__) && defined(__GNUC__)
  const qat::detail::CpuidWords first = qat::detail::cpuid(0), second = qat::detail::cpuid(1);
  char vendor[12];
  const std::uint32_t letters[3] = {first.b, first.d, first.c};
  for (int i = 0; i < 12; ++i) vendor[i] = static_cast<char>(letters[i / 4] >> (8 * (i % 4)) & 255);
  const int base_family = static_cast<int>(second.a >> 8 & 15), base_model = static_cast<int>(second.a >> 4 & 15);
  const bool extended = base_family == 15 || base_family == 6;
  const int family = base_family + (base_family == 15 ? static_cast<int>(second.a >> 20 & 255) : 0);
  const int model = base_model + (extended ? static_cast<int>(second.a >> 16 & 15) * 16 : 0);
  return cpu_model({vendor, 12}, family, model);
#else
  return CpuModel::kOther;
#endif
}

struct CpuTuning {
  /// Products with packed weights ask for them this far ahead of the multiplications, the row stream 4096
  /// at most; 0: not at all.
  index_t prefetch_bytes = 4096;
  /// Many rows pass by weights held in registers; else tiles of rows stay in registers and unpacked weights pass by.
  /// The first needs a load for each multiplication of a pair, which some cores that start two multiplications a cycle
  /// cannot feed.
  bool row_stream = true;
  /// Outputs of at least this size bypass the caches.
  index_t stream_bytes = index_t{8} << 20;
  /// The bf16 dot product, where there is one, is faster than fp32 multiply-adds of the same operands.
  bool bf16_dot = false;

  bool operator==(const CpuTuning&) const = default;
};

/// The row of a model. Source: measurements on EPYCs of Zen 4 and Zen 5 and a Xeon of Emerald Rapids. Prefetching 4 KiB
/// ahead gave 1.2 to 1.3x with one row of activations on the first and, in a prototype, 1.5x on the Xeon; 8 KiB gave
/// another 1.1x on Zen 5 (1 and 4 rows); outputs of half the L3 cache of one thread were the first to gain from
/// bypassing it; the bf16 dot product ran at twice the rate of multiply-adds on both EPYCs and at half of it on the
/// Xeon; the row stream at 1.6x (16 rows) of register tiles on Zen 4, 1.2x on Zen 5 (64 rows) and, in a prototype, 0.8x
/// on the Xeon.
constexpr CpuTuning default_tuning(CpuModel model) {
  CpuTuning tuning;
  tuning.bf16_dot = model == CpuModel::kZen4 || model == CpuModel::kZen5;
  if (model == CpuModel::kZen5) tuning.prefetch_bytes = 8192;
  tuning.row_stream = model != CpuModel::kSapphireRapids;
  return tuning;
}

/// As parse_tuning reads it.
inline std::string to_string(const CpuTuning& tuning) {
  return "prefetch=" + std::to_string(tuning.prefetch_bytes) + ",row_stream=" + (tuning.row_stream ? "1" : "0") +
         ",stream=" + std::to_string(tuning.stream_bytes) + ",bf16=" + (tuning.bf16_dot ? "1" : "0");
}

/// `tuning` with the choices that `text` names: "prefetch=2048,bf16=0", any of prefetch (bytes, to 65536), row_stream
/// (0 or 1), stream
/// (bytes), bf16 (0 or 1), each at most once.
/// @throws qat::Error (kInvalidArgument) naming the item and what is accepted
inline CpuTuning parse_tuning(std::string_view text, CpuTuning tuning = {}) {
  struct Key {
    std::string_view word;
    index_t low, high;
    index_t value = -1;
  };
  Key keys[] = {{"prefetch", 0, 65536}, {"row_stream", 0, 1}, {"stream", 0, index_t{1} << 50}, {"bf16", 0, 1}};
  while (!text.empty()) {
    const std::size_t comma = text.find(',');
    const std::string_view item = text.substr(0, comma);
    QAT_CHECK(comma == text.npos || comma + 1 < text.size(), kInvalidArgument, "QAT_TUNING ends with a comma after '",
              item, "', a key=value must follow");
    text = comma == text.npos ? std::string_view() : text.substr(comma + 1);
    const std::size_t equals = item.find('=');
    Key* key = nullptr;
    for (Key& candidate : keys)
      if (equals != item.npos && item.substr(0, equals) == candidate.word) key = &candidate;
    QAT_CHECK(key != nullptr, kInvalidArgument, "QAT_TUNING has '", item,
              "', must be key=value with a key of prefetch, row_stream, stream, bf16");
    QAT_CHECK(key->value < 0, kInvalidArgument, "QAT_TUNING has ", key->word, " twice, the second time as '", item,
              "'");
    const std::string_view digits = item.substr(equals + 1);
    index_t value = digits.empty() || digits.size() > 16 ? -1 : 0;
    for (const char c : digits) value = value >= 0 && c >= '0' && c <= '9' ? value * 10 + (c - '0') : -1;
    QAT_CHECK(value >= key->low && value <= key->high, kInvalidArgument, "QAT_TUNING has '", item, "', ", key->word,
              " must be a whole number in [", key->low, ", ", key->high, "]");
    key->value = value;
  }
  if (keys[0].value >= 0) tuning.prefetch_bytes = keys[0].value;
  if (keys[1].value >= 0) tuning.row_stream = keys[1].value == 1;
  if (keys[2].value >= 0) tuning.stream_bytes = keys[2].value;
  if (keys[3].value >= 0) tuning.bf16_dot = keys[3].value == 1;
  return tuning;
}

/// What the kernels use: the row of this processor with the choices of the environment variable QAT_TUNING. Writable,
/// for tests and measurements, while no kernel runs.
/// @throws qat::Error (kInvalidArgument) at first use if QAT_TUNING is not what parse_tuning takes
inline CpuTuning& cpu_tuning() {
  static CpuTuning tuning = [] {
    const char* wanted = std::getenv("QAT_TUNING");
    return parse_tuning(wanted == nullptr ? "" : wanted, default_tuning(cpu_model()));
  }();
  return tuning;
}

}  // namespace qat::inline v0::kernels

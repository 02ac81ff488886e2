// A tokenizer for tiny models: a token a byte, folded into a vocabulary of 50.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "qat/data/tokenizer.hpp"

namespace qat_test {

/// A token a byte, BOS in front.
class FoldedBytes final : public qat::Tokenizer {
 public:
  std::vector<std::int32_t> encode(std::string_view text, bool bos) const override {
    std::vector<std::int32_t> ids;
    if (bos) ids.push_back(0);
    for (const char c : text) ids.push_back(1 + static_cast<unsigned char>(c) % 49);
    return ids;
  }
  std::string decode(std::span<const std::int32_t>, bool) const override { return ""; }
  std::string token_bytes(std::int32_t) const override { return "?"; }
  std::int32_t vocab_size() const override { return 50; }
  std::int32_t bos_id() const override { return 0; }
  std::int32_t eos_id() const override { return -1; }
  const char* kind() const override { return "bytes"; }
};

}  // namespace qat_test

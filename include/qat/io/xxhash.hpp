// XXH64: a 64-bit checksum that costs less than reading the bytes. Guards against damage, not against an adversary.
#pragma once

#include <bit>
#include <cstring>
#include <string>
#include <string_view>

#include "qat/base/config.hpp"

namespace qat::inline v0 {

/// Checksum of `size` bytes.
/// Source: Yann Collet, "XXH64 algorithm description", https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md
inline std::uint64_t xxh64(const void* data, std::size_t size, std::uint64_t seed = 0) {
  constexpr std::uint64_t kPrime1 = 0x9E3779B185EBCA87u, kPrime2 = 0xC2B2AE3D27D4EB4Fu, kPrime3 = 0x165667B19E3779F9u,
                          kPrime4 = 0x85EBCA77C2B2AE63u, kPrime5 = 0x27D4EB2F165667C5u;
  const auto* p = static_cast<const unsigned char*>(data);
  const auto load = [](const unsigned char* at, int bytes) {
    std::uint64_t value = 0;
    if constexpr (std::endian::native == std::endian::little) {
      std::memcpy(&value, at, static_cast<std::size_t>(bytes));
    } else {
      for (int i = bytes - 1; i >= 0; --i) value = value << 8 | at[i];
    }
    return value;
  };
  const auto round = [](std::uint64_t accumulator, std::uint64_t lane) {
    return std::rotl(accumulator + lane * kPrime2, 31) * kPrime1;
  };
  std::size_t left = size;
  std::uint64_t hash = seed + kPrime5;
  if (left >= 32) {
    std::uint64_t lanes[4] = {seed + kPrime1 + kPrime2, seed + kPrime2, seed, seed - kPrime1};
    for (; left >= 32; left -= 32, p += 32)
      for (int i = 0; i < 4; ++i) lanes[i] = round(lanes[i], load(p + 8 * i, 8));
    hash = std::rotl(lanes[0], 1) + std::rotl(lanes[1], 7) + std::rotl(lanes[2], 12) + std::rotl(lanes[3], 18);
    for (const std::uint64_t lane : lanes) hash = (hash ^ round(0, lane)) * kPrime1 + kPrime4;
  }
  hash += size;
  for (; left >= 8; left -= 8, p += 8) hash = std::rotl(hash ^ round(0, load(p, 8)), 27) * kPrime1 + kPrime4;
  if (left >= 4) {
    hash = std::rotl(hash ^ load(p, 4) * kPrime1, 23) * kPrime2 + kPrime3;
    left -= 4;
    p += 4;
  }
  for (; left > 0; --left, ++p) hash = std::rotl(hash ^ *p * kPrime5, 11) * kPrime1;
  hash = (hash ^ hash >> 33) * kPrime2;
  hash = (hash ^ hash >> 29) * kPrime3;
  return hash ^ hash >> 32;
}
inline std::uint64_t xxh64(std::string_view text, std::uint64_t seed = 0) {
  return xxh64(text.data(), text.size(), seed);
}

/// As xxhsum prints it: 16 hexadecimal digits.
inline std::string checksum_text(std::uint64_t checksum) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string text(16, '0');
  for (std::size_t i = 16; i-- > 0; checksum >>= 4) text[i] = kHex[checksum & 15];
  return text;
}

}  // namespace qat::inline v0

// XXH64 gives the digests of its authors' program.
#include "qat/io/xxhash.hpp"

#include <doctest/doctest.h>

#include <vector>

using namespace qat;

namespace {
/// The buffer of xxHash's own sanity check.
std::vector<unsigned char> sanity_buffer(std::size_t size) {
  constexpr std::uint64_t kPrime32 = 2654435761u, kPrime64 = 11400714785074694797u;
  std::vector<unsigned char> buffer(size);
  std::uint64_t generator = kPrime32;
  for (unsigned char& byte : buffer) {
    byte = static_cast<unsigned char>(generator >> 56);
    generator *= kPrime64;
  }
  return buffer;
}
struct Digest {
  std::size_t size;
  std::uint64_t plain, seeded;  ///< with seed 0, and with the buffer's first prime
};
// xxhash.xxh64(buffer[:size], seed).intdigest() of the Python package xxhash 4.1.0.
constexpr Digest kDigests[] = {
    {0, 0xef46db3751d8e999u, 0xac75fda2929b17efu},   {1, 0xe934a84adb052768u, 0x5014607643a9b4c3u},
    {3, 0xff7e1959cb50794au, 0xaa8584e83660f7d1u},   {4, 0x9136a0dca57457eeu, 0xcaab286bd8e9fdb5u},
    {7, 0x6c83909a9f01ed25u, 0xf98d03b1ad6f9293u},   {8, 0xcdbcf538e71d1348u, 0xfe0c047a5353cdacu},
    {11, 0x6345d5746f35da70u, 0xeaa08a8c8be3cccfu},  {12, 0x0723bf50086ead9au, 0x8252819f4e506951u},
    {14, 0x8282dcc4994e35c8u, 0xc3bd6bf63deb6df0u},  {31, 0x299b39a290e6d783u, 0xda673d5feb5c1d79u},
    {32, 0x18b216492bb44b70u, 0xb3f33bdf93ade409u},  {33, 0x55c8dc3e578f5b59u, 0xe92c292f64bc3071u},
    {63, 0xa9efbe0fa0f3f4e7u, 0x6c911fadb05b6fc2u},  {64, 0xef558f8acac2b5cdu, 0xb5eeba99264cc44fu},
    {100, 0x4bfe019cd91d9ea4u, 0x4853706dc9625caeu}, {222, 0xb641ae8cb691c174u, 0x20cb8ab7ae10c14au},
    {256, 0x5e3f5bf94d574981u, 0x34733cbd9cc1b0d5u}, {300, 0x27d0e073ec12824fu, 0x36cb189d9f3b6ad6u}};
}  // namespace

TEST_CASE("xxh64 gives the reference program's digests, at any alignment") {
  const std::vector<unsigned char> buffer = sanity_buffer(300);
  for (const Digest& expected : kDigests) {
    CAPTURE(expected.size);
    CHECK(xxh64(buffer.data(), expected.size) == expected.plain);
    CHECK(xxh64(buffer.data(), expected.size, 2654435761u) == expected.seeded);
    std::vector<unsigned char> shifted(buffer.size() + 1);
    std::memcpy(shifted.data() + 1, buffer.data(), buffer.size());
    CHECK(xxh64(shifted.data() + 1, expected.size) == expected.plain);
  }
  CHECK(checksum_text(xxh64("abc")) == "44bc2cf5ad770999");
  CHECK(checksum_text(0) == "0000000000000000");
}

TEST_CASE("every flipped bit changes the digest") {
  std::vector<unsigned char> buffer = sanity_buffer(77);
  const std::uint64_t whole = xxh64(buffer.data(), buffer.size());
  for (std::size_t bit = 0; bit < 8 * buffer.size(); ++bit) {
    buffer[bit / 8] ^= static_cast<unsigned char>(1u << bit % 8);
    CHECK(xxh64(buffer.data(), buffer.size()) != whole);
    buffer[bit / 8] ^= static_cast<unsigned char>(1u << bit % 8);
  }
}

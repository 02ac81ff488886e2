// Protocol buffers by hand, read and written: for the few messages of ONNX and sentencepiece.
// Source: https://protobuf.dev/programming-guides/encoding
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "qat/base/config.hpp"

namespace qat::inline v0::detail {

/// Reads the varint at message[i] and moves i behind it; false where there is none.
inline bool read_varint(std::string_view message, std::size_t& i, std::uint64_t& value) {
  value = 0;
  for (int shift = 0; shift < 64 && i < message.size(); shift += 7) {
    const auto byte = static_cast<unsigned char>(message[i++]);
    value |= std::uint64_t{byte & 0x7Fu} << shift;
    if (byte < 0x80) return true;
  }
  return false;
}

/// f(value) for each number of a packed field, as far as they are whole.
template <class F>
void for_each_varint(std::string_view bytes, const F& f) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; read_varint(bytes, i, value);) f(value);
}

/// Calls f(number, value, bytes) for each field of a serialized message; false when the bytes are none. `value`: of a
/// varint; `bytes`: of a string or message.
template <class F>
bool for_each_proto_field(std::string_view message, F&& f) {
  std::size_t i = 0;
  const auto varint = [&](std::uint64_t& value) { return read_varint(message, i, value); };
  while (i < message.size()) {
    std::uint64_t key = 0, value = 0;
    if (!varint(key)) return false;
    std::string_view bytes;
    std::uint64_t size = 0;
    switch (key & 7) {
      case 0:
        if (!varint(value)) return false;
        break;
      case 1:
        size = 8;
        break;
      case 2:
        if (!varint(size)) return false;
        break;
      case 5:
        size = 4;
        break;
      default:
        return false;
    }
    if (size > message.size() - i) return false;
    bytes = message.substr(i, static_cast<std::size_t>(size));
    i += bytes.size();
    if (!f(key >> 3, value, bytes)) return false;
  }
  return true;
}

/// One message under construction.
class ProtoMessage {
 public:
  void varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>(value | 0x80);
    bytes_ += static_cast<char>(value);
  }
  void integer(int field, std::int64_t value) {
    varint(static_cast<std::uint64_t>(field) << 3);
    varint(static_cast<std::uint64_t>(value));
  }
  void number(int field, float value) {
    varint(static_cast<std::uint64_t>(field) << 3 | 5);
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  /// What stands before the bytes of a string or message.
  void length(int field, std::uint64_t size) {
    varint(static_cast<std::uint64_t>(field) << 3 | 2);
    varint(size);
  }
  void text(int field, std::string_view value) {
    length(field, value.size());
    bytes_.append(value);
  }
  void message(int field, const ProtoMessage& value) { text(field, value.bytes_); }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

}  // namespace qat::inline v0::detail

// GGUF, the file of llama.cpp: a streaming writer.
// Format: https://github.com/ggml-org/ggml, docs/gguf.md (version 3, little-endian).
#pragma once

#include <cstring>
#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "qat/io/gguf.hpp"

namespace qat::inline v0 {

/// Metadata to be written, in the order of the calls.
class GgufMetadata {
 public:
  void add(std::string_view key, std::uint32_t value) {
    if (key == "general.alignment") check_alignment(value);
    add_scalar(key, GgufType::kU32, value);
  }
  void add(std::string_view key, std::int32_t value) { add_scalar(key, GgufType::kI32, value); }
  void add(std::string_view key, float value) { add_scalar(key, GgufType::kF32, value); }
  void add(std::string_view key, bool value) {
    add_scalar(key, GgufType::kBool, static_cast<std::uint8_t>(value ? 1 : 0));
  }
  void add(std::string_view key, std::string_view value) {
    begin(key, GgufType::kString);
    put_string(value);
  }
  void add(std::string_view key, const char* value) { add(key, std::string_view(value)); }
  void add(std::string_view key, const std::string& value) { add(key, std::string_view(value)); }
  void add(std::string_view key, const std::vector<std::string>& values) {
    begin_array(key, GgufType::kString, values.size());
    for (const std::string& value : values) put_string(value);
  }
  void add(std::string_view key, const std::vector<float>& values) {
    begin_array(key, GgufType::kF32, values.size());
    for (const float value : values) put(value);
  }
  void add(std::string_view key, const std::vector<std::int32_t>& values) {
    begin_array(key, GgufType::kI32, values.size());
    for (const std::int32_t value : values) put(value);
  }
  /// A value of an open file as it is.
  void add(std::string_view key, const GgufValue& value) {
    if (key == "general.alignment") check_alignment(value.is_number() && !value.is_array() ? value.number() : 0.0);
    if (value.is_array()) {
      begin_array(key, value.element, value.count);
    } else {
      begin(key, value.type);
    }
    bytes_.append(value.bytes);
  }

  /// All keys of another, after those here.
  void append(const GgufMetadata& other) {
    for (const std::string& key : other.keys_)
      QAT_CHECK(keys_.insert(key).second, kInvalidArgument, "GgufMetadata: key ", printable(key), " is given twice");
    bytes_ += other.bytes_;
  }

  std::size_t size() const { return keys_.size(); }
  bool contains(std::string_view key) const { return keys_.find(key) != keys_.end(); }
  const std::string& bytes() const { return bytes_; }

 private:
  static void check_alignment(double value) {
    QAT_CHECK(value == static_cast<double>(detail::kGgufDefaultAlignment), kInvalidArgument,
              "GgufMetadata: 'general.alignment' is ", value, "; accepted: ", detail::kGgufDefaultAlignment);
  }
  template <class T>
  void put(T value) {
    char raw[sizeof(T)];
    std::memcpy(raw, &value, sizeof(T));
    bytes_.append(raw, sizeof(T));
  }
  void put_string(std::string_view text) {
    put(std::uint64_t{text.size()});
    bytes_.append(text);
  }
  void begin(std::string_view key, GgufType type) {
    QAT_CHECK(!key.empty(), kInvalidArgument, "GgufMetadata: a key is empty");
    QAT_CHECK(keys_.emplace(key).second, kInvalidArgument, "GgufMetadata: key ", printable(key), " is given twice");
    put_string(key);
    put(static_cast<std::uint32_t>(type));
  }
  void begin_array(std::string_view key, GgufType element, std::size_t count) {
    begin(key, GgufType::kArray);
    put(static_cast<std::uint32_t>(element));
    put(std::uint64_t{count});
  }
  template <class T>
  void add_scalar(std::string_view key, GgufType type, T value) {
    begin(key, type);
    put(value);
  }

  std::string bytes_;
  std::set<std::string, std::less<>> keys_;
};

/// A tensor to be written. `write` is called once, when its turn comes, and hands over all its bytes.
struct GgufEntry {
  std::string name;
  GgmlType type = GgmlType::kF32;
  std::vector<index_t> shape;  ///< slowest axis first
  std::function<void(const ByteSink& sink)> write;
};

/// Called while a file is written: bytes done and in all.
using GgufProgress = std::function<void(std::uint64_t done, std::uint64_t total)>;

/// Writes a version 3 file, completely or not at all, tensors aligned at 32 bytes in the order given. No more than what
/// `write` holds is in memory.
/// @throws qat::Error (kInvalidArgument) for a name, shape or byte count that the format or ggml's reader does not take
inline void write_gguf(const std::string& path, const GgufMetadata& metadata, const std::vector<GgufEntry>& entries,
                       const GgufProgress& progress = {}) {
  constexpr std::uint64_t alignment = detail::kGgufDefaultAlignment;
  std::string header("GGUF");
  const auto put = [&](auto value) {
    char raw[sizeof value];
    std::memcpy(raw, &value, sizeof value);
    header.append(raw, sizeof value);
  };
  put(std::uint32_t{3});
  put(std::uint64_t{entries.size()});
  put(std::uint64_t{metadata.size()});
  header += metadata.bytes();
  std::set<std::string_view> names;
  std::vector<std::uint64_t> sizes;
  std::uint64_t offset = 0;
  for (const GgufEntry& entry : entries) {
    const auto fail = [&](auto what) {
      raise(ErrorCode::kInvalidArgument, path, ": tensor ", printable(entry.name), " ", what);
    };
    if (entry.name.empty() || entry.name.size() > detail::kGgufMaxName)
      fail(concat("has a name of ", static_cast<std::uint64_t>(entry.name.size()), " bytes; accepted: 1 to 63"));
    if (!names.insert(entry.name).second) fail(concat("is given twice"));
    if (entry.shape.empty() || entry.shape.size() > detail::kGgufMaxDims)
      fail(concat("has ", static_cast<std::uint64_t>(entry.shape.size()), " dimensions; accepted: 1 to 4"));
    sizes.push_back(detail::gguf_tensor_bytes(info(entry.type), entry.shape, fail));
    put(std::uint64_t{entry.name.size()});
    header += entry.name;
    put(static_cast<std::uint32_t>(entry.shape.size()));
    for (auto extent = entry.shape.rbegin(); extent != entry.shape.rend(); ++extent)
      put(static_cast<std::uint64_t>(*extent));
    put(static_cast<std::uint32_t>(entry.type));
    put(offset);
    if (__builtin_add_overflow(offset, sizes.back(), &offset) || !detail::align_up(offset, alignment, offset))
      fail(concat("has more elements than a file can hold"));
  }
  const std::string padding(alignment, '\0');
  header.append(padding, 0, (alignment - header.size() % alignment) % alignment);
  const std::uint64_t total = header.size() + offset;
  std::uint64_t done = header.size();
  AtomicFileWriter writer(path);
  writer.write(header);
  for (std::size_t i = 0; i < entries.size(); ++i) {
    write_all_of(writer, static_cast<std::size_t>(sizes[i]), path + ": tensor " + printable(entries[i].name),
                 [&](const ByteSink& sink) {
                   entries[i].write([&](const void* data, std::size_t size) {
                     sink(data, size);
                     done += size;
                     if (progress) progress(done, total);
                   });
                 });
    const std::size_t gap = static_cast<std::size_t>((alignment - sizes[i] % alignment) % alignment);
    writer.write(padding.data(), gap);
    done += gap;
  }
  if (progress) progress(done, total);
  writer.commit();
}

}  // namespace qat::inline v0

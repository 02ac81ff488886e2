// GGUF, the file of llama.cpp: a strict memory-mapped reader.
// Format: https://github.com/ggml-org/ggml, docs/gguf.md (versions 2 and 3, little-endian) and src/gguf.cpp, whose
// checks are made here too: what this reader takes, llama.cpp's takes.
#pragma once

#include <cstring>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qat/io/file.hpp"
#include "qat/quant/ggml_decode.hpp"
#include "qat/tensor/tensor.hpp"

namespace qat::inline v0 {

/// Types of metadata values, as the file numbers them.
enum class GgufType : std::uint32_t {
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kF32,
  kBool,
  kString,
  kArray,
  kU64,
  kI64,
  kF64
};

struct GgufTypeInfo {
  const char* name;
  int bytes;  ///< 0: not of one size
};
inline constexpr GgufTypeInfo kGgufTypes[] = {{"u8", 1},  {"i8", 1},  {"u16", 2},  {"i16", 2},    {"u32", 4},
                                              {"i32", 4}, {"f32", 4}, {"bool", 1}, {"string", 0}, {"array", 0},
                                              {"u64", 8}, {"i64", 8}, {"f64", 8}};
constexpr const GgufTypeInfo& info(GgufType type) { return kGgufTypes[static_cast<std::uint32_t>(type)]; }

/// A metadata value of an open file: borrowed bytes. An array has `count` elements of `element`; anything else is one
/// element of its own type.
struct GgufValue {
  GgufType type = GgufType::kU8;
  GgufType element = GgufType::kU8;
  std::size_t count = 1;
  std::string_view bytes;                 ///< the elements as the file holds them
  std::vector<std::string_view> strings;  ///< those of a string or an array of strings, which need not be UTF-8

  bool is_array() const { return type == GgufType::kArray; }
  bool is_integer() const {
    return element != GgufType::kF32 && element != GgufType::kF64 && element != GgufType::kBool &&
           element != GgufType::kString;
  }
  bool is_number() const { return is_integer() || element == GgufType::kF32 || element == GgufType::kF64; }

  /// Element i of an integer type; a u64 beyond the range of the result becomes its largest value.
  std::int64_t integer(std::size_t i = 0) const {
    switch (element) {
      case GgufType::kU8:
      case GgufType::kBool:
        return load<std::uint8_t>(i);
      case GgufType::kI8:
        return load<std::int8_t>(i);
      case GgufType::kU16:
        return load<std::uint16_t>(i);
      case GgufType::kI16:
        return load<std::int16_t>(i);
      case GgufType::kU32:
        return load<std::uint32_t>(i);
      case GgufType::kI32:
        return load<std::int32_t>(i);
      case GgufType::kU64: {
        const std::uint64_t value = load<std::uint64_t>(i);
        return value > std::uint64_t{INT64_MAX} ? INT64_MAX : static_cast<std::int64_t>(value);
      }
      default:
        return load<std::int64_t>(i);
    }
  }
  /// Element i of a number type.
  double number(std::size_t i = 0) const {
    if (element == GgufType::kF32) return static_cast<double>(load<float>(i));
    if (element == GgufType::kF64) return load<double>(i);
    return static_cast<double>(integer(i));
  }

 private:
  template <class T>
  T load(std::size_t i) const {
    T value;
    std::memcpy(&value, bytes.data() + i * sizeof(T), sizeof(T));
    return value;
  }
};

/// "u32", "array of string".
inline std::string to_string(const GgufValue& value) {
  return (value.is_array() ? "array of " : "") + std::string(info(value.element).name);
}

/// One tensor of an open file: borrowed bytes, aligned in the file.
struct GgufTensor {
  std::string name;
  std::string file;  ///< which file it lies in
  GgmlType type = GgmlType::kF32;
  std::vector<index_t> shape;  ///< slowest axis first, the reverse of the file's order: a weight is (out, in)
  const unsigned char* data = nullptr;
  std::size_t bytes = 0;

  index_t size() const {
    index_t n = 1;
    for (const index_t extent : shape) n *= extent;
    return n;
  }

  /// Decodes into out[size()].
  /// @throws qat::Error (kUnsupported) naming the tensor if its type is not decoded
  void to_float(float* out) const {
    QAT_CHECK(is_ggml_decoded(type), kUnsupported, file, ": tensor ", printable(name), " is ", info(type).name,
              "; accepted as floats: ", kGgmlDecoded);
    ggml_decode(type, data, size(), out);
  }
};

namespace detail {

inline constexpr std::size_t kGgufMaxName = 63;
inline constexpr std::size_t kGgufMaxDims = 4;
inline constexpr std::uint64_t kGgufDefaultAlignment = 32;

/// Reads forward through the header; whatever would leave the file is an error that names the place and the field.
class GgufCursor {
 public:
  explicit GgufCursor(const MappedFile& file) : file_(file) {}

  std::size_t position() const { return position_; }
  std::size_t left() const { return file_.size() - position_; }

  template <class... Parts>
  [[noreturn]] void fail(Parts... parts) const {
    raise(ErrorCode::kBadFile, file_.path(), ": at byte ", static_cast<std::uint64_t>(position_), ": ", parts...);
  }

  std::string_view bytes(std::uint64_t size, const std::string& field) {
    if (size > left())
      fail(field, " needs ", size, " bytes, the file has ", static_cast<std::uint64_t>(left()), " more: truncated");
    const std::string_view out = file_.text().substr(position_, static_cast<std::size_t>(size));
    position_ += static_cast<std::size_t>(size);
    return out;
  }
  template <class T>
  T number(const std::string& field) {
    T value;
    std::memcpy(&value, bytes(sizeof(T), field).data(), sizeof(T));
    return value;
  }
  std::string_view string(const std::string& field) {
    const auto size = number<std::uint64_t>("the length of " + field);
    return bytes(size, field);
  }
  /// Back to an earlier position, for a message about what was read there.
  void rewind(std::size_t position) { position_ = position; }

 private:
  const MappedFile& file_;
  std::size_t position_ = 0;
};

/// `n` rounded up to a multiple of `alignment`, a power of two; false where that overflows.
constexpr bool align_up(std::uint64_t n, std::uint64_t alignment, std::uint64_t& out) {
  if (__builtin_add_overflow(n, alignment - 1, &out)) return false;
  out &= ~(alignment - 1);
  return true;
}

inline GgufValue read_gguf_value(GgufCursor& cursor, const std::string& key) {
  const std::string field = "the value of key " + printable(key);
  const auto type = [&] {
    const std::size_t at = cursor.position();
    const auto number = cursor.number<std::uint32_t>("the type of " + field);
    if (number > static_cast<std::uint32_t>(GgufType::kF64)) {
      cursor.rewind(at);
      cursor.fail(field, " has type ", number, "; accepted: 0 to 12");
    }
    return static_cast<GgufType>(number);
  };
  GgufValue value;
  value.type = value.element = type();
  std::uint64_t count = 1;
  if (value.is_array()) {
    const std::size_t at = cursor.position();
    value.element = type();
    if (value.element == GgufType::kArray) {
      cursor.rewind(at);
      cursor.fail(field, " is an array of arrays; accepted: arrays of numbers, bools or strings");
    }
    count = cursor.number<std::uint64_t>("the length of " + field);
  }
  const std::size_t begin = cursor.position();
  if (value.element == GgufType::kString) {
    if (count > cursor.left() / sizeof(std::uint64_t))
      cursor.fail(field, " has ", count, " strings, the file has ", static_cast<std::uint64_t>(cursor.left()),
                  " more bytes: truncated");
    value.strings.reserve(static_cast<std::size_t>(count));
    for (std::uint64_t i = 0; i < count; ++i) value.strings.push_back(cursor.string(field));
    const std::size_t size = cursor.position() - begin;
    cursor.rewind(begin);
    value.bytes = cursor.bytes(size, field);
  } else {
    const auto size = static_cast<std::uint64_t>(info(value.element).bytes);
    if (count > cursor.left() / size)
      cursor.fail(field, " needs ", count, " elements of ", size, " bytes, the file has ",
                  static_cast<std::uint64_t>(cursor.left()), " more: truncated");
    value.bytes = cursor.bytes(count * size, field);
  }
  value.count = static_cast<std::size_t>(count);
  if (value.element == GgufType::kBool)
    for (const char c : value.bytes)
      if (c != 0 && c != 1) {
        cursor.rewind(begin);
        cursor.fail(field, " is a bool of byte ", static_cast<int>(static_cast<unsigned char>(c)),
                    "; accepted: 0 and 1");
      }
  return value;
}

/// Elements times bytes of a tensor; throws through fail(text) for what no file can hold.
template <class Fail>
std::uint64_t gguf_tensor_bytes(const GgmlTypeInfo& type, const std::vector<index_t>& shape, const Fail& fail) {
  std::uint64_t elements = 1;
  for (const index_t extent : shape) {
    if (extent <= 0) fail(concat("has an extent ", extent, "; accepted: positive"));
    if (__builtin_mul_overflow(elements, static_cast<std::uint64_t>(extent), &elements) ||
        elements > std::uint64_t{INT64_MAX} / 8)
      fail(concat("has more elements than a file can hold"));
  }
  const index_t row = shape.empty() ? 1 : shape.back();
  if (row % type.block != 0)
    fail(concat("has rows of ", row, " elements; ", type.name, " stores blocks of ", type.block));
  return elements / static_cast<std::uint64_t>(type.block) * static_cast<std::uint64_t>(type.bytes);
}

}  // namespace detail

/// An open GGUF file. Its header is checked completely when it is opened; tensor bytes are read when touched.
class Gguf {
 public:
  /// @throws qat::Error (kBadFile) naming the file, the byte and the field: truncation, a type nobody knows, duplicate
  ///         keys or tensors, rows that are no whole blocks, tensors that do not lie one after the other
  static Gguf open(const std::string& path) {
    Gguf out;
    out.file_ = MappedFile(path);
    detail::GgufCursor cursor(out.file_);
    const std::string_view magic = cursor.bytes(4, "the magic 'GGUF'");
    if (magic != "GGUF") {
      cursor.rewind(0);
      cursor.fail("the file starts with ", printable(magic), "; accepted: 'GGUF'");
    }
    out.version_ = cursor.number<std::uint32_t>("the version");
    if (out.version_ != 2 && out.version_ != 3) {
      cursor.rewind(4);
      cursor.fail("the version is ", out.version_,
                  out.version_ != 0 && out.version_ % 65536 == 0 ? " (a big-endian file)" : "",
                  "; accepted: 2 and 3, little-endian");
    }
    const auto tensors = cursor.number<std::uint64_t>("the number of tensors");
    const auto keys = cursor.number<std::uint64_t>("the number of keys");
    out.read_metadata(cursor, keys);
    out.read_tensors(cursor, tensors);
    return out;
  }

  const std::string& path() const { return file_.path(); }
  std::uint32_t version() const { return version_; }
  std::uint64_t alignment() const { return alignment_; }

  /// Keys and values in the order of the file.
  const std::vector<std::pair<std::string_view, GgufValue>>& metadata() const { return metadata_; }
  /// Tensors in the order of the file.
  const std::vector<GgufTensor>& tensors() const { return tensors_; }

  /// nullptr when absent.
  const GgufTensor* find_tensor(std::string_view name) const {
    const auto it = tensor_index_.find(name);
    return it == tensor_index_.end() ? nullptr : &tensors_[it->second];
  }
  const GgufTensor& tensor(std::string_view name) const {
    const GgufTensor* found = find_tensor(name);
    QAT_CHECK(found != nullptr, kBadFile, path(), ": tensor ", printable(name), " is missing");
    return *found;
  }

  /// nullptr when absent.
  const GgufValue* find(std::string_view key) const {
    const auto it = key_index_.find(key);
    return it == key_index_.end() ? nullptr : &metadata_[it->second].second;
  }
  const GgufValue& at(std::string_view key) const {
    const GgufValue* value = find(key);
    QAT_CHECK(value != nullptr, kBadFile, path(), ": key ", printable(key), " is missing");
    return *value;
  }

  // Values by type; a missing key or another type is an error that names it.
  std::int64_t integer(std::string_view key) const {
    const GgufValue& value = at(key);
    return expect(!value.is_array() && value.is_integer(), key, value, "an integer").integer();
  }
  std::int64_t integer_or(std::string_view key, std::int64_t fallback) const {
    return find(key) ? integer(key) : fallback;
  }
  double number(std::string_view key) const {
    const GgufValue& value = at(key);
    return expect(!value.is_array() && value.is_number(), key, value, "a number").number();
  }
  double number_or(std::string_view key, double fallback) const { return find(key) ? number(key) : fallback; }
  bool boolean(std::string_view key) const {
    const GgufValue& value = at(key);
    return expect(value.type == GgufType::kBool, key, value, "a bool").integer() != 0;
  }
  bool boolean_or(std::string_view key, bool fallback) const { return find(key) ? boolean(key) : fallback; }
  std::string string(std::string_view key) const {
    const GgufValue& value = at(key);
    return std::string(expect(value.type == GgufType::kString, key, value, "a string").strings.front());
  }
  std::string string_or(std::string_view key, const std::string& fallback) const {
    return find(key) ? string(key) : fallback;
  }
  /// An array of strings, which live as long as this object.
  const std::vector<std::string_view>& strings(std::string_view key) const {
    const GgufValue& value = at(key);
    return expect(value.is_array() && value.element == GgufType::kString, key, value, "an array of strings").strings;
  }
  /// An array of integers: value.integer(i), i below value.count.
  const GgufValue& integers(std::string_view key) const {
    const GgufValue& value = at(key);
    return expect(value.is_array() && value.is_integer(), key, value, "an array of integers");
  }
  /// An array of numbers: value.number(i), i below value.count.
  const GgufValue& numbers(std::string_view key) const {
    const GgufValue& value = at(key);
    return expect(value.is_array() && value.is_number(), key, value, "an array of numbers");
  }

 private:
  const GgufValue& expect(bool holds, std::string_view key, const GgufValue& value, const char* accepted) const {
    QAT_CHECK(holds, kBadFile, path(), ": key ", printable(key), " is of type ", to_string(value),
              "; accepted: ", accepted);
    return value;
  }

  void read_metadata(detail::GgufCursor& cursor, std::uint64_t count) {
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::size_t begin = cursor.position();
      const auto fail = [&](const std::string& what) {
        cursor.rewind(begin);
        cursor.fail(what);
      };
      const std::string_view key = cursor.string(concat("key ", i, " of ", count).c_str());
      if (key.empty()) fail("key " + std::to_string(i) + " is empty");
      if (!key_index_.emplace(key, metadata_.size()).second)
        fail("key " + printable(key) + " appears twice; accepted: each key once");
      metadata_.emplace_back(key, detail::read_gguf_value(cursor, std::string(key)));
      if (key != "general.alignment") continue;
      const GgufValue& value = metadata_.back().second;
      const std::int64_t alignment = value.type == GgufType::kU32 ? value.integer() : 0;
      if (alignment == 0 || (alignment & (alignment - 1)) != 0)
        fail("key 'general.alignment' is " + to_string(value) +
             (value.is_integer() && !value.is_array() ? " " + std::to_string(value.integer()) : std::string()) +
             "; accepted: a power of two as u32");
      alignment_ = static_cast<std::uint64_t>(alignment);
    }
  }

  void read_tensors(detail::GgufCursor& cursor, std::uint64_t count) {
    std::uint64_t expected = 0;  // where the next tensor begins, from the start of the data
    std::vector<std::uint64_t> offsets;
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::size_t begin = cursor.position();
      GgufTensor tensor;
      const std::string_view name = cursor.string(concat("the name of tensor ", i, " of ", count).c_str());
      tensor.name = name;
      tensor.file = path();
      const std::string field = "tensor " + printable(name);
      const auto fail = [&](auto what) {
        cursor.rewind(begin);
        cursor.fail(field, " ", what);
      };
      if (name.empty() || name.size() > detail::kGgufMaxName)
        fail(concat("has a name of ", static_cast<std::uint64_t>(name.size()), " bytes; accepted: 1 to ",
                    static_cast<std::uint64_t>(detail::kGgufMaxName)));
      if (!tensor_index_.emplace(name, tensors_.size()).second) fail(concat("appears twice; accepted: each name once"));
      const auto dims = cursor.number<std::uint32_t>("the rank of " + field);
      if (dims > detail::kGgufMaxDims) fail(concat("has ", dims, " dimensions; accepted: 0 to 4"));
      tensor.shape.resize(dims);
      for (std::uint32_t d = 0; d < dims; ++d)
        tensor.shape[dims - 1 - d] = static_cast<index_t>(cursor.number<std::int64_t>("the shape of " + field));
      const auto type = cursor.number<std::uint32_t>("the type of " + field);
      const GgmlTypeInfo* type_info = find_ggml_type(type);
      if (type_info == nullptr) fail(concat("has type ", type, ", which is none of the types known of ggml 0.26"));
      tensor.type = type_info->type;
      const auto offset = cursor.number<std::uint64_t>("the offset of " + field);
      const std::uint64_t bytes = detail::gguf_tensor_bytes(*type_info, tensor.shape, fail);
      if (offset != expected)
        fail(concat("lies at offset ", offset, offset % alignment_ != 0 ? " (not aligned)" : "",
                    "; accepted: ", expected, ", the next multiple of ", alignment_, " after the tensor before it"));
      std::uint64_t end = 0;
      if (__builtin_add_overflow(expected, bytes, &end) || !detail::align_up(end, alignment_, expected))
        fail(concat("has more elements than a file can hold"));
      tensor.bytes = static_cast<std::size_t>(bytes);
      offsets.push_back(offset);
      tensors_.push_back(std::move(tensor));
    }
    if (tensors_.empty()) return;
    std::uint64_t data = 0;
    const bool fits = detail::align_up(cursor.position(), alignment_, data) && data <= file_.size();
    if (!fits)
      cursor.fail("the padding before the data needs ", data - cursor.position(), " bytes, the file has ",
                  static_cast<std::uint64_t>(cursor.left()), " more: truncated");
    const std::uint64_t present = file_.size() - data;
    for (std::size_t i = 0; i < tensors_.size(); ++i) {
      GgufTensor& tensor = tensors_[i];
      std::uint64_t end = 0;
      if (!detail::align_up(offsets[i] + tensor.bytes, alignment_, end) || end > present)
        raise(ErrorCode::kBadFile, path(), ": at byte ", data + (offsets[i] < present ? offsets[i] : present),
              ": tensor ", printable(tensor.name), " needs ", end - offsets[i],
              " bytes with its padding, the file has ", offsets[i] < present ? present - offsets[i] : 0,
              " more: truncated");
      tensor.data = file_.data() + data + offsets[i];
    }
  }

  MappedFile file_;
  std::uint32_t version_ = 3;
  std::uint64_t alignment_ = detail::kGgufDefaultAlignment;
  std::vector<std::pair<std::string_view, GgufValue>> metadata_;
  std::vector<GgufTensor> tensors_;
  std::map<std::string_view, std::size_t> key_index_, tensor_index_;  // keys lie in the mapped file
};

}  // namespace qat::inline v0

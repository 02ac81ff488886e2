// safetensors: strict reader (memory-mapped, one file or a sharded checkpoint) and writer.
// Format: https://github.com/huggingface/safetensors, "Format" in its README.
#pragma once

#include <algorithm>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "qat/io/file.hpp"
#include "qat/io/float_rows.hpp"
#include "qat/io/json.hpp"
#include "qat/quant/float16_rows.hpp"
#include "qat/tensor/tensor.hpp"

namespace qat::inline v0 {

/// Element types a safetensors file may hold, under its own names.
enum class DType {
  kBool,
  kF4,
  kF6E2M3,
  kF6E3M2,
  kU8,
  kI8,
  kF8E5M2,
  kF8E4M3,
  kF8E8M0,
  kI16,
  kU16,
  kF16,
  kBF16,
  kI32,
  kU32,
  kF32,
  kC64,
  kF64,
  kI64,
  kU64
};

struct DTypeInfo {
  DType dtype;
  const char* name;  ///< as in the file
  int bits;
};

/// Ascending in size, as upstream's enumeration.
inline constexpr DTypeInfo kDTypes[] = {
    {DType::kBool, "BOOL", 8},      {DType::kF4, "F4", 4},          {DType::kF6E2M3, "F6_E2M3", 6},
    {DType::kF6E3M2, "F6_E3M2", 6}, {DType::kU8, "U8", 8},          {DType::kI8, "I8", 8},
    {DType::kF8E5M2, "F8_E5M2", 8}, {DType::kF8E4M3, "F8_E4M3", 8}, {DType::kF8E8M0, "F8_E8M0", 8},
    {DType::kI16, "I16", 16},       {DType::kU16, "U16", 16},       {DType::kF16, "F16", 16},
    {DType::kBF16, "BF16", 16},     {DType::kI32, "I32", 32},       {DType::kU32, "U32", 32},
    {DType::kF32, "F32", 32},       {DType::kC64, "C64", 64},       {DType::kF64, "F64", 64},
    {DType::kI64, "I64", 64},       {DType::kU64, "U64", 64}};

constexpr const DTypeInfo& info(DType dtype) { return kDTypes[static_cast<int>(dtype)]; }
static_assert([] {
  for (const DTypeInfo& entry : kDTypes)
    if (&info(entry.dtype) != &entry) return false;
  return true;
}());

inline std::string shape_text(const std::vector<index_t>& shape) {
  std::string out = "[";
  for (std::size_t d = 0; d < shape.size(); ++d) out += (d == 0 ? "" : ", ") + std::to_string(shape[d]);
  return out + "]";
}

/// Whether a file's shape is that of a tensor.
inline bool same_extents(const std::vector<index_t>& stored, const Shape& shape) {
  bool same = static_cast<int>(stored.size()) == shape.rank();
  for (int d = 0; same && d < shape.rank(); ++d) same = stored[static_cast<std::size_t>(d)] == shape[d];
  return same;
}

/// One tensor of an open file: borrowed bytes, unaligned in general.
struct SafetensorView {
  std::string name;
  std::string file;  ///< which file it lies in
  DType dtype = DType::kF32;
  std::vector<index_t> shape;  ///< empty: a scalar
  const unsigned char* data = nullptr;
  std::size_t bytes = 0;

  index_t size() const {
    index_t n = 1;
    for (const index_t extent : shape) n *= extent;
    return n;
  }

  /// Elements as T, which must have the size of the stored type; checked against `expected`.
  template <class T>
  std::vector<T> values(DType expected) const {
    QAT_CHECK(dtype == expected, kBadFile, file, ": tensor ", printable(name), " is ", info(dtype).name,
              "; accepted: ", info(expected).name);
    QAT_CHECK(static_cast<int>(sizeof(T) * 8) == info(dtype).bits, kInvalidArgument,
              "SafetensorView::values: the type has ", sizeof(T), " bytes, ", info(dtype).name, " has ",
              info(dtype).bits, " bits");
    std::vector<T> out(static_cast<std::size_t>(size()));
    if (bytes > 0) std::memcpy(out.data(), data, bytes);
    return out;
  }

  /// Converts to fp32 into out[size()]: exact for F32, F16 and BF16; F64 rounds half to even. Other types throw.
  void to_float(float* out) const { to_float(0, size(), out); }
  /// The same of elements [first, first + n).
  void to_float(index_t first, index_t n, float* out) const {
    const unsigned char* const from =
        data + static_cast<std::size_t>(first) * static_cast<std::size_t>(info(dtype).bits / 8);
    switch (dtype) {
      case DType::kF32:
        if (n > 0) std::memcpy(out, from, static_cast<std::size_t>(n) * sizeof(float));
        return;
      case DType::kF16:
        return from_half_bits(from, n, out);
      case DType::kBF16:
        return from_bfloat16_bits(from, n, out);
      case DType::kF64:
        for (index_t i = 0; i < n; ++i) {
          double value;
          std::memcpy(&value, from + static_cast<std::size_t>(i) * sizeof value, sizeof value);
          out[i] = static_cast<float>(value);
        }
        return;
      default:
        raise(ErrorCode::kUnsupported, file, ": tensor ", printable(name), " is ", info(dtype).name,
              "; accepted as floats: F32, F16, BF16, F64");
    }
  }

  /// The same as an owning tensor; a scalar becomes shape (1). At most four dimensions.
  Tensor<float> to_tensor() const {
    QAT_CHECK(shape.size() <= 4, kUnsupported, file, ": tensor ", printable(name), " has shape ", shape_text(shape),
              "; accepted: at most 4 dimensions");
    Shape extents;
    switch (shape.size()) {
      case 0:
        extents = {1};
        break;
      case 1:
        extents = {shape[0]};
        break;
      case 2:
        extents = {shape[0], shape[1]};
        break;
      case 3:
        extents = {shape[0], shape[1], shape[2]};
        break;
      default:
        extents = {shape[0], shape[1], shape[2], shape[3]};
        break;
    }
    Tensor<float> out = Tensor<float>::uninitialized(extents);
    to_float(out.data());
    return out;
  }
};

/// An open safetensors file or sharded checkpoint. The header is checked completely when it is opened; tensor bytes are
/// read when touched.
class Safetensors {
 public:
  /// `path`: a .safetensors file, a ...index.json of a sharded checkpoint, or a directory holding model.safetensors or
  /// model.safetensors.index.json.
  static Safetensors open(const std::string& path) {
    Safetensors out;
    if (is_directory(path)) {
      const std::string single = join_path(path, "model.safetensors");
      const std::string index = join_path(path, "model.safetensors.index.json");
      QAT_CHECK(file_exists(single) || file_exists(index), kBadFile, path,
                ": has no weights; accepted: model.safetensors, or model.safetensors.index.json with its shards");
      if (file_exists(single)) {
        out.add_file(single);
      } else {
        out.open_index(index);
      }
    } else if (path.ends_with(".json")) {
      out.open_index(path);
    } else {
      out.add_file(path);
    }
    return out;
  }

  const std::map<std::string, SafetensorView, std::less<>>& tensors() const { return tensors_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  /// The file, or the shards.
  const std::deque<MappedFile>& files() const { return files_; }

  /// nullptr when absent.
  const SafetensorView* find(std::string_view name) const {
    const auto it = tensors_.find(name);
    return it == tensors_.end() ? nullptr : &it->second;
  }
  const SafetensorView& at(std::string_view name) const {
    const SafetensorView* view = find(name);
    QAT_CHECK(view != nullptr, kBadFile, source_, ": tensor ", printable(name), " is missing");
    return *view;
  }

 private:
  static constexpr std::uint64_t kMaxHeader = 100'000'000;

  void open_index(const std::string& path) {
    source_ = path;
    const Json json = read_json(path);
    const Json& weight_map = JsonFields(json, path).at("weight_map");
    QAT_CHECK(weight_map.is_object() && !weight_map.empty(), kBadFile, path, ": 'weight_map' is ",
              json_text(weight_map), "; accepted: an object from tensor name to file name");
    std::set<std::string> shards;
    for (const auto& [name, file] : weight_map.items()) {
      QAT_CHECK(file.is_string(), kBadFile, path, ": 'weight_map' gives tensor ", printable(name), " the file ",
                json_text(file), "; accepted: a file name");
      const auto& shard = file.get_ref<const std::string&>();
      QAT_CHECK(!shard.empty() && shard.find('/') == std::string::npos, kBadFile, path, ": 'weight_map' gives tensor ",
                printable(name), " the file ", printable(shard),
                "; accepted: the name of a file in the same directory");
      shards.insert(shard);
    }
    for (const std::string& shard : shards) {
      const std::string file = join_path(parent_directory(path), shard);
      QAT_CHECK(file_exists(file), kBadFile, path, ": shard ", printable(shard), " is missing in the same directory");
      add_file(file);
    }
    source_ = path;
    for (const auto& [name, file] : weight_map.items()) {
      const SafetensorView* view = find(name);
      QAT_CHECK(view != nullptr && file_name(view->file) == file.get_ref<const std::string&>(), kBadFile, path,
                ": tensor ", printable(name), " should be in ", json_text(file), " but is ",
                view == nullptr ? "in no shard" : "in " + file_name(view->file));
    }
    for (const auto& [name, view] : tensors_)
      QAT_CHECK(weight_map.contains(name), kBadFile, view.file, ": tensor ", printable(name), " is not in the index ",
                file_name(path));
  }

  void add_file(const std::string& path) {
    source_ = path;
    const MappedFile& file = files_.emplace_back(path);
    QAT_CHECK(file.size() >= 8, kBadFile, path, ": at byte 0: the length of the header needs 8 bytes, the file has ",
              file.size(), ": truncated");
    std::uint64_t header_size = 0;
    for (int i = 7; i >= 0; --i) header_size = header_size << 8 | file.data()[i];
    QAT_CHECK(header_size <= kMaxHeader && header_size <= file.size() - 8, kBadFile, path,
              ": at byte 8: the header needs ", header_size, " bytes, the file has ", file.size() - 8,
              " more: truncated, or no safetensors file");
    const std::string_view header = file.text().substr(8, header_size);
    QAT_CHECK(!header.empty() && header[0] == '{', kBadFile, path, ": the header does not start with '{'");
    const Json json = parse_json(header, path + ": header");
    const unsigned char* buffer = file.data() + 8 + header_size;
    const std::uint64_t buffer_size = file.size() - 8 - header_size;

    struct Extent {
      std::uint64_t begin, end;
      std::string name;
    };
    std::vector<Extent> extents;
    for (const auto& [name, entry] : json.items()) {
      if (name == "__metadata__") {
        read_metadata(entry, path);
        continue;
      }
      const std::string where = path + ": tensor " + printable(name);
      const JsonFields fields(entry, where);
      SafetensorView view;
      view.name = name;
      view.file = path;
      view.dtype = parse_dtype(fields.string("dtype"), where);
      const Json& offsets = fields.array("data_offsets");
      QAT_CHECK(offsets.size() == 2 && offsets[0].is_number_unsigned() && offsets[1].is_number_unsigned(), kBadFile,
                where, ": 'data_offsets' is ", json_text(offsets), "; accepted: [begin, end] in bytes");
      const auto begin = offsets[0].get<std::uint64_t>(), end = offsets[1].get<std::uint64_t>();
      QAT_CHECK(begin <= end && end <= buffer_size, kBadFile, where, ": 'data_offsets' are bytes ", begin, " to ", end,
                " after the header, the file has ", buffer_size, begin <= end ? ": truncated" : "");
      std::uint64_t bits = static_cast<std::uint64_t>(info(view.dtype).bits);
      bool overflow = false;
      for (const Json& extent : fields.array("shape")) {
        QAT_CHECK(extent.is_number_unsigned(), kBadFile, where, ": 'shape' is ", json_text(fields.at("shape")),
                  "; accepted: an array of sizes");
        const auto n = extent.get<std::uint64_t>();
        overflow = overflow || n > std::uint64_t{INT64_MAX} || __builtin_mul_overflow(bits, n, &bits);
        view.shape.push_back(static_cast<index_t>(n));
      }
      QAT_CHECK(!overflow && bits % 8 == 0 && bits / 8 == end - begin, kBadFile, where, ": ", info(view.dtype).name,
                " of shape ", json_text(fields.at("shape")), " does not fill its ", end - begin, " bytes");
      view.data = buffer + begin;
      view.bytes = static_cast<std::size_t>(end - begin);
      extents.push_back({begin, end, name});
      const auto [it, inserted] = tensors_.emplace(name, std::move(view));
      QAT_CHECK(inserted, kBadFile, where, ": also lies in ", file_name(it->second.file));
    }
    std::sort(extents.begin(), extents.end(),
              [](const Extent& a, const Extent& b) { return a.begin != b.begin ? a.begin < b.begin : a.end < b.end; });
    std::uint64_t position = 0;
    for (const Extent& extent : extents) {
      QAT_CHECK(extent.begin == position, kBadFile, path, ": tensor ", printable(extent.name), " begins at byte ",
                extent.begin, extent.begin < position ? ", inside the tensor before it" : ", after a hole",
                "; accepted: ", position);
      position = extent.end;
    }
    QAT_CHECK(position == buffer_size, kBadFile, path, ": the tensors end at byte ", position,
              " after the header, the file has ", buffer_size);
  }

  static DType parse_dtype(const std::string& name, const std::string& where) {
    for (const DTypeInfo& entry : kDTypes)
      if (name == entry.name) return entry.dtype;
    std::string accepted;
    for (const DTypeInfo& entry : kDTypes) accepted += std::string(accepted.empty() ? "" : " ") + entry.name;
    raise(ErrorCode::kBadFile, where, ": 'dtype' is ", printable(name), "; accepted: ", accepted);
  }

  void read_metadata(const Json& entry, const std::string& path) {
    QAT_CHECK(entry.is_object(), kBadFile, path, ": '__metadata__' is ", json_text(entry),
              "; accepted: an object of strings");
    for (const auto& [key, value] : entry.items()) {
      QAT_CHECK(value.is_string(), kBadFile, path, ": '__metadata__' key ", printable(key), " is ", json_text(value),
                "; accepted: a string");
      metadata_[key] = value.get<std::string>();
    }
  }

  std::string source_;
  std::deque<MappedFile> files_;
  std::map<std::string, SafetensorView, std::less<>> tensors_;
  std::map<std::string, std::string> metadata_;
};

/// Values as the bits of F16 or BF16, rounded half to even.
inline std::vector<std::uint16_t> rounded_bits(const float* values, index_t count, DType dtype) {
  std::vector<std::uint16_t> bits(static_cast<std::size_t>(count));
  dtype == DType::kF16 ? to_half_bits(values, count, bits.data()) : to_bfloat16_bits(values, count, bits.data());
  return bits;
}

/// A tensor to write.
struct SafetensorEntry {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<index_t> shape;
  const void* data = nullptr;  ///< borrowed until write_safetensors returns, unless there is `write`
  std::function<void(const ByteSink& sink)> write = {};  ///< called once, when its turn comes: hands over all its bytes
};

/// Hands over floats as F32, or as F16 or BF16, rounded half to even.
inline void write_floats(const float* values, index_t count, DType dtype, const ByteSink& sink) {
  if (dtype == DType::kF32) return sink(values, static_cast<std::size_t>(count) * sizeof(float));
  constexpr index_t kPiece = 1 << 16;
  for (index_t first = 0; first < count; first += kPiece) {
    const std::vector<std::uint16_t> bits = rounded_bits(values + first, (std::min)(kPiece, count - first), dtype);
    sink(bits.data(), bits.size() * sizeof(bits[0]));
  }
}

/// A tensor of floats that is read and written piece by piece.
inline SafetensorEntry float_entry(std::string name, DType dtype, FloatRows values) {
  SafetensorEntry entry{std::move(name), dtype, {}};
  for (int d = 0; d < values.shape.rank(); ++d) entry.shape.push_back(values.shape[d]);
  entry.write = [dtype, values = std::move(values)](const ByteSink& sink) {
    values.for_each([&](const float* piece, index_t n) { write_floats(piece, n, dtype, sink); });
  };
  return entry;
}

/// Writes one file, completely or not at all: header padded to 8 bytes, tensors ordered as upstream's writer orders
/// them (descending element size, then name), "format": "pt" added to the metadata (transformers refuses files without
/// it).
inline void write_safetensors(const std::string& path, std::vector<SafetensorEntry> entries,
                              std::map<std::string, std::string> metadata = {}) {
  std::sort(entries.begin(), entries.end(), [](const SafetensorEntry& a, const SafetensorEntry& b) {
    return a.dtype != b.dtype ? a.dtype > b.dtype : a.name < b.name;
  });
  metadata.emplace("format", "pt");
  nlohmann::ordered_json header;
  header["__metadata__"] = metadata;
  std::uint64_t position = 0;
  std::vector<std::size_t> sizes;
  for (const SafetensorEntry& entry : entries) {
    QAT_CHECK(!header.contains(entry.name), kInvalidArgument, path, ": tensor ", printable(entry.name),
              " is given twice");
    std::uint64_t bits = static_cast<std::uint64_t>(info(entry.dtype).bits);
    for (const index_t n : entry.shape) {
      QAT_CHECK(n >= 0 && !__builtin_mul_overflow(bits, static_cast<std::uint64_t>(n), &bits), kInvalidArgument, path,
                ": tensor ", printable(entry.name), " has shape ", shape_text(entry.shape));
    }
    QAT_CHECK(bits % 8 == 0, kInvalidArgument, path, ": tensor ", printable(entry.name), " has ", bits,
              " bits; accepted: whole bytes");
    sizes.push_back(static_cast<std::size_t>(bits / 8));
    header[entry.name] = {
        {"dtype", info(entry.dtype).name}, {"shape", entry.shape}, {"data_offsets", {position, position + bits / 8}}};
    position += bits / 8;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const nlohmann::json::exception&) {
    raise(ErrorCode::kInvalidArgument, path, ": a tensor name or the metadata is not UTF-8");
  }
  while (text.size() % 8 != 0) text += ' ';
  unsigned char length[8];
  for (int i = 0; i < 8; ++i) length[i] = static_cast<unsigned char>(std::uint64_t{text.size()} >> (8 * i));
  AtomicFileWriter writer(path);
  writer.write(length, sizeof length);
  writer.write(text);
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (!entries[i].write) {
      writer.write(entries[i].data, sizes[i]);
      continue;
    }
    write_all_of(writer, sizes[i], path + ": tensor " + printable(entries[i].name), entries[i].write);
  }
  writer.commit();
}

}  // namespace qat::inline v0

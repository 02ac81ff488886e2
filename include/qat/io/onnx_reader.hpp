// ONNX files, as far as it takes to say what one holds: initializers, operators, ends of the graph.
// Source: onnx.proto of ONNX 1.20 for field numbers and element types.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "qat/io/file.hpp"
#include "qat/io/protobuf.hpp"

namespace qat::inline v0 {

struct OnnxElementType {
  std::uint64_t number;  ///< TensorProto.DataType
  const char* name;
  int bits;
};
inline constexpr OnnxElementType kOnnxElementTypes[] = {
    {1, "FLOAT", 32},   {2, "UINT8", 8},    {3, "INT8", 8},       {4, "UINT16", 16},   {5, "INT16", 16},
    {6, "INT32", 32},   {7, "INT64", 64},   {9, "BOOL", 8},       {10, "FLOAT16", 16}, {11, "DOUBLE", 64},
    {12, "UINT32", 32}, {13, "UINT64", 64}, {16, "BFLOAT16", 16}, {21, "UINT4", 4},    {22, "INT4", 4},
    {25, "UINT2", 2},   {26, "INT2", 2}};

/// Constant data of an open file: borrowed bytes.
struct OnnxTensor {
  std::string name;
  const OnnxElementType* type = nullptr;
  std::vector<index_t> shape;
  std::string_view bytes;  ///< row-major
};

/// A node of the graph, as far as it says what is connected.
struct OnnxNode {
  std::string op;
  std::vector<std::string> inputs, outputs;
};

/// An open ONNX file, checked when it is opened: every initializer has the bytes its shape asks for, every input of a
/// node is there before it.
class OnnxFile {
 public:
  /// @throws qat::Error (kBadFile) naming the file, and the byte, tensor or node
  static OnnxFile open(const std::string& path) {
    OnnxFile out;
    out.file_ = MappedFile(path);
    std::string_view graph;
    out.read(out.file_.text(), "the model", [&](std::uint64_t field, std::uint64_t value, std::string_view bytes) {
      if (field == 1) out.ir_version_ = value;
      if (field == 2) out.producer_ = bytes;
      if (field == 7) graph = bytes;
      if (field == 8) out.read_opset(bytes);
    });
    QAT_CHECK(graph.data() != nullptr, kBadFile, path, ": has no graph; accepted: an ONNX model");
    out.read_graph(graph);
    return out;
  }

  std::uint64_t ir_version() const { return ir_version_; }
  const std::string& producer() const { return producer_; }
  /// Version of each operator set by domain; "" is ONNX's own.
  const std::map<std::string, std::uint64_t>& opsets() const { return opsets_; }
  const std::vector<OnnxTensor>& initializers() const { return initializers_; }
  const std::vector<OnnxNode>& nodes() const { return nodes_; }
  const std::vector<std::string>& inputs() const { return inputs_; }
  const std::vector<std::string>& outputs() const { return outputs_; }

 private:
  template <class F>
  void read(std::string_view message, const char* what, const F& f) const {
    const char* good = message.data();
    const bool valid =
        detail::for_each_proto_field(message, [&](std::uint64_t field, std::uint64_t value, std::string_view bytes) {
          f(field, value, bytes);
          good = bytes.data() + bytes.size();
          return true;
        });
    if (valid) return;
    raise(ErrorCode::kBadFile, file_.path(), ": at byte ", static_cast<std::uint64_t>(good - file_.text().data()), ": ",
          what, " is no message of ONNX from here on: truncated, or no ONNX file");
  }
  void read_opset(std::string_view message) {
    std::string domain;
    std::uint64_t version = 0;
    read(message, "an operator set", [&](std::uint64_t field, std::uint64_t value, std::string_view bytes) {
      if (field == 1) domain = bytes;
      if (field == 2) version = value;
    });
    opsets_[domain] = version;
  }
  std::string name_of(std::string_view message) const {
    std::string name;
    read(message, "an input or output", [&](std::uint64_t field, std::uint64_t, std::string_view bytes) {
      if (field == 1) name = bytes;
    });
    return name;
  }

  void read_graph(std::string_view graph) {
    read(graph, "the graph", [&](std::uint64_t field, std::uint64_t, std::string_view bytes) {
      if (field == 1) {
        OnnxNode& node = nodes_.emplace_back();
        read(bytes, "a node", [&](std::uint64_t part, std::uint64_t, std::string_view text) {
          if (part == 1) node.inputs.emplace_back(text);
          if (part == 2) node.outputs.emplace_back(text);
          if (part == 4) node.op = text;
        });
      }
      if (field == 5) read_initializer(bytes);
      if (field == 11) inputs_.push_back(name_of(bytes));
      if (field == 12) outputs_.push_back(name_of(bytes));
    });
    std::set<std::string_view> known(inputs_.begin(), inputs_.end());
    for (const OnnxTensor& tensor : initializers_)
      QAT_CHECK(known.insert(tensor.name).second, kBadFile, file_.path(), ": initializer ", printable(tensor.name),
                " appears twice, or is an input too; accepted: each name once");
    const auto expect = [&](const std::string& name, const std::string& who) {
      QAT_CHECK(name.empty() || known.contains(name), kBadFile, file_.path(), ": ", who, " reads ", printable(name),
                ", which nothing before it makes");
    };
    for (const OnnxNode& node : nodes_) {
      for (const std::string& input : node.inputs) expect(input, "node " + printable(node.op));
      known.insert(node.outputs.begin(), node.outputs.end());
    }
    for (const std::string& output : outputs_) expect(output, "the graph");
  }

  void read_initializer(std::string_view message) {
    OnnxTensor& tensor = initializers_.emplace_back();
    std::uint64_t type = 0, bits = 1;
    bool overflow = false, elsewhere = false;
    const auto add_extent = [&](std::uint64_t extent) {
      overflow = overflow || extent > std::uint64_t{INT64_MAX} || __builtin_mul_overflow(bits, extent, &bits);
      tensor.shape.push_back(static_cast<index_t>(extent));
    };
    read(message, "an initializer", [&](std::uint64_t field, std::uint64_t value, std::string_view bytes) {
      if (field == 1 && bytes.empty()) add_extent(value);
      if (field == 1) detail::for_each_varint(bytes, add_extent);  // packed
      if (field == 2) type = value;
      if (field == 8) tensor.name = bytes;
      if (field == 9) tensor.bytes = bytes;
      elsewhere = elsewhere || field == 13 || (field >= 4 && field <= 7) || field == 10 || field == 11;
    });
    for (const OnnxElementType& entry : kOnnxElementTypes)
      if (entry.number == type) tensor.type = &entry;
    const std::string where = file_.path() + ": initializer " + printable(tensor.name);
    QAT_CHECK(tensor.type != nullptr, kUnsupported, where, " has element type ", type,
              "; accepted: numbers of 2 to 64 bits");
    QAT_CHECK(!elsewhere, kUnsupported, where,
              " keeps its values outside of raw_data; accepted: raw_data in this file");
    overflow = overflow || __builtin_mul_overflow(bits, static_cast<std::uint64_t>(tensor.type->bits), &bits) ||
               bits > std::uint64_t{INT64_MAX};
    QAT_CHECK(!overflow && (bits + 7) / 8 == tensor.bytes.size(), kBadFile, where, " has ", tensor.bytes.size(),
              " bytes; its shape asks for ", overflow ? UINT64_MAX : (bits + 7) / 8);
  }

  MappedFile file_;
  std::uint64_t ir_version_ = 0;
  std::string producer_;
  std::map<std::string, std::uint64_t> opsets_;
  std::vector<OnnxTensor> initializers_;
  std::vector<OnnxNode> nodes_;
  std::vector<std::string> inputs_, outputs_;
};

}  // namespace qat::inline v0

// Writes ONNX files: the few messages that a graph of operators needs.
// Source: onnx.proto of ONNX 1.16 (IR version 10, opset 21) for field numbers.
#pragma once

#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qat/io/file.hpp"
#include "qat/io/float_rows.hpp"
#include "qat/io/protobuf.hpp"

namespace qat::inline v0 {

enum class OnnxType : std::int32_t { kFloat = 1, kUint8 = 2, kInt64 = 7 };

/// A graph with its initializers, written by save(), which asks for the content of large ones when their turn comes.
/// Nodes are added in an order in which they can run.
class OnnxGraph {
 public:
  explicit OnnxGraph(std::string name) : name_(std::move(name)) {}

  /// An attribute of a node: an integer, a float, a text or a list of integers.
  struct Attribute {
    Attribute(const char* key, std::int64_t value) {
      begin(key, 2);
      body.integer(3, value);
    }
    Attribute(const char* key, float value) {
      begin(key, 1);
      body.number(2, value);
    }
    Attribute(const char* key, const std::vector<std::int64_t>& values) {
      begin(key, 7);
      for (const std::int64_t value : values) body.integer(8, value);
    }
    detail::ProtoMessage body;

   private:
    void begin(const char* key, int type) {
      body.text(1, key);
      body.integer(20, type);
    }
  };

  /// Adds a node with one output and returns its name. domain: empty for ONNX's own operators.
  std::string node(const char* op, const std::vector<std::string>& inputs,
                   const std::vector<Attribute>& attributes = {}, const char* domain = "") {
    return nodes(op, inputs, 1, attributes, domain).front();
  }
  std::vector<std::string> nodes(const char* op, const std::vector<std::string>& inputs, int outputs,
                                 const std::vector<Attribute>& attributes = {}, const char* domain = "") {
    detail::ProtoMessage message;
    std::vector<std::string> names;
    for (const std::string& input : inputs) message.text(1, input);
    const std::string label = std::string(op) + "_" + std::to_string(count_++);
    for (int i = 0; i < outputs; ++i) {
      names.push_back(outputs == 1 ? label : label + "." + std::to_string(i));
      message.text(2, names.back());
    }
    message.text(3, label);
    message.text(4, op);
    for (const Attribute& attribute : attributes) message.message(5, attribute.body);
    if (*domain != '\0') message.text(7, domain);
    graph_.message(1, message);
    return names;
  }

  std::string transpose(const std::string& x, const std::vector<std::int64_t>& order) {
    return node("Transpose", {x}, {{"perm", order}});
  }
  /// Gives a value the name under which output() declares it.
  void named(const std::string& name, const std::string& value) {
    detail::ProtoMessage message;
    message.text(1, value);
    message.text(2, name);
    message.text(3, name);
    message.text(4, "Identity");
    graph_.message(1, message);
  }

  /// Adds constant data under a name. write: called by save(), hands over all bytes, row-major.
  std::string initializer(std::string name, OnnxType type, const std::vector<index_t>& shape,
                          std::function<void(const ByteSink& sink)> write) {
    detail::ProtoMessage tensor;
    std::size_t bytes = type == OnnxType::kUint8 ? 1 : type == OnnxType::kFloat ? sizeof(float) : sizeof(std::int64_t);
    for (const index_t extent : shape) {
      tensor.integer(1, extent);
      bytes *= static_cast<std::size_t>(extent);
    }
    tensor.integer(2, static_cast<std::int32_t>(type));
    tensor.text(8, name);
    tensor.length(9, bytes);
    detail::ProtoMessage head;
    head.length(5, tensor.bytes().size() + bytes);
    initializers_.push_back({head.bytes() + tensor.bytes(), name, bytes, std::move(write)});
    return name;
  }
  /// The same of data that is copied here.
  std::string initializer(std::string name, OnnxType type, const std::vector<index_t>& shape, const void* data,
                          std::size_t bytes) {
    return initializer(std::move(name), type, shape,
                       [copy = std::string(static_cast<const char*>(data), bytes)](const ByteSink& sink) {
                         sink(copy.data(), copy.size());
                       });
  }
  std::string floats(std::string name, const std::vector<index_t>& shape, const float* data, index_t count) {
    return initializer(std::move(name), OnnxType::kFloat, shape, data, static_cast<std::size_t>(count) * sizeof(float));
  }
  std::string floats(std::string name, FloatRows values) {
    std::vector<index_t> shape;
    for (int d = 0; d < values.shape.rank(); ++d) shape.push_back(values.shape[d]);
    return initializer(std::move(name), OnnxType::kFloat, shape, [values = std::move(values)](const ByteSink& sink) {
      values.for_each([&](const float* piece, index_t n) { sink(piece, static_cast<std::size_t>(n) * sizeof(float)); });
    });
  }
  std::string constant(float value) { return floats("constant_" + std::to_string(count_++), {}, &value, 1); }
  std::string integers(const std::vector<std::int64_t>& values) {
    return initializer("shape_" + std::to_string(count_++), OnnxType::kInt64, {static_cast<index_t>(values.size())},
                       values.data(), values.size() * sizeof(std::int64_t));
  }
  std::string integer(std::int64_t value) {
    return initializer("index_" + std::to_string(count_++), OnnxType::kInt64, {}, &value, sizeof value);
  }

  /// Extents of inputs and outputs: a number, or a name where it is free.
  void input(const std::string& name, OnnxType type, const std::vector<std::string>& extents) {
    ends_.message(11, value_info(name, type, extents));
  }
  void output(const std::string& name, OnnxType type, const std::vector<std::string>& extents) {
    ends_.message(12, value_info(name, type, extents));
  }

  /// Writes the model, completely or not at all. A file of protocol buffers holds less than 2 GiB.
  void save(const std::string& path) const {
    detail::ProtoMessage model, standard, microsoft;
    model.integer(1, 10);  // IR version
    model.text(2, "qat");
    detail::ProtoMessage name;
    name.text(2, name_);
    std::size_t size = graph_.bytes().size() + name.bytes().size() + ends_.bytes().size();
    for (const Initializer& initializer : initializers_) size += initializer.head.size() + initializer.bytes;
    QAT_CHECK(size < (std::size_t{1} << 31) - 4096, kUnsupported, path, ": the graph has ", size,
              " bytes; an ONNX file without external data holds less than 2 GiB");
    standard.text(1, "");
    standard.integer(2, 21);
    microsoft.text(1, "com.microsoft");
    microsoft.integer(2, 1);
    detail::ProtoMessage tail;
    tail.message(8, standard);
    tail.message(8, microsoft);
    detail::ProtoMessage key;
    key.length(7, size);
    AtomicFileWriter writer(path);
    for (const std::string* part : {&model.bytes(), &key.bytes(), &graph_.bytes(), &name.bytes()}) writer.write(*part);
    for (const Initializer& initializer : initializers_) {
      writer.write(initializer.head);
      write_all_of(writer, initializer.bytes, path + ": initializer " + printable(initializer.name), initializer.write);
    }
    for (const std::string* part : {&ends_.bytes(), &tail.bytes()}) writer.write(*part);
    writer.commit();
  }

 private:
  struct Initializer {
    std::string head;  ///< all of its field but the data
    std::string name;
    std::size_t bytes;
    std::function<void(const ByteSink& sink)> write;
  };

  static detail::ProtoMessage value_info(const std::string& name, OnnxType type,
                                         const std::vector<std::string>& extents) {
    detail::ProtoMessage info, kind, tensor, shape;
    for (const std::string& extent : extents) {
      detail::ProtoMessage dimension;
      const bool is_number = !extent.empty() && extent.find_first_not_of("0123456789") == extent.npos;
      if (is_number) {
        dimension.integer(1, std::stoll(extent));
      } else {
        dimension.text(2, extent);
      }
      shape.message(1, dimension);
    }
    tensor.integer(1, static_cast<std::int32_t>(type));
    tensor.message(2, shape);
    kind.message(1, tensor);
    info.text(1, name);
    info.message(2, kind);
    return info;
  }

  std::string name_;
  detail::ProtoMessage graph_, ends_;
  std::vector<Initializer> initializers_;
  index_t count_ = 0;
};

}  // namespace qat::inline v0

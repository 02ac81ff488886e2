// ONNX, reading: what our writer wrote, and every way a file can be wrong.
#include "qat/io/onnx_reader.hpp"

#include <doctest/doctest.h>

#include "qat/io/onnx_writer.hpp"
#include "support/files.hpp"

using namespace qat;
using qat::test::TempDir;

namespace {

/// A graph with one node and one initializer, written, and its bytes.
std::string onnx_bytes(const TempDir& dir, const std::string& reads = "w") {
  OnnxGraph graph("g");
  const float w[] = {1.0f, 2.0f, 3.0f};
  graph.input("x", OnnxType::kFloat, {"3"});
  graph.floats("w", {3}, w, 3);
  graph.named("y", graph.node("Add", {"x", reads}));
  graph.output("y", OnnxType::kFloat, {"3"});
  graph.save(dir / "m.onnx");
  return std::string(MappedFile(dir / "m.onnx").text());
}

std::string open_error(const TempDir& dir, const std::string& bytes) {
  write_file(dir / "bad.onnx", bytes);
  try {
    (void)OnnxFile::open(dir / "bad.onnx");
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("an ONNX file is read back as it was written") {
  const TempDir dir;
  onnx_bytes(dir);
  const OnnxFile file = OnnxFile::open(dir / "m.onnx");
  CHECK(file.ir_version() == 10);
  CHECK(file.producer() == "qat");
  CHECK(file.opsets().at("") == 21);
  CHECK(file.inputs() == std::vector<std::string>{"x"});
  CHECK(file.outputs() == std::vector<std::string>{"y"});
  REQUIRE(file.nodes().size() == 2);
  CHECK(file.nodes()[0].op == "Add");
  REQUIRE(file.initializers().size() == 1);
  const OnnxTensor& w = file.initializers()[0];
  CHECK(w.name == "w");
  CHECK(std::string(w.type->name) == "FLOAT");
  CHECK(w.shape == std::vector<index_t>{3});
  CHECK(w.bytes == std::string_view("\0\0\x80\x3f\0\0\0\x40\0\0\x40\x40", 12));
}

TEST_CASE("an ONNX file that is cut anywhere is refused by name, with the byte") {
  const TempDir dir;
  const std::string whole = onnx_bytes(dir);
  const std::size_t graph_end = whole.find("com.microsoft");
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const std::string error = open_error(dir, whole.substr(0, size));
    if (size < graph_end - 12) {
      CHECK_MESSAGE(error.find("bad.onnx: ") != error.npos, size);
    } else {  // behind the graph an operator set may be missing
      CHECK_MESSAGE((error.empty() || error.find("at byte ") != error.npos), size);
    }
  }
}

TEST_CASE("what an ONNX file must not hold is named") {
  const TempDir dir;
  CHECK(open_error(dir, onnx_bytes(dir, "nothing")).find("node 'Add' reads 'nothing'") != std::string::npos);
  std::string whole = onnx_bytes(dir);
  const std::size_t dims = whole.find(std::string("\x08\x03\x10\x01", 4));
  REQUIRE(dims != whole.npos);
  std::string bytes = whole;
  bytes[dims + 1] = 4;
  CHECK(open_error(dir, bytes).find("initializer 'w' has 12 bytes; its shape asks for 16") != std::string::npos);
  bytes = whole;
  bytes[dims + 3] = 8;  // strings
  CHECK(open_error(dir, bytes).find("element type 8") != std::string::npos);
  CHECK(open_error(dir, "").find("has no graph") != std::string::npos);
}

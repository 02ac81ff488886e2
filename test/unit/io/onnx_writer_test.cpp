// ONNX files: what a file begins with, and names of nodes.
#include "qat/io/onnx_writer.hpp"

#include <doctest/doctest.h>

#include "support/files.hpp"

using namespace qat;

TEST_CASE("a file begins with the IR version and names both operator sets; each node's output has a name of its own") {
  const test::TempDir dir;
  OnnxGraph graph("g");
  graph.input("x", OnnxType::kFloat, {"n", "3"});
  const std::string a = graph.node("Add", {"x", graph.constant(1.0f)}), b = graph.node("Add", {a, a});
  CHECK(a != b);
  CHECK(graph.nodes("Split", {b}, 2).size() == 2);
  graph.named("y", b);
  graph.output("y", OnnxType::kFloat, {"n", "3"});
  graph.save(dir / "g.onnx");
  const std::string bytes(MappedFile(dir / "g.onnx").text());
  CHECK(bytes.starts_with(std::string("\x08\x0a\x12\x03qat", 7)));
  CHECK(bytes.find("com.microsoft") != bytes.npos);
}

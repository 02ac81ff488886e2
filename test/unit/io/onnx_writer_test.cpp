// ONNX files: the bytes of the messages, against the encoding that protocol buffers document.
#include "qat/io/onnx_writer.hpp"

#include <doctest/doctest.h>

#include "support/files.hpp"

using namespace qat;

TEST_CASE("varints, fields and nested messages are encoded as protocol buffers document") {
  qat::detail::ProtoMessage inner, outer;
  inner.integer(1, 150);
  CHECK(inner.bytes() == std::string("\x08\x96\x01"));
  outer.message(3, inner);
  outer.text(2, "testing");
  outer.integer(20, 1);
  outer.number(2, 1.0f);
  CHECK(outer.bytes() ==
        std::string("\x1a\x03\x08\x96\x01\x12\x07testing\xa0\x01\x01\x15\x00\x00\x80\x3f", 5 + 9 + 3 + 5));
  qat::detail::ProtoMessage negative;
  negative.integer(1, -1);
  CHECK(negative.bytes() == std::string("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"));
}

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

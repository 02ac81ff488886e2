// Protocol buffers: bytes against the encoding that they document, and reading them back.
#include "qat/io/protobuf.hpp"

#include <doctest/doctest.h>

#include <vector>

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

TEST_CASE("a message is read back field by field, and its cuts are none") {
  qat::detail::ProtoMessage inner, outer;
  inner.integer(1, 1 << 20);
  outer.text(2, "testing");
  outer.message(3, inner);
  outer.number(4, 1.0f);
  std::vector<std::uint64_t> fields, values;
  const auto read = [&](std::string_view bytes) {
    return qat::detail::for_each_proto_field(
        bytes, [&](std::uint64_t field, std::uint64_t value, std::string_view text) {
          fields.push_back(field);
          values.push_back(field == 3 ? 0 : value);
          if (field == 2) CHECK(text == "testing");
          return field != 3 || qat::detail::for_each_proto_field(text, [&](std::uint64_t, std::uint64_t v,
                                                                           std::string_view) { return v == 1 << 20; });
        });
  };
  CHECK(read(outer.bytes()));
  CHECK(fields == std::vector<std::uint64_t>{2, 3, 4});
  for (const std::size_t size : {1, 5, 8, 10, 12, 14, 17})
    CHECK_FALSE(read(std::string_view(outer.bytes()).substr(0, size)));
}

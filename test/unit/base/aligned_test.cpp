// AlignedBuffer: aligned to a cache line for every size and type, owned by exactly one object.
#include "qat/base/aligned.hpp"

#include <doctest/doctest.h>

TEST_CASE("every size is aligned to kAlignment and writable to its end") {
  for (const qat::index_t size : {1, 3, 15, 16, 17, 64, 1000}) {
    qat::AlignedBuffer<float> buffer(size);
    CHECK(reinterpret_cast<std::uintptr_t>(buffer.data()) % qat::kAlignment == 0);
    CHECK(buffer.size() == size);
    CHECK(buffer.end() - buffer.begin() == size);
    for (float& value : buffer) value = 1.0f;
    CHECK(buffer[size - 1] == 1.0f);
  }
}

TEST_CASE("a size of 0 owns nothing and a negative size is refused") {
  CHECK(qat::AlignedBuffer<char>(0).data() == nullptr);
  CHECK_THROWS_AS(qat::AlignedBuffer<char>(-1), qat::Error);
}

TEST_CASE("moving hands the storage over") {
  qat::AlignedBuffer<int> from(8);
  from[0] = 42;
  int* const data = from.data();
  qat::AlignedBuffer<int> to(std::move(from));
  CHECK(to.data() == data);
  CHECK(to[0] == 42);
  qat::AlignedBuffer<int> assigned;
  assigned = std::move(to);
  CHECK(assigned.data() == data);
  CHECK(assigned.size() == 8);
}

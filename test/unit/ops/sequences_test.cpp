// ops/sequences.hpp; that packed sequences do not see each other is in nn/transformer_test.cpp.
#include "qat/ops/sequences.hpp"

#include <doctest/doctest.h>

#include "support/files.hpp"

using namespace qat;

TEST_CASE("sequences of one length next to each other are one run") {
  ops::Sequences packed;
  CHECK(packed.rows() == 0);
  CHECK(packed.longest() == 0);
  for (const index_t length : {3, 3, 5, 3}) packed.add(length);
  CHECK(packed.runs() == std::vector<ops::SequenceRun>{{2, 3}, {1, 5}, {1, 3}});
  CHECK(packed.rows() == 14);
  CHECK(packed.longest() == 5);
  ops::Sequences uniform;
  for (int i = 0; i < 4; ++i) uniform.add(7);
  CHECK(uniform == ops::Sequences(4, 7));
  QAT_CHECK_ERROR(uniform.add(0), "a length is 0", "positive");
  uniform.clear();
  CHECK(uniform == ops::Sequences());
}

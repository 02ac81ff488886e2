// Straight-through estimators: which codes pass.
#include "qat/quantizer/ste.hpp"

#include <doctest/doctest.h>

#include <initializer_list>

using namespace qat;

TEST_CASE("inclusive passes the extreme codes, strict starves them, pass-through passes all") {
  const AffineScheme scheme(parse_spec("int4:tensor:symmetric"), FloatType::kFloat32);
  const QParams p = make_qparams(1.0f, 0.0f, scheme);
  struct Row {
    float x;
    bool inclusive, strict;
  };
  for (const Row& row : {Row{0.0f, true, true}, Row{6.4f, true, true}, Row{7.0f, true, false}, Row{7.4f, true, false},
                         Row{7.6f, false, false}, Row{-8.0f, true, false}, Row{-8.6f, false, false}}) {
    CAPTURE(row.x);
    CHECK(passes_gradient(row.x, p, scheme, STEBackward::mask) == row.inclusive);
    CHECK(passes_gradient(row.x, p, scheme, StrictSTEBackward::mask) == row.strict);
    CHECK(passes_gradient(row.x, p, scheme, PassThroughSTEBackward::mask));
    CHECK(fake_quantize_backward(3.0f, row.x, p, scheme, STEBackward::mask) == (row.inclusive ? 3.0f : 0.0f));
  }
}

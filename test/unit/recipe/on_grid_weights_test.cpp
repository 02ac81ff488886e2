// The float weights that packed models stand for.
#include "qat/recipe/on_grid_weights.hpp"

#include <doctest/doctest.h>

#include "qat/recipe/model_diff.hpp"
#include "support/architectures.hpp"
#include "unit/recipe/tiny_model.hpp"

using namespace qat;
using namespace qat::recipe;
using namespace qat_test;

TEST_CASE("a float model of them computes what the weight-only packed model computes, layer by layer") {
  for (const test::NamedConfig& named : test::architectures(tiny_config(false))) {
    CAPTURE(named.name);
    nn::Transformer packed = random_model(named.config);
    quantize(two_threads(), packed, {{"linear", parse_scheme("qat4")}});
    nn::Transformer loaded(named.config);
    loaded.load(on_grid_weights(packed));
    CHECK(same_bits(logits(loaded), logits(packed)));
  }
  for (const char* scheme : {"qat4", "tinygemm", "weight=uint8:axis0:asymmetric"}) {
    CAPTURE(scheme);
    nn::Transformer packed = tiny_model();
    quantize(two_threads(), packed, {{"linear", parse_scheme(scheme)}});
    nn::Transformer loaded(packed.config());
    loaded.load(on_grid_weights(packed));
    for (const LayerDiff& line : model_diff(packed, loaded)) CHECK(line.values == 0);
  }
  nn::Transformer prepared = tiny_model();
  prepare(prepared, {{"linear", parse_scheme("qat4")}});
  CHECK(contains(error_of([&] { on_grid_weights(prepared); }), "is prepared, not converted"));
  nn::Transformer headed = tiny_model(true);
  quantize(two_threads(), headed, {{"head", parse_scheme("qat4")}});
  CHECK(contains(error_of([&] { on_grid_weights(headed); }), "lm_head: is packed"));
}

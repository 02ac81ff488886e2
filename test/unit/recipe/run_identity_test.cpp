// Identity of a run: every setting that changes bits is part of it, and nothing else.
#include "qat/recipe/run_identity.hpp"

#include <doctest/doctest.h>

#include "unit/recipe/tiny_model.hpp"

using namespace qat;
using namespace qat::recipe;
using namespace qat_test;

namespace {
struct IdentityCase {
  nn::Transformer model = tiny_model();
  std::vector<LayerRule> rules = {{"linear", parse_scheme("8da4w")}};
  PrepareOptions options;
  std::vector<std::int32_t> tokens = tiny_tokens(500);
  TrainConfig config;
  MatmulPrecision precision = MatmulPrecision::kFloat32;
  int threads = 1;

  Json identity() {
    prepare(model, rules, options);
    return run_identity(CpuBackend(threads, precision), model, data_identity(tokens), config);
  }
};
}  // namespace

TEST_CASE("each setting that changes the bits of a run changes its identity, and the difference names it") {
  const Json base = IdentityCase().identity();
  const auto difference = [&](auto change) {
    IdentityCase other;
    change(other);
    return identity_difference(base, "A", other.identity(), "B");
  };
  using C = IdentityCase&;
  CHECK(difference([](C) {}).empty());
  CHECK(difference([](C c) { c.threads = 3; }).empty());
  const auto names = [&](const char* path, auto change) {
    const std::string found = difference(change);
    CAPTURE(found);
    CHECK(found.starts_with(std::string(path) + " is "));
    CHECK(contains(found, " in A, "));
    CHECK(found.ends_with(" in B"));
  };
  names("model.weights", [](C c) { c.model = tiny_model(false, 2); });
  names("model.tie_word_embeddings", [](C c) { c.model = tiny_model(true); });
  names("layers.lm_head", [](C c) { c.rules = {{"*_proj", parse_scheme("8da4w")}}; });
  names("layers.lm_head.activation", [](C c) { c.rules.push_back({"head", parse_scheme("int4_weight_only")}); });
  names("layers.lm_head.weight", [](C c) { c.rules.push_back({"head", parse_scheme("8da3w")}); });
  names("layers.model.embed_tokens", [](C c) { c.rules.push_back({"embedding", parse_scheme("qat4")}); });
  names("layers.lm_head.learned_scales", [](C c) { c.options.learn_scales = true; });
  names("layers.lm_head.mask", [](C c) { c.options.mask = SteMask::kStrict; });
  names("layers.lm_head.product", [](C c) { c.options.product = nn::Product::kFloat; });
  names("data.checksum", [](C c) { c.tokens[499] ^= 1; });
  names("data.checksum", [](C c) { c.tokens.pop_back(); });
  names("training.batch", [](C c) { c.config.batch = 4; });
  names("training.length", [](C c) { c.config.length = 128; });
  names("training.accumulation", [](C c) { c.config.accumulation = 2; });
  names("training.lr", [](C c) { c.config.lr = std::nextafter(c.config.lr, 1.0); });
  names("training.lr_floor", [](C c) { c.config.lr_floor = 1e-5; });
  names("training.steps", [](C c) { c.config.steps = 700; });
  names("training.warmup_steps", [](C c) { c.config.warmup_steps = 10; });
  names("training.beta1", [](C c) { c.config.beta1 = 0.8; });
  names("training.beta2", [](C c) { c.config.beta2 = 0.999; });
  names("training.weight_decay", [](C c) { c.config.weight_decay = 0.1; });
  names("training.scale_lr", [](C c) { c.config.scale_lr = 0.2; });
  names("training.clip_norm", [](C c) { c.config.clip_norm = 0.0; });
  names("training.seed", [](C c) { c.config.seed = std::uint64_t{1} << 63; });
  names("training.delay_fake_quant_steps", [](C c) { c.config.delay_fake_quant_steps = 1; });
  names("training.matmul", [](C c) { c.precision = MatmulPrecision::kBfloat16; });
  CHECK(contains(difference([](C c) { c.config.schedule = ScheduleKind::kLinear; }),
                 "training.schedule is \"cosine\" in A"));
}

TEST_CASE("under a constant learning rate the number of steps is no part of the identity") {
  IdentityCase first, longer;
  for (IdentityCase* c : {&first, &longer}) c->config.schedule = ScheduleKind::kConstant;
  longer.config.steps = 6000;
  CHECK(identity_difference(first.identity(), "A", longer.identity(), "B").empty());
}

TEST_CASE("a member that one side lacks is a difference, and the model is named before what follows from it") {
  const auto difference = [](const Json& a, const Json& b) { return identity_difference(a, "A", b, "B"); };
  CHECK(difference({{"data", {{"a", 1}}}}, {{"data", Json::object()}}) == "data.a is 1 in A, absent in B");
  CHECK(difference({{"data", {{"b", 1}}}}, {{"data", {{"b", 1}, {"c", 2}}}}) == "data.c is absent in A, 2 in B");
  CHECK(difference({{"data", {{"b", 1}}}}, Json::object()) == "data is {\"b\":1} in A, absent in B");
  CHECK(difference({{"data", 1}, {"model", {{"x", 1}}}}, {{"data", 2}, {"model", {{"x", 2}}}}) ==
        "model.x is 1 in A, 2 in B");
}

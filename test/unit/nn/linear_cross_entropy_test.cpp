// The fused head and loss against the two operations one after the other: the loss and dx bit for bit, dweight within
// the bound of its sum, for float and quantized heads.
#include "qat/nn/linear_cross_entropy.hpp"

#include <cmath>
#include <cstring>
#include <vector>

#include <doctest/doctest.h>

#include "qat/nn/prepared_linear.hpp"
#include "support/compare.hpp"
#include "support/random_values.hpp"

namespace {

namespace nn = qat::nn;
using qat::index_t;
using qat::Tensor;
using qat::Variable;

struct HeadCase {
  const char* name;
  qat::LayerScheme scheme;
  bool bias;
};
std::vector<HeadCase> head_cases() {
  const auto int4 = qat::parse_spec("int4:group32:symmetric"), int8 = qat::parse_spec("int8:token:asymmetric");
  return {{"float", {}, false},
          {"float with bias", {}, true},
          {"weight", {int4, {}}, true},
          {"weight and activation", {int4, int8}, false},
          {"activation", {{}, int8}, true},
          {"one range for all rows", {int4, qat::parse_spec("int8:tensor:symmetric")}, false}};
}

struct LossAndGradients {
  float loss;
  qat::ops::CrossEntropyResult stats;
  Tensor<float> dx, dweight, dbias;
};

constexpr index_t kHeadRows = 300, kHeadColumns = 40, kHeadOutputs = 70;  // two chunks of 128 and a part

LossAndGradients run_head(const HeadCase& c, bool fused, float seed, int threads = 2) {
  const qat::CpuBackend backend(threads);
  nn::Linear head("head", kHeadColumns, kHeadOutputs, c.bias);
  head.weight().value = qat::test::random_tensor({kHeadOutputs, kHeadColumns}, 1);
  if (c.bias) head.bias()->value = qat::test::random_tensor({kHeadOutputs}, 2);
  if (!c.scheme.empty()) head.set_quantization(std::make_unique<nn::PreparedLinear>(c.scheme, nn::Product::kInteger));
  std::vector<std::int32_t> targets(kHeadRows);
  qat::CounterRandom random(3);
  for (std::int32_t& t : targets) t = static_cast<std::int32_t>(random.next_below(kHeadOutputs));
  targets[7] = targets[200] = qat::ops::kIgnoreIndex;
  const auto view = qat::view(static_cast<const std::int32_t*>(targets.data()), kHeadRows);
  qat::Tape tape(backend);
  const Variable x = tape.leaf(qat::test::random_tensor({kHeadRows, kHeadColumns}, 4, 3.0f));
  LossAndGradients out;
  const Variable loss = fused ? nn::linear_cross_entropy(tape, head, x, view, qat::ops::kIgnoreIndex, &out.stats, 128)
                              : qat::autodiff::softmax_cross_entropy(tape, head.forward(tape, x), view,
                                                                     qat::ops::kIgnoreIndex, &out.stats);
  out.loss = tape.value(loss)[0];
  tape.backward(loss, seed);
  out.dx = tape.gradient(x).clone();
  out.dweight = head.weight().grad.clone();
  if (c.bias) out.dbias = head.bias()->grad.clone();
  return out;
}

bool same_tensor(const Tensor<float>& a, const Tensor<float>& b) {
  return a.shape() == b.shape() && std::memcmp(a.data(), b.data(), static_cast<std::size_t>(a.size_bytes())) == 0;
}
/// |a - b| <= tolerance * largest |b|, which stands for the sum of magnitudes of any element.
bool close(const Tensor<float>& a, const Tensor<float>& b, float tolerance) {
  float largest = 0.0f;
  for (const float v : b) largest = std::fmax(largest, std::fabs(v));
  bool all = a.size() == b.size() && largest > 0.0f;
  for (index_t i = 0; i < a.size(); ++i) all = all && std::fabs(a[i] - b[i]) <= tolerance * largest;
  return all;
}

}  // namespace

TEST_CASE("a fused head and loss give the loss and dx of the two operations bit for bit, and dweight up to rounding") {
  for (const HeadCase& c : head_cases()) {
    CAPTURE(c.name);
    for (const float seed : {1.0f, 0.25f}) {
      const LossAndGradients two = run_head(c, false, seed), one = run_head(c, true, seed);
      CHECK(two.stats.sum == one.stats.sum);
      CHECK(two.stats.targets == one.stats.targets);
      CHECK(two.loss == one.loss);
      CHECK(same_tensor(two.dx, one.dx));
      CHECK(close(one.dweight, two.dweight, 1e-5f));
      if (c.bias) CHECK(close(one.dbias, two.dbias, 1e-5f));
    }
    const LossAndGradients two = run_head(c, false, 1.0f / 3), one = run_head(c, true, 1.0f / 3);
    CHECK(close(one.dx, two.dx, 1e-6f));
    CHECK(close(one.dweight, two.dweight, 1e-5f));
  }
}

TEST_CASE("a fused head and loss give the same bytes with 1, 2, 3 and 7 threads") {
  for (const HeadCase& c : head_cases()) {
    CAPTURE(c.name);
    const LossAndGradients first = run_head(c, true, 1.0f, 1);
    for (const int threads : {2, 3, 7}) {
      const LossAndGradients other = run_head(c, true, 1.0f, threads);
      CHECK(first.loss == other.loss);
      CHECK(same_tensor(first.dx, other.dx));
      CHECK(same_tensor(first.dweight, other.dweight));
    }
  }
}

TEST_CASE("a fused head and loss hold no logits of all rows") {
  const qat::CpuBackend backend(1);
  constexpr index_t kRows = 2048, kVocabulary = 4096;
  nn::Linear head("head", 8, kVocabulary);
  const std::vector<std::int32_t> targets(kRows, 3);
  qat::Tape tape(backend);
  const Variable x = tape.leaf(qat::test::random_tensor({kRows, 8}, 4));
  qat::reset_peak();
  const index_t before = qat::memory_stats().current_bytes;
  nn::linear_cross_entropy(tape, head, x, qat::view(targets.data(), kRows));
  CHECK(qat::memory_stats().peak_bytes - before < kRows * kVocabulary * 4 / 3);
}

TEST_CASE("without rows the mean is of nothing, and the gradients of a fused head are zero") {
  for (const HeadCase& c : head_cases()) {
    if (c.scheme.activation && c.scheme.activation->granularity.kind != qat::GranularityKind::kPerToken) continue;
    CAPTURE(c.name);
    const qat::CpuBackend backend(1);
    nn::Linear head("head", kHeadColumns, kHeadOutputs, true);
    head.weight().value = qat::test::random_tensor({kHeadOutputs, kHeadColumns}, 1);
    if (!c.scheme.empty()) head.set_quantization(std::make_unique<nn::PreparedLinear>(c.scheme, nn::Product::kInteger));
    Tensor<float> soiled = qat::test::random_tensor({kHeadOutputs, kHeadColumns}, 5);  // what fresh storage may hold
    soiled = Tensor<float>();
    qat::Tape tape(backend);
    const Variable x = tape.leaf(Tensor<float>({0, kHeadColumns}));
    const Variable loss =
        nn::linear_cross_entropy(tape, head, x, qat::view(static_cast<const std::int32_t*>(nullptr), 0));
    CHECK(std::isnan(tape.value(loss)[0]));
    tape.backward(loss);
    for (const float g : head.weight().ensure_grad()) REQUIRE(g == 0.0f);
    for (const float g : head.bias()->ensure_grad()) REQUIRE(g == 0.0f);
  }
}

TEST_CASE("a target outside the vocabulary is named before anything is computed") {
  const qat::CpuBackend backend(1);
  nn::Linear head("head", 8, 10);
  const std::vector<std::int32_t> targets = {1, 10};
  qat::Tape tape(backend);
  const Variable x = tape.leaf(qat::test::random_tensor({2, 8}, 4));
  try {
    nn::linear_cross_entropy(tape, head, x, qat::view(targets.data(), 2));
    FAIL("accepted");
  } catch (const qat::Error& e) {
    CHECK(std::strstr(e.what(), "target 10 at position 1") != nullptr);
  }
}

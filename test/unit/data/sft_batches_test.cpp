// Batches of samples: each pass holds every sample once, a batch depends on seed and number alone.
#include "qat/data/sft_batches.hpp"

#include <doctest/doctest.h>

#include <set>

#include "support/files.hpp"

using namespace qat;

namespace {
/// Samples of 1 to 9 inputs whose first input is their number.
std::vector<SftSample> numbered_samples(index_t count) {
  std::vector<SftSample> samples;
  for (index_t i = 0; i < count; ++i) {
    SftSample& s = samples.emplace_back();
    const index_t length = 1 + i * 7 % 9;
    s.inputs.assign(static_cast<std::size_t>(length), static_cast<std::int32_t>(i));
    s.targets.assign(static_cast<std::size_t>(length), ops::kIgnoreIndex);
    s.targets.back() = 1;
    s.counted = 1;
    s.line = i + 1;
  }
  return samples;
}
/// Numbers of the samples of a batch; checks rows, targets and sequences on the way.
std::vector<std::int32_t> numbers_in(SftBatches& batches, std::uint64_t index, const std::vector<SftSample>& samples) {
  TrainingBatch batch;
  batches.sample(index, batch);
  CHECK(batch.inputs.size() == batch.targets.size());
  CHECK(batch.sequences.rows() == static_cast<index_t>(batch.inputs.size()));
  std::vector<std::int32_t> numbers;
  std::size_t row = 0;
  index_t counted = 0;
  for (const ops::SequenceRun& run : batch.sequences.runs())
    for (index_t i = 0; i < run.count; ++i, row += static_cast<std::size_t>(run.length)) {
      const SftSample& s = samples[static_cast<std::size_t>(batch.inputs[row])];
      REQUIRE(static_cast<index_t>(s.inputs.size()) == run.length);
      CHECK(std::equal(s.inputs.begin(), s.inputs.end(), batch.inputs.begin() + static_cast<std::ptrdiff_t>(row)));
      CHECK(std::equal(s.targets.begin(), s.targets.end(), batch.targets.begin() + static_cast<std::ptrdiff_t>(row)));
      numbers.push_back(batch.inputs[row]);
      counted += s.counted;
    }
  CHECK(batches.counted_targets(index) == counted);
  return numbers;
}
}  // namespace

TEST_CASE("every pass holds every sample once, in another order") {
  const std::vector<SftSample> samples = numbered_samples(23);
  for (const bool packing : {false, true}) {
    SftBatches batches(samples, 4, 10, packing, 5);
    std::vector<std::int32_t> order;
    for (std::uint64_t i = 0; order.size() < 3 * samples.size(); ++i) {
      const std::vector<std::int32_t> numbers = numbers_in(batches, i, samples);
      order.insert(order.end(), numbers.begin(), numbers.end());
    }
    std::vector<std::vector<std::int32_t>> passes;
    for (std::size_t pass = 0; pass < 3; ++pass) {
      const auto begin = order.begin() + static_cast<std::ptrdiff_t>(pass * samples.size());
      passes.emplace_back(begin, begin + static_cast<std::ptrdiff_t>(samples.size()));
      CHECK(std::set<std::int32_t>(passes.back().begin(), passes.back().end()).size() == samples.size());
    }
    CHECK(passes[0] != passes[1]);
    CHECK(passes[1] != passes[2]);
  }
}

TEST_CASE("a packed batch is as full as the order allows, an unpacked one has its number of samples") {
  const std::vector<SftSample> samples = numbered_samples(50);
  SftBatches packed(samples, 3, 10, true, 1), plain(samples, 3, 10, false, 1);
  for (std::uint64_t i = 0; i < 40; ++i) {
    TrainingBatch batch, next;
    packed.sample(i, batch);
    packed.sample(i + 1, next);
    CHECK(batch.sequences.rows() <= 30);
    CHECK(batch.sequences.rows() + next.sequences.runs().front().length > 30);
    CHECK(numbers_in(plain, i, samples).size() == 3);
  }
}

TEST_CASE("a batch is a function of seed and number, asked in any order") {
  const std::vector<SftSample> samples = numbered_samples(17);
  for (const bool packing : {false, true}) {
    SftBatches forward(samples, 2, 12, packing, 9), backward(samples, 2, 12, packing, 9),
        other(samples, 2, 12, packing, 8);
    std::vector<std::vector<std::int32_t>> asked;
    for (std::uint64_t i = 0; i < 30; ++i) asked.push_back(numbers_in(forward, i, samples));
    bool differs = false;
    for (std::uint64_t i = 30; i-- > 0;) {
      CHECK(numbers_in(backward, i, samples) == asked[static_cast<std::size_t>(i)]);
      differs = differs || numbers_in(other, i, samples) != asked[static_cast<std::size_t>(i)];
    }
    CHECK(differs);
  }
}

TEST_CASE("no samples, and samples longer than a sequence, are refused") {
  const std::vector<SftSample> samples = numbered_samples(9), none;
  QAT_CHECK_ERROR(SftBatches(none, 1, 10, true, 0), "no samples");
  QAT_CHECK_ERROR(SftBatches(samples, 0, 10, true, 0), "batch is 0");
  QAT_CHECK_ERROR(SftBatches(samples, 1, 8, true, 0), "has 9 tokens; accepted: at most 8");
}

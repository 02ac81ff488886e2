#include "qat/kernels/cuda/attention.cuh"

#include <cmath>

#include <doctest/doctest.h>

#include "support/attention_reference.hpp"
#include "support/compare.hpp"

using namespace qat;
using namespace qat::test;
using cuda::attention_extents;
using cuda::AttentionExtents;

namespace {

std::vector<double> attention_doubles(const std::vector<bfloat16>& x) {
  std::vector<double> out;
  for (const bfloat16 v : x) out.push_back(static_cast<double>(static_cast<float>(v)));
  return out;
}
std::vector<double> attention_doubles(const std::vector<float>& x) { return {x.begin(), x.end()}; }

struct AttentionOutput {
  std::vector<bfloat16> out;
  std::vector<float> log_sum_exp;
};

AttentionOutput attend(const AttentionCase& a, std::uint64_t seed = 1, int form = 0) {
  emulation::Settings settings = emulation::settings();
  settings.seed = seed;
  const emulation::With with(settings);
  const AttentionExtents& e = a.e;
  const emulation::Buffer<const bfloat16> q(a.q), k(a.k), v(a.v);
  const emulation::Buffer<bfloat16> out(static_cast<std::size_t>(e.batch * e.out_batch_stride));
  const auto lse =
      emulation::Buffer<float>::uninitialized(static_cast<std::size_t>(e.batch * e.heads * e.query_tokens));
  cuda::attention(CudaBackend{},
                  cuda::AttentionArgs<bfloat16>{e, q.data(), k.data(), v.data(), out.data(), lse.data(), form});
  CHECK(lse.unwritten() == 0);
  return {out.to_vector(), lse.to_vector()};
}

struct AttentionGradients {
  std::vector<bfloat16> dq, dk, dv;
};

AttentionGradients attend_backward(const AttentionCase& a, const AttentionOutput& f, std::uint64_t seed = 1,
                                   int form = 0) {
  emulation::Settings settings = emulation::settings();
  settings.seed = seed;
  const emulation::With with(settings);
  const AttentionExtents& e = a.e;
  const emulation::Buffer<const bfloat16> q(a.q), k(a.k), v(a.v), out(f.out), dout(a.dout);
  const emulation::Buffer<const float> lse(f.log_sum_exp);
  const emulation::Buffer<bfloat16> dq(a.q.size()), dk(a.k.size()), dv(a.k.size());
  const std::size_t bytes = cuda::attention_backward_workspace(e);
  const auto workspace = emulation::Buffer<std::uint8_t>::uninitialized(bytes);
  CudaBackend backend;
  backend.workspace = workspace.data();
  backend.workspace_bytes = bytes;
  cuda::attention_backward(
      backend, cuda::AttentionBackwardArgs<bfloat16>{e, q.data(), k.data(), v.data(), out.data(), lse.data(),
                                                     dout.data(), dq.data(), dk.data(), dv.data(), form});
  return {dq.to_vector(), dk.to_vector(), dv.to_vector()};
}

void check_attention(const AttentionExtents& e, float spread = 1.0f, int forward_form = 0, int backward_form = 0) {
  CAPTURE(e.batch);
  CAPTURE(e.query_tokens);
  CAPTURE(e.key_tokens);
  CAPTURE(e.heads);
  CAPTURE(e.kv_heads);
  CAPTURE(e.head_dim);
  const AttentionCase a(e, 7, spread);
  const AttentionOutput f = attend(a, 1, forward_form);
  const AttentionGradients g = attend_backward(a, f, 1, backward_form);
  const AttentionReference r = attention_reference(a, f.out);
  CHECK(compare_within(Values<double>(r.out.value), Values<double>(attention_doubles(f.out)), r.out.bound));
  CHECK(compare_within(Values<double>(r.log_sum_exp.value), Values<double>(attention_doubles(f.log_sum_exp)),
                       r.log_sum_exp.bound));
  CHECK(compare_within(Values<double>(r.dq.value), Values<double>(attention_doubles(g.dq)), r.dq.bound));
  CHECK(compare_within(Values<double>(r.dk.value), Values<double>(attention_doubles(g.dk)), r.dk.bound));
  CHECK(compare_within(Values<double>(r.dv.value), Values<double>(attention_doubles(g.dv)), r.dv.bound));
}

}  // namespace

TEST_CASE("attention: output and gradients of the definition within the roundings of bfloat16") {
  for (const index_t head_dim : {32, 64, 128}) {
    check_attention(attention_extents(1, 1, 1, 1, 1, head_dim));
    check_attention(attention_extents(2, 17, 17, 2, 2, head_dim));
    check_attention(attention_extents(1, 64, 64, 1, 1, head_dim));
    check_attention(attention_extents(1, 65, 65, 1, 1, head_dim));
    check_attention(attention_extents(1, 200, 200, 1, 1, head_dim));
  }
}

TEST_CASE("attention: grouped queries, and head dimensions between those of the tiles") {
  for (const index_t head_dim : {8, 40, 64, 96}) check_attention(attention_extents(2, 37, 37, 6, 2, head_dim));
  check_attention(attention_extents(1, 130, 130, 3, 1, 128));
}

TEST_CASE("attention: the last queries of a longer sequence") {
  check_attention(attention_extents(1, 1, 150, 2, 1, 64));
  check_attention(attention_extents(2, 3, 66, 2, 2, 128));
  check_attention(attention_extents(1, 70, 200, 2, 1, 32));
  check_attention(attention_extents(1, 129, 131, 1, 1, 64));
  for (const index_t head_dim : {32, 64, 128})  // the diagonal one key beside the borders of tiles, either way
    for (const index_t more : {1, 15}) check_attention(attention_extents(1, 97, 97 + more, 1, 1, head_dim));
}

TEST_CASE("attention: blocks take every part of every head once, some heads at a time, the most work first") {
  for (const unsigned at_once : {1u, 2u, 3u, 7u}) {
    const cuda::attention_detail::HeadOrder order{7, at_once, 5};
    std::vector<int> seen(7 * 5, 0);
    unsigned last_head = 0, last_rank = 0;
    for (unsigned block = 0; block < 7 * 5; ++block) {
      const auto work = order.find(block);
      REQUIRE(work.head < 7);
      REQUIRE(work.rank < 5);
      ++seen[work.head * 5 + work.rank];
      CHECK(work.head / at_once >= last_head / at_once);
      if (block != 0 && work.head / at_once == last_head / at_once) CHECK(work.rank >= last_rank);
      last_head = work.head;
      last_rank = work.rank;
    }
    for (const int count : seen) CHECK(count == 1);
  }
}

TEST_CASE("attention: every shape of tiles") {
  for (const index_t tokens : {95, 192}) {
    for (const int form : {1, 2, 3, 4})
      check_attention(attention_extents(1, tokens, tokens + 3, 1, 1, 64), 1.0f, form, form > 2 ? 0 : form);
    for (const int form : {1, 2, 3})
      check_attention(attention_extents(1, tokens, tokens + 3, 1, 1, 128), 1.0f, form, form > 2 ? 0 : form);
  }
}

TEST_CASE("attention: logits in the hundreds and thousands do not overflow") {
  for (const float spread : {100.0f, 3000.0f}) {
    check_attention(attention_extents(1, 150, 150, 1, 1, 64), spread);
    check_attention(attention_extents(1, 70, 70, 1, 1, 128), spread);
  }
}

TEST_CASE("attention: heads in the rows of one matrix, and space between sequences") {
  AttentionExtents e = attention_extents(2, 75, 75, 4, 2, 32);
  e.q_stride = 256;
  e.kv_stride = 72;
  e.out_stride = 136;
  e.q_batch_stride = 76 * 256;
  e.kv_batch_stride = 80 * 72;
  e.out_batch_stride = 75 * 136 + 8;
  check_attention(e);
  const AttentionCase a(e, 5);
  const AttentionOutput f = attend(a);
  for (index_t b = 0; b < 2; ++b)
    for (index_t i = 0; i < e.out_batch_stride; ++i)
      if (i >= 75 * 136 || i % 136 >= 128)
        REQUIRE(f.out[static_cast<std::size_t>(b * e.out_batch_stride + i)].bits == 0);  // as it was
}

TEST_CASE("attention: a row's bits depend on its query and the keys it sees alone") {
  for (const index_t head_dim : {64, 128}) {
    const AttentionCase a(attention_extents(1, 190, 190, 2, 1, head_dim), 11, 4.0f);
    const AttentionOutput whole = attend(a);
    // A shorter sequence.
    for (const index_t tokens : {1, 63, 129}) {
      AttentionCase part = a;
      part.e = attention_extents(1, tokens, tokens, 2, 1, head_dim);
      part.q.resize(static_cast<std::size_t>(part.e.q_batch_stride));
      part.k.resize(static_cast<std::size_t>(part.e.kv_batch_stride));
      part.v.resize(static_cast<std::size_t>(part.e.kv_batch_stride));
      const AttentionOutput f = attend(part);
      const std::vector<bfloat16> expected(whole.out.begin(), whole.out.begin() + part.e.out_batch_stride);
      CHECK(compare_bits(expected, f.out));
      for (index_t h = 0; h < 2; ++h)
        for (index_t t = 0; t < tokens; ++t)
          REQUIRE(f.log_sum_exp[static_cast<std::size_t>(h * tokens + t)] ==
                  whole.log_sum_exp[static_cast<std::size_t>(h * 190 + t)]);
    }
    // Other later tokens.
    AttentionCase other = a;
    for (std::size_t i = static_cast<std::size_t>(100 * a.e.kv_stride); i < other.k.size(); ++i) {
      other.k[i] = bfloat16(1000.0f);
      other.v[i] = bfloat16(-1000.0f);
    }
    const AttentionOutput f = attend(other);
    const auto before = static_cast<std::ptrdiff_t>(100 * a.e.out_stride);
    CHECK(compare_bits(std::vector<bfloat16>(whole.out.begin(), whole.out.begin() + before),
                       std::vector<bfloat16>(f.out.begin(), f.out.begin() + before)));
    // The last token alone.
    AttentionCase last = a;
    last.e = attention_extents(1, 1, 190, 2, 1, head_dim);
    last.q.erase(last.q.begin(), last.q.end() - last.e.q_stride);
    const std::vector<bfloat16> expected(whole.out.end() - last.e.out_stride, whole.out.end());
    CHECK(compare_bits(expected, attend(last).out));
  }
}

TEST_CASE("attention: the same bits in whatever order blocks and warps run") {
  for (const index_t head_dim : {64, 128}) {
    const AttentionCase a(attention_extents(1, 150, 150, 4, 2, head_dim), 3, 2.0f);
    const AttentionOutput first = attend(a, 1);
    const AttentionGradients gradients = attend_backward(a, first, 1);
    for (const std::uint64_t seed : {2, 3}) {
      const AttentionOutput again = attend(a, seed);
      CHECK(compare_bits(first.out, again.out));
      CHECK(compare_bits(first.log_sum_exp, again.log_sum_exp));
      const AttentionGradients other = attend_backward(a, first, seed);
      CHECK(compare_bits(gradients.dq, other.dq));
      CHECK(compare_bits(gradients.dk, other.dk));
      CHECK(compare_bits(gradients.dv, other.dv));
    }
  }
}

TEST_CASE("attention: shared memory without bank conflicts") {
  for (const index_t head_dim : {32, 64, 128}) {
    CAPTURE(head_dim);
    emulation::Settings settings;
    settings.requests = true;
    const emulation::With with(settings);
    const AttentionCase a(attention_extents(1, 150, 150, 1, 1, head_dim), 3);
    emulation::reset_counters();
    const AttentionOutput f = attend(a);
    CHECK(emulation::worst_bank_ways() == 1);
    attend_backward(a, f);
    for (const auto& found : emulation::shared_requests())
      CHECK_MESSAGE(found.second.worst_ways == 1, found.first.first, ":", found.first.second);
  }
}

TEST_CASE("attention: NaN in a key reaches the rows that see it and no others") {
  AttentionCase a(attention_extents(1, 150, 150, 1, 1, 64), 3);
  a.k[static_cast<std::size_t>(70 * 64)] = bfloat16::from_bits(0x7FC0);
  const AttentionOutput f = attend(a);
  for (index_t t = 0; t < 150; ++t)
    for (index_t d = 0; d < 64; ++d) {
      const float x = static_cast<float>(f.out[static_cast<std::size_t>(t * 64 + d)]);
      CAPTURE(t);
      REQUIRE((x != x) == (t >= 70));
    }
}

TEST_CASE("attention: no sequences, no queries") {
  const AttentionExtents none = attention_extents(0, 5, 5, 1, 1, 64);
  cuda::attention(CudaBackend{}, cuda::AttentionArgs<bfloat16>{none});
  cuda::attention_backward(CudaBackend{}, cuda::AttentionBackwardArgs<bfloat16>{none});

  AttentionExtents keys_only = attention_extents(1, 0, 70, 2, 1, 64);
  cuda::attention(CudaBackend{}, cuda::AttentionArgs<bfloat16>{keys_only});
  const emulation::Buffer<const bfloat16> k(70 * 64, bfloat16(1.0f));
  const auto dk = emulation::Buffer<bfloat16>::uninitialized(70 * 64),
             dv = emulation::Buffer<bfloat16>::uninitialized(70 * 64);
  cuda::AttentionBackwardArgs<bfloat16> args{keys_only};
  args.k = args.v = k.data();
  args.dk = dk.data();
  args.dv = dv.data();
  cuda::attention_backward(CudaBackend{}, args);
  for (std::size_t i = 0; i < dk.size(); ++i) REQUIRE((dk[i].bits == 0 && dv[i].bits == 0));
}

TEST_CASE("attention: what it does not take is an error that names it") {
  const emulation::Buffer<bfloat16> x(8 * 64);
  const auto message = [&](const AttentionExtents& e, const bfloat16* q) -> std::string {
    try {
      cuda::attention(CudaBackend{}, cuda::AttentionArgs<bfloat16>{e, q, x.data(), x.data(), x.data(), nullptr});
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  const AttentionExtents good = attention_extents(1, 8, 8, 1, 1, 64);
  CHECK(message(good, x.data()) == "no error");
  CHECK(message(good, x.data() + 1) == "attention: q is misaligned; a pointer aligned to 16 bytes is accepted");
  CHECK(message(good, nullptr) == "attention: q is null; a pointer aligned to 16 bytes is accepted");
  AttentionExtents e = good;
  e.head_dim = 136;
  CHECK(message(e, x.data()) == "attention: head_dim 136; multiples of 8 up to 128 are accepted");
  e.head_dim = 60;
  CHECK(message(e, x.data()) == "attention: head_dim 60; multiples of 8 up to 128 are accepted");
  e = good;
  e.kv_stride = 60;
  CHECK(message(e, x.data()) == "attention: kv_stride 60; multiples of 8 from 64 to 2^24 are accepted");
  e = good;
  e.out_batch_stride = 4;
  CHECK(message(e, x.data()) == "attention: out_batch_stride 4; multiples of 8 are accepted");
  e = good;
  e.heads = 3;
  e.kv_heads = 2;
  CHECK(message(e, x.data()) == "attention: 3 query heads over 2 key heads, must be a multiple");
  e = good;
  e.query_tokens = 9;
  CHECK(message(e, x.data()) ==
        "attention: 1 sequences of 9 queries and 8 keys; at least as many keys as queries and at most 2^24 - 1 are "
        "accepted");
  e = good;
  e.scale = -1.0f;
  CHECK(message(e, x.data()) == "attention: scale -1, must be positive and finite");
}

TEST_CASE("attention_backward: says how much workspace it needs") {
  cuda::AttentionBackwardArgs<bfloat16> args{attention_extents(2, 130, 130, 3, 1, 64)};
  CHECK(cuda::attention_backward_workspace(args.extents) == 2 * 3 * 256 * 8);
  const emulation::Buffer<bfloat16> x(2 * 130 * 3 * 64);
  const emulation::Buffer<float> lse(2 * 3 * 130);
  args.q = args.k = args.v = args.out = args.dout = x.data();
  args.dq = args.dk = args.dv = x.data();
  args.log_sum_exp = lse.data();
  CHECK_THROWS_WITH(cuda::attention_backward(CudaBackend{}, args),
                    "attention_backward: needs 12288 bytes of workspace, the backend has 0");
}

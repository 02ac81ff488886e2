// Attention on the device against its definition in double, and against itself.
#include "gpu/check.hpp"
#include "qat/kernels/cuda/attention.hpp"
#include "support/attention_reference.hpp"

namespace qat::test::gpu {
namespace {

struct AttentionResults {
  std::vector<bfloat16> out, dq, dk, dv;
  std::vector<float> log_sum_exp;
};

AttentionResults run_attention(const Device& device, const AttentionCase& a) {
  const cuda::AttentionExtents& e = a.e;
  const auto q = to_device(device, a.q), k = to_device(device, a.k), v = to_device(device, a.v);
  const auto dout = to_device(device, a.dout), out = to_device(device, a.dout);
  const auto dq = to_device(device, a.q), dk = to_device(device, a.k), dv = to_device(device, a.k);
  const cuda::DeviceBuffer<float> lse(e.batch * e.heads * e.query_tokens);
  cuda::attention(device.backend,
                  cuda::AttentionArgs<bfloat16>{e, q.data(), k.data(), v.data(), out.data(), lse.data()});
  cuda::attention_backward(
      device.backend, cuda::AttentionBackwardArgs<bfloat16>{e, q.data(), k.data(), v.data(), out.data(), lse.data(),
                                                            dout.data(), dq.data(), dk.data(), dv.data()});
  return {to_host(device, out), to_host(device, dq), to_host(device, dk), to_host(device, dv), to_host(device, lse)};
}

template <class T>
Comparison within(const Bounded& expected, const std::vector<T>& actual) {
  std::vector<double> wide;
  for (const T x : actual) wide.push_back(static_cast<double>(static_cast<float>(x)));
  return compare_within(Values<double>(expected.value), Values<double>(wide), expected.bound);
}

void attention_definition(const Device& device, Report& report) {
  std::vector<cuda::AttentionExtents> all;
  for (const index_t head_dim : {32, 64, 128}) {
    all.push_back(cuda::attention_extents(1, 1, 1, 1, 1, head_dim));
    all.push_back(cuda::attention_extents(1, 150, 150, 2, 1, head_dim));
    all.push_back(cuda::attention_extents(1, 70, 200, 2, 1, head_dim));
    if (device.large) all.push_back(cuda::attention_extents(1, 700, 700, 2, 1, head_dim));
  }
  all.push_back(cuda::attention_extents(1, 65, 65, 2, 1, 80));
  for (const auto& e : all) {
    const AttentionCase a(e, 7, 2.0f);
    const AttentionResults first = run_attention(device, a), again = run_attention(device, a);
    const AttentionReference r = attention_reference(a, first.out);
    const std::string name = std::to_string(e.query_tokens) + " queries, " + std::to_string(e.key_tokens) + " keys, " +
                             std::to_string(e.heads) + "/" + std::to_string(e.kv_heads) + " heads of " +
                             std::to_string(e.head_dim) + ": ";
    report.expect(name + "out", within(r.out, first.out));
    report.expect(name + "log_sum_exp", within(r.log_sum_exp, first.log_sum_exp));
    report.expect(name + "dq", within(r.dq, first.dq));
    report.expect(name + "dk", within(r.dk, first.dk));
    report.expect(name + "dv", within(r.dv, first.dv));
    report.expect(name + "out again", compare_bits(first.out, again.out));
    report.expect(name + "dq again", compare_bits(first.dq, again.dq));
    report.expect(name + "dk again", compare_bits(first.dk, again.dk));
    report.expect(name + "dv again", compare_bits(first.dv, again.dv));
  }
}

const Registration attention_check("attention: the definition, and the same bits again", attention_definition);

}  // namespace
}  // namespace qat::test::gpu

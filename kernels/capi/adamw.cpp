// The C interface to AdamW.
#include <vector>

#include "capi.hpp"
#include "qat/kernels/cuda/adamw.hpp"

using namespace qat;

namespace {
/// f(G{}, W{}) with the types of gradient and copy.
template <class F>
void with_types(qat_dtype gradient, qat_dtype copy, F&& f) {
  capi::with_dtype("adamw: gradient", gradient, [&]<class G>(G) {
    capi::with_dtype("adamw: copy", copy, [&]<class W>(W) {
      if constexpr (sizeof(G) >= sizeof(W))
        f(G{}, W{});
      else
        raise(ErrorCode::kUnsupported, "adamw: bfloat16 gradients of fp32 copies; accepted: a copy as narrow");
    });
  });
}
template <class G, class W>
std::vector<cuda::AdamWTensor<G, W>> table_of(const qat_adamw_tensor* tensors, int64_t count) {
  std::vector<cuda::AdamWTensor<G, W>> table;
  for (int64_t i = 0; i < count; ++i) {
    const qat_adamw_tensor& from = tensors[i];
    cuda::AdamWTensor<G, W> t;
    if (from.name != nullptr) t.name = from.name;
    t.rows = from.rows;
    t.columns = from.columns;
    t.value = from.value;
    t.gradient = static_cast<const G*>(from.gradient);
    t.mean = from.mean;
    t.square = from.square;
    t.copy = static_cast<W*>(from.copy);
    if (from.spec != nullptr) {
      t.spec = capi::spec(t.name, from.spec);
      t.scale = from.scale;
      t.zero_point = from.zero_point;
      QAT_CHECK(t.scale != nullptr, kInvalidArgument, "adamw: ", t.name, " has a spec and no scale");
    }
    table.push_back(t);
  }
  return table;
}
/// What the table points to cannot be looked at when it is used: it is on the device then.
template <class G, class W>
void check_pointers(const std::vector<cuda::AdamWTensor<G, W>>& table) {
  for (const cuda::AdamWTensor<G, W>& t : table)
    capi::check_arguments(nullptr, t.name, QAT_FLOAT32,
                          {{"value", t.value, true},
                           {"gradient", t.gradient, true},
                           {"mean", t.mean, true},
                           {"square", t.square, true},
                           {"copy", t.copy, true},
                           {"scale", t.scale, true},
                           {"zero_point", t.zero_point, true}});
}
}  // namespace

extern "C" {

qat_status qat_cuda_adamw_plan(qat_dtype gradient, qat_dtype copy, const qat_adamw_tensor* tensors, int64_t count,
                               void* table, size_t* table_bytes, void* works, size_t* works_bytes) {
  return capi::guarded([&] {
    with_types(gradient, copy, [&]<class G, class W>(G, W) {
      const auto list = table_of<G, W>(tensors, count);
      if (table != nullptr) check_pointers(list);
      const cuda::AdamWPlan plan = cuda::plan_adamw(list.data(), count, static_cast<cuda::AdamWWork*>(works));
      const std::size_t bytes = list.size() * sizeof(list[0]);
      if (table_bytes != nullptr) *table_bytes = bytes;
      if (works_bytes != nullptr) *works_bytes = static_cast<std::size_t>(plan.works) * sizeof(cuda::AdamWWork);
      if (table != nullptr) std::memcpy(table, list.data(), bytes);
    });
  });
}
qat_status qat_cuda_adamw(const qat_cuda* cuda, qat_dtype gradient, qat_dtype copy, const void* table,
                          const void* works, size_t works_bytes, double learning_rate, double beta1, double beta2,
                          double eps, double weight_decay, int64_t step) {
  return capi::guarded([&] {
    capi::check_arguments(cuda, "adamw", QAT_BFLOAT16, {{"table", table}, {"works", works}});
    QAT_CHECK(step >= 1, kInvalidArgument, "adamw: step is ", step, "; accepted: 1, 2, ...");
    with_types(gradient, copy, [&]<class G, class W>(G, W) {
      cuda::AdamWPlan plan;
      plan.works = static_cast<index_t>(works_bytes / sizeof(cuda::AdamWWork));
      cuda::AdamWStep numbers;
      numbers.factors[0] = kernels::adamw_factors(learning_rate, beta1, beta2, eps, weight_decay, step);
      cuda::adamw(capi::backend(cuda), static_cast<const cuda::AdamWTensor<G, W>*>(table),
                  static_cast<const cuda::AdamWWork*>(works), plan, numbers);
    });
  });
}

}  // extern "C"

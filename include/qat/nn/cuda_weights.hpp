// A model's weights on one GPU and their optimizer: masters, gradients, moments, and the copies that products read.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "qat/kernels/cuda/adamw.hpp"
#include "qat/kernels/cuda/device.hpp"
#include "qat/numeric/bfloat16.hpp"

namespace qat::inline v0::nn {

/// A weight as it is trained: the parts are rows of one matrix, so that one product serves them.
struct CudaWeight {
  std::vector<std::string> names;  ///< Hugging Face names of the parts
  std::vector<index_t> part_rows;  ///< rows of each
  index_t rows = 0, columns = 0;   ///< a norm's is (1, columns)
  cuda::DeviceBuffer<float> value, gradient, mean, square;
  cuda::DeviceBuffer<float> scale, zero_point;  ///< (tiles), where it is fake-quantized
  cuda::DeviceBuffer<bfloat16> copy;            ///< what products read; a norm has none
};

/// Hyperparameters of AdamW, and the scheme it folds in.
struct CudaOptimizerOptions {
  /// Of the linear weights: one of those that kernels/cuda/adamw.hpp accepts.
  std::optional<QuantSpec> weight;
  double beta1 = 0.9, beta2 = 0.95, eps = 1e-8, weight_decay = 0.0;  ///< norms do not decay
  double clip_norm = 1.0;                                            ///< 0: no clipping
};

/// All weights of a model. add() them, finish() once, set() their values and refresh(); then any number of updates,
/// which allocate nothing and wait for nothing.
class CudaWeights {
 public:
  explicit CudaWeights(const CudaOptimizerOptions& options) : options_(options) {}

  /// The place of a new weight in list(). linear: it is fake-quantized where a scheme is given.
  std::size_t add(const std::vector<std::string>& names, const std::vector<index_t>& rows, index_t columns,
                  bool linear) {
    CudaWeight w;
    w.names = names;
    w.part_rows = rows;
    for (const index_t r : rows) w.rows += r;
    w.columns = columns;
    const index_t n = w.rows * columns;
    for (auto* buffer : {&w.value, &w.gradient, &w.mean, &w.square}) *buffer = cuda::DeviceBuffer<float>(n);
    if (w.rows > 1) w.copy = cuda::DeviceBuffer<bfloat16>(n);
    if (linear && options_.weight) {
      const index_t tiles = group_layout(options_.weight->granularity, w.rows, columns).count();
      w.scale = cuda::DeviceBuffer<float>(tiles);
      w.zero_point = cuda::DeviceBuffer<float>(tiles);
    }
    list_.push_back(std::move(w));
    return list_.size() - 1;
  }
  /// Lays out the step over all weights. @throws qat::Error naming a weight that its scheme does not fit
  void finish(const CudaBackend& backend) {
    std::vector<cuda::AdamWTensor<float, bfloat16>> table;
    for (const CudaWeight& w : list_) {
      cuda::AdamWTensor<float, bfloat16> t;
      t.name = w.names[0].c_str();
      t.rows = w.rows;
      t.columns = w.columns;
      t.value = w.value.data();
      t.gradient = w.gradient.data();
      t.mean = w.mean.data();
      t.square = w.square.data();
      t.copy = w.copy.data();
      t.group = w.rows > 1 ? kDecayed : kNotDecayed;
      if (w.scale.size() > 0) {
        t.scale = w.scale.data();
        t.zero_point = w.zero_point.data();
        t.spec = *options_.weight;
      }
      table.push_back(t);
    }
    const index_t count = static_cast<index_t>(table.size());
    plan_ = cuda::plan_adamw(table.data(), count, nullptr);
    std::vector<cuda::AdamWWork> works(static_cast<std::size_t>(plan_.works));
    cuda::plan_adamw(table.data(), count, works.data());
    table_ = cuda::DeviceBuffer<cuda::AdamWTensor<float, bfloat16>>(backend, table.data(), count);
    works_ = cuda::DeviceBuffer<cuda::AdamWWork>(backend, works.data(), plan_.works);
    norm_ = cuda::DeviceBuffer<float>(2);
    factors_ = cuda::DeviceBuffer<kernels::AdamWFactors>(cuda::AdamWStep::kGroups);
  }
  /// Workspace of update().
  std::size_t workspace_bytes() const { return cuda::gradient_norm_bytes(plan_); }

  std::vector<CudaWeight>& list() { return list_; }
  const CudaWeight& operator[](std::size_t place) const { return list_[place]; }

  /// Takes one part's values from host memory. After the last of them call refresh().
  /// @throws qat::Error naming a weight that the model does not have, or its size
  void set(const CudaBackend& backend, const std::string& name, const float* values, index_t size) {
    const Part p = find(name, size);
    cuda::device_copy(backend, p.weight->value.data() + p.offset, values,
                      static_cast<std::size_t>(size) * sizeof(float));
  }
  /// One part's values, or those of its gradient, in host memory.
  std::vector<float> get(const CudaBackend& backend, const std::string& name, bool gradient = false) {
    const Part p = find(name, -1);
    std::vector<float> values(static_cast<std::size_t>(p.size));
    cuda::device_copy(backend, values.data(), (gradient ? p.weight->gradient : p.weight->value).data() + p.offset,
                      values.size() * sizeof(float));
    return values;
  }
  /// What products read in place of the part.
  std::vector<bfloat16> get_copy(const CudaBackend& backend, const std::string& name) {
    const Part p = find(name, -1);
    QAT_CHECK(p.weight->copy.size() > 0, kInvalidArgument, "CudaWeights: ", name, " is read as it is");
    std::vector<bfloat16> values(static_cast<std::size_t>(p.size));
    cuda::device_copy(backend, values.data(), p.weight->copy.data() + p.offset, values.size() * sizeof(bfloat16));
    return values;
  }

  /// Forgets moments, chooses scales and writes the copies for the values as they are: a step with learning rate 0 and
  /// no gradient. Waits for the device.
  void refresh(const CudaBackend& backend) {
    for (CudaWeight& w : list_) {
      const std::vector<float> zeros(static_cast<std::size_t>(w.rows * w.columns));
      for (const auto* buffer : {&w.gradient, &w.mean, &w.square})
        cuda::device_copy(backend, buffer->data(), zeros.data(), zeros.size() * sizeof(float));
      const std::vector<float> ones(static_cast<std::size_t>(w.scale.size()), 1.0f);
      cuda::device_copy(backend, w.scale.data(), ones.data(), ones.size() * sizeof(float));
      cuda::device_copy(backend, w.zero_point.data(), zeros.data(), ones.size() * sizeof(float));
    }
    set_learning_rate(backend, 0.0, 1);
    update(backend, false);
  }
  /// The numbers of the next update; step: 1, 2, ... Copies to the device, so outside a captured graph.
  void set_learning_rate(const CudaBackend& backend, double lr, std::int64_t step) {
    const CudaOptimizerOptions& o = options_;
    kernels::AdamWFactors factors[cuda::AdamWStep::kGroups];
    for (kernels::AdamWFactors& f : factors)
      f = kernels::adamw_factors(lr, o.beta1, o.beta2, o.eps, o.weight_decay, step);
    factors[kNotDecayed] = kernels::adamw_factors(lr, o.beta1, o.beta2, o.eps, 0.0, step);
    cuda::device_copy(backend, factors_.data(), factors, sizeof factors);
  }
  /// One step of AdamW on every weight, gradients clipped; the copies follow.
  void update(const CudaBackend& backend) { update(backend, options_.clip_norm > 0.0); }
  /// Norm of the gradients that the last update() saw, before clipping. Waits for the device.
  float gradient_norm(const CudaBackend& backend) const {
    std::vector<float> result(2);
    norm_.read(backend, result.data());
    return result[0];
  }

 private:
  enum Group : std::uint32_t { kDecayed, kNotDecayed };
  struct Part {
    CudaWeight* weight;
    index_t offset, size;
  };

  Part find(const std::string& name, index_t size) {
    for (CudaWeight& w : list_) {
      index_t offset = 0;
      for (std::size_t i = 0; i < w.names.size(); ++i) {
        const index_t part = w.part_rows[i] * w.columns;
        if (w.names[i] == name) {
          QAT_CHECK(size < 0 || size == part, kShapeMismatch, "CudaWeights: ", name, " has ", part, " values, ", size,
                    " were given");
          return {&w, offset, part};
        }
        offset += part;
      }
    }
    raise(ErrorCode::kInvalidArgument, "CudaWeights: no weight is named ", name);
  }
  void update(const CudaBackend& backend, bool clip) {
    cuda::AdamWStep step;
    step.device_factors = factors_.data();
    if (clip) {
      cuda::gradient_norm(backend, table_.data(), works_.data(), plan_, options_.clip_norm, norm_.data());
      step.gradient_factor = norm_.data() + 1;
    }
    cuda::adamw(backend, table_.data(), works_.data(), plan_, step);
  }

  CudaOptimizerOptions options_;
  std::vector<CudaWeight> list_;
  cuda::AdamWPlan plan_;
  cuda::DeviceBuffer<float> norm_;
  cuda::DeviceBuffer<kernels::AdamWFactors> factors_;
  cuda::DeviceBuffer<cuda::AdamWTensor<float, bfloat16>> table_;
  cuda::DeviceBuffer<cuda::AdamWWork> works_;
};

}  // namespace qat::inline v0::nn

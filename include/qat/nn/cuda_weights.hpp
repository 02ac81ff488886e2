// A model's weights on one GPU and their optimizer: masters, gradients, moments, and the copies that products read.
#pragma once

#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qat/kernels/cuda/adamw.hpp"
#include "qat/kernels/cuda/average.hpp"
#include "qat/kernels/cuda/device.hpp"
#include "qat/kernels/lsq_gradient_scale.hpp"
#include "qat/numeric/bfloat16.hpp"

namespace qat::inline v0::nn {

/// A weight as it is trained: the parts are rows of one matrix, so that one product serves them.
struct CudaWeight {
  std::vector<std::string> names;  ///< Hugging Face names of the parts
  std::vector<index_t> part_rows;  ///< rows of each
  index_t rows = 0, columns = 0;   ///< a norm's is (1, columns)
  std::optional<QuantSpec> spec;   ///< how it is fake-quantized, if it is
  cuda::DeviceBuffer<float> value, gradient, mean, square;
  cuda::DeviceBuffer<float> scale, zero_point;                      ///< (tiles), where it is fake-quantized
  cuda::DeviceBuffer<float> learned, learned_mean, learned_square;  ///< (tiles), where scales are learned
  cuda::DeviceBuffer<bfloat16> copy;                                ///< what products read; a norm has none
  cuda::DeviceBuffer<float> average, learned_average;               ///< of value and learned, with ema_decay
};

/// Hyperparameters of AdamW, and how the quantization that it folds in is trained.
struct CudaOptimizerOptions {
  double beta1 = 0.9, beta2 = 0.95, eps = 1e-8, weight_decay = 0.0;
  double clip_norm = 1.0;  ///< 0: no clipping
  SteMask mask = SteMask::kInclusive;
  bool learn_scales = false;  ///< LSQ: scales are trained, from those that the scheme chooses on
  double scale_lr = 0.1;      ///< learning rate of learned scales, over that of weights; they have no weight decay
  double ema_decay = 0.0;     ///< of moving averages of values and learned scales; 0: none
  bool trains = true;         ///< else there are copies (of norms: values) and nothing to train them
};

/// All weights of a model. add() them, finish() once, set() their values and refresh(); then any number of updates,
/// which allocate nothing and wait for nothing.
class CudaWeights {
 public:
  explicit CudaWeights(const CudaOptimizerOptions& options) : options_(options) {}

  /// The place of a new weight in list(). spec: one of those that kernels/cuda/adamw.hpp accepts, or none
  std::size_t add(const std::vector<std::string>& names, const std::vector<index_t>& rows, index_t columns,
                  const std::optional<QuantSpec>& spec = std::nullopt) {
    CudaWeight w;
    w.names = names;
    w.part_rows = rows;
    for (const index_t r : rows) w.rows += r;
    w.columns = columns;
    const index_t n = w.rows * columns;
    if (options_.trains) {
      for (auto* buffer : {&w.value, &w.gradient, &w.mean, &w.square}) *buffer = cuda::DeviceBuffer<float>(n);
    } else if (w.rows == 1) {
      w.value = cuda::DeviceBuffer<float>(n);
    }
    if (options_.trains && options_.ema_decay > 0.0) w.average = cuda::DeviceBuffer<float>(n);
    if (w.rows > 1) w.copy = cuda::DeviceBuffer<bfloat16>(n);
    if (spec && options_.trains) {
      w.spec = spec;
      const index_t tiles = group_layout(spec->granularity, w.rows, columns).count();
      w.scale = cuda::DeviceBuffer<float>(tiles);
      if (!has_constant_zero_point(spec->mapping)) w.zero_point = cuda::DeviceBuffer<float>(tiles);
      if (options_.learn_scales)
        for (auto* buffer : {&w.learned, &w.learned_mean, &w.learned_square})
          *buffer = cuda::DeviceBuffer<float>(tiles);
      if (options_.learn_scales && options_.ema_decay > 0.0) w.learned_average = cuda::DeviceBuffer<float>(tiles);
    }
    list_.push_back(std::move(w));
    return list_.size() - 1;
  }
  /// Lays out the step over all weights. @throws qat::Error naming a weight that its scheme does not fit
  void finish(const CudaBackend& backend) {
    if (!options_.trains) return;
    norm_ = cuda::DeviceBuffer<float>(2);
    factors_ = cuda::DeviceBuffer<kernels::AdamWFactors>(cuda::AdamWStep::kGroups);
    lay_out(backend);
  }
  /// Workspace of update().
  std::size_t workspace_bytes() const { return cuda::gradient_norm_bytes(plan_); }

  std::vector<CudaWeight>& list() { return list_; }
  const CudaWeight& operator[](std::size_t place) const { return list_[place]; }

  /// Takes the values of one part, or of a tensor of its state, from host memory. Names as checkpoints of runs have
  /// them: NAME, NAME.exp_avg, NAME.exp_avg_sq; of learned scales NAME_scale with .zero_point and the same; .average of
  /// both. After the last of them call refresh(), or rewrite() where moments were among them.
  /// @throws qat::Error naming a weight that the model does not have, or its size
  void set(const CudaBackend& backend, const std::string& name, const float* values, index_t size) {
    const Part p = find(name, size);
    if (p.copy != nullptr) {
      const std::vector<bfloat16> rounded(values, values + size);
      cuda::device_copy(backend, p.copy, rounded.data(), rounded.size() * sizeof(bfloat16));
    } else {
      cuda::device_copy(backend, p.data, values, static_cast<std::size_t>(size) * sizeof(float));
    }
  }
  /// The reverse.
  void get(const CudaBackend& backend, const std::string& name, float* values, index_t size) {
    cuda::device_copy(backend, values, trained(name, size).data, static_cast<std::size_t>(size) * sizeof(float));
  }
  /// One part's values, or those of its gradient, in host memory.
  std::vector<float> get(const CudaBackend& backend, const std::string& name, bool gradient = false) {
    const Part p = trained(name, -1);
    std::vector<float> values(static_cast<std::size_t>(p.size));
    const float* const from = gradient ? p.weight->gradient.data() + p.offset : p.data;
    cuda::device_copy(backend, values.data(), from, values.size() * sizeof(float));
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

  /// Forgets moments and learned scales, chooses scales and writes the copies for the values as they are. Waits for the
  /// device.
  void refresh(const CudaBackend& backend) {
    if (!options_.trains) return;
    for (CudaWeight& w : list_) {
      for (const auto* buffer : {&w.gradient, &w.mean, &w.square, &w.average, &w.learned_average})
        fill(backend, *buffer, 0.0f);
      fill(backend, w.scale, 1.0f);
      fill(backend, w.zero_point, 0.0f);
      for (const auto* buffer : {&w.learned, &w.learned_mean, &w.learned_square}) fill(backend, *buffer, 0.0f);
    }
    begun_ = false;
    lay_out(backend);
    rewrite(backend);
  }
  /// Writes the copies for the values as they are, in a step that changes nothing else; chooses scales, or takes
  /// learned ones. Waits for the device.
  void rewrite(const CudaBackend& backend) {
    kernels::AdamWFactors factors[cuda::AdamWStep::kGroups];
    for (kernels::AdamWFactors& f : factors) f = {1.0f, 0.0f, 1.0f, 0.0f, 0.0f, 1.0f, 1.0f};
    cuda::device_copy(backend, factors_.data(), factors, sizeof factors);
    update(backend, false);
    cuda::device_wait(backend);
  }
  /// Whether copies are fake-quantized (at first) or the values alone. Where that changes, the copies are rewritten.
  void set_fake_quantization(const CudaBackend& backend, bool on) {
    if (!options_.trains || std::exchange(fake_quantized_, on) == on) return;
    lay_out(backend);
    rewrite(backend);
  }
  bool fake_quantized() const { return fake_quantized_; }
  /// Learned scales have their first values, or (false) are to get them from begin_scales().
  void set_scales_begun(const CudaBackend& backend, bool begun) {
    if (std::exchange(begun_, begun) == begun) return;
    lay_out(backend);
    rewrite(backend);
  }
  /// From now on scales are learned, from those on that the copies have. Nothing where they are not or have begun.
  void begin_scales(const CudaBackend& backend) {
    if (!options_.learn_scales || begun_) return;
    for (CudaWeight& w : list_) {
      const auto bytes = static_cast<std::size_t>(w.learned.size()) * sizeof(float);
      cuda::device_copy(backend, w.learned.data(), w.scale.data(), bytes);
      for (const auto* buffer : {&w.learned_mean, &w.learned_square}) fill(backend, *buffer, 0.0f);
    }
    begun_ = true;
    lay_out(backend);
  }
  /// The numbers of the next update; step: 1, 2, ... Copies to the device, so outside a captured graph.
  void set_learning_rate(const CudaBackend& backend, double lr, std::int64_t step) {
    const CudaOptimizerOptions& o = options_;
    kernels::AdamWFactors factors[cuda::AdamWStep::kGroups] = {};
    factors[kValues] = kernels::adamw_factors(lr, o.beta1, o.beta2, o.eps, o.weight_decay, step);
    factors[kScales] = kernels::adamw_factors(lr * o.scale_lr, o.beta1, o.beta2, o.eps, 0.0, step);
    cuda::device_copy(backend, factors_.data(), factors, sizeof factors);
  }
  /// One step of AdamW on every weight, gradients clipped; the copies follow.
  void update(const CudaBackend& backend) {
    if (options_.clip_norm > 0.0) queue_norm(backend);
    update(backend, options_.clip_norm > 0.0);
  }
  /// The first half of update(): the norm of the gradients, before clipping. Waits for the device.
  float measure_gradients(const CudaBackend& backend) {
    queue_norm(backend);
    return gradient_norm(backend);
  }
  /// The second half, with gradients that were measured.
  void apply(const CudaBackend& backend) { update(backend, true); }
  /// Moves the averages of values, or of learned scales, towards what they are. is_first: nothing before it counts
  void update_averages(const CudaBackend& backend, bool of_scales, bool is_first) {
    const float weight = is_first ? 1.0f : static_cast<float>(1.0 - options_.ema_decay);
    for (const CudaWeight& w : list_) {
      const cuda::DeviceBuffer<float>& average = of_scales ? w.learned_average : w.average;
      if (average.size() > 0)
        cuda::update_average(backend, (of_scales ? w.learned : w.value).data(), average.data(), average.size(), weight);
    }
  }
  /// Exchanges values, and learned scales where asked, with their averages; the copies follow. Waits for the device.
  void swap_averages(const CudaBackend& backend, bool scales) {
    for (CudaWeight& w : list_) {
      if (w.average.size() > 0) std::swap(w.value, w.average);
      if (scales && w.learned_average.size() > 0) std::swap(w.learned, w.learned_average);
    }
    lay_out(backend);
    rewrite(backend);
  }
  /// Norm of the gradients that the last update() saw, before clipping. Waits for the device.
  float gradient_norm(const CudaBackend& backend) const {
    std::vector<float> result(2);
    norm_.read(backend, result.data());
    return result[0];
  }

 private:
  using Table = cuda::AdamWTensor<float, bfloat16>;
  enum Group : std::uint32_t { kValues, kScales };
  struct Part {
    CudaWeight* weight;
    index_t offset, size;
    float* data;     ///< null: only `copy` is there
    bfloat16* copy;  ///< null: data is there
  };

  /// A part, or a tensor of its state, by name. size: what the caller has, or negative
  Part find(const std::string& name, index_t size) {
    for (CudaWeight& w : list_) {
      index_t row = 0;
      for (std::size_t i = 0; i < w.names.size(); row += w.part_rows[i++]) {
        if (!name.starts_with(w.names[i])) continue;
        Part p = {&w, row * w.columns, w.part_rows[i] * w.columns, nullptr, nullptr};
        const std::string_view rest = std::string_view(name).substr(w.names[i].size());
        if (rest.starts_with("_scale")) {
          const index_t per_row = w.learned.size() / w.rows;
          p.offset = row * per_row, p.size = w.part_rows[i] * per_row;
        }
        const std::pair<std::string_view, const cuda::DeviceBuffer<float>*> tensors[] = {
            {"", &w.value},
            {".exp_avg", &w.mean},
            {".exp_avg_sq", &w.square},
            {".average", &w.average},
            {"_scale", &w.learned},
            {"_scale.zero_point", &w.zero_point},
            {"_scale.exp_avg", &w.learned_mean},
            {"_scale.exp_avg_sq", &w.learned_square},
            {"_scale.average", &w.learned_average}};
        for (const auto& [suffix, buffer] : tensors) {
          if (rest != suffix || (buffer->size() == 0 && !rest.empty())) continue;
          if (buffer->size() > 0)
            p.data = buffer->data() + p.offset;
          else
            p.copy = w.copy.data() + p.offset;
          QAT_CHECK(size < 0 || size == p.size, kShapeMismatch, "CudaWeights: ", name, " has ", p.size, " values, ",
                    size, " were given");
          return p;
        }
      }
    }
    raise(ErrorCode::kInvalidArgument, "CudaWeights: no weight is named ", name);
  }
  Part trained(const std::string& name, index_t size) {
    const Part p = find(name, size);
    QAT_CHECK(p.data != nullptr, kInvalidArgument, "CudaWeights: ", name, " is not there in fp32: nothing is trained");
    return p;
  }
  static void fill(const CudaBackend& backend, const cuda::DeviceBuffer<float>& buffer, float value) {
    const std::vector<float> values(static_cast<std::size_t>(buffer.size()), value);
    cuda::device_copy(backend, buffer.data(), values.data(), values.size() * sizeof(float));
  }
  /// The table of the step, as fake_quantized_ and begun_ have it.
  void lay_out(const CudaBackend& backend) {
    std::vector<Table> table;
    for (const CudaWeight& w : list_) {
      Table t;
      t.name = w.names[0].c_str();
      t.rows = w.rows;
      t.columns = w.columns;
      t.value = w.value.data();
      t.gradient = w.gradient.data();
      t.mean = w.mean.data();
      t.square = w.square.data();
      t.copy = w.copy.data();
      t.group = kValues;
      t.mask = options_.mask;
      if (w.spec && fake_quantized_) {
        t.scale = w.scale.data();
        t.zero_point = w.zero_point.data();
        t.spec = *w.spec;
        if (begun_) {
          t.learned = w.learned.data();
          t.learned_mean = w.learned_mean.data();
          t.learned_square = w.learned_square.data();
          t.lsq_factor = kernels::lsq_gradient_scale(*w.spec, w.rows, w.columns);
          t.learned_group = kScales;
        }
      }
      table.push_back(t);
    }
    const index_t count = static_cast<index_t>(table.size());
    plan_ = cuda::plan_adamw(table.data(), count, nullptr);
    std::vector<cuda::AdamWWork> works(static_cast<std::size_t>(plan_.works));
    cuda::plan_adamw(table.data(), count, works.data());
    table_ = cuda::DeviceBuffer<Table>(backend, table.data(), count);
    works_ = cuda::DeviceBuffer<cuda::AdamWWork>(backend, works.data(), plan_.works);
  }
  void queue_norm(const CudaBackend& backend) {
    const double most = options_.clip_norm > 0.0 ? options_.clip_norm : std::numeric_limits<double>::infinity();
    cuda::gradient_norm(backend, table_.data(), works_.data(), plan_, most, norm_.data());
  }
  void update(const CudaBackend& backend, bool clip) {
    cuda::AdamWStep step;
    step.device_factors = factors_.data();
    if (clip) step.gradient_factor = norm_.data() + 1;
    cuda::adamw(backend, table_.data(), works_.data(), plan_, step);
  }

  CudaOptimizerOptions options_;
  std::vector<CudaWeight> list_;
  bool fake_quantized_ = true;
  bool begun_ = false;  // learned scales have values
  cuda::AdamWPlan plan_;
  cuda::DeviceBuffer<float> norm_;
  cuda::DeviceBuffer<kernels::AdamWFactors> factors_;
  cuda::DeviceBuffer<Table> table_;
  cuda::DeviceBuffer<cuda::AdamWWork> works_;
};

}  // namespace qat::inline v0::nn

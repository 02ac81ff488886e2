// Text of kernels/cpu/optimizer.hpp, compiled once per target. Elementwise and without fused multiply-adds: the same
// bits on every target.
namespace qat::inline v0::kernels::QAT_TARGET {

/// torch.optim.AdamW, single-tensor form.
inline void adamw_range(float* p, const float* g, float* m, float* v, index_t n, const AdamWFactors& f) {
  namespace vec = simd::QAT_TARGET;
  for (index_t i = 0; i < n; i += vec::kLanes) {
    const index_t left = n - i;
    const vec::Float grad = load_some(g + i, left), old_mean = load_some(m + i, left);
    const vec::Float mean = old_mean + (grad - old_mean) * vec::set(f.one_minus_beta1);  // exp_avg.lerp_
    const vec::Float square = load_some(v + i, left) * vec::set(f.beta2) + vec::set(f.one_minus_beta2) * grad * grad;
    const vec::Float denominator = sqrt(square) / vec::set(f.sqrt_correction) + vec::set(f.eps);
    const vec::Float value = load_some(p + i, left) * vec::set(f.decay);
    store_some(m + i, mean, left);
    store_some(v + i, square, left);
    store_some(p + i, value - vec::set(f.step_size) * mean / denominator, left);
  }
}

/// torch.optim.SGD: g += weight_decay * p; buffer = momentum * buffer + (1 - dampening) * g (= g at the first step);
/// g += momentum * buffer for Nesterov, else the buffer; p -= lr * g. buffer may be null (momentum 0).
inline void sgd_range(float* p, const float* g, float* buffer, index_t n, float lr, float momentum,
                      float one_minus_dampening, float weight_decay, bool nesterov, bool first_step) {
  for (index_t i = 0; i < n; ++i) {
    float grad = weight_decay != 0.0f ? g[i] + weight_decay * p[i] : g[i];
    if (buffer != nullptr) {
      const float average = first_step ? grad : momentum * buffer[i] + one_minus_dampening * grad;
      buffer[i] = average;
      grad = nesterov ? grad + momentum * average : average;
    }
    p[i] = p[i] - lr * grad;
  }
}

/// torch's lerp_: exact at weight 1.
inline void update_average_range(const float* x, float* average, index_t n, float weight) {
  for (index_t i = 0; i < n; ++i) average[i] = weight == 1.0f ? x[i] : average[i] + (x[i] - average[i]) * weight;
}

}  // namespace qat::inline v0::kernels::QAT_TARGET

// Text of vec_test.cpp, compiled once per target.
namespace qat::inline v0::vec_test::QAT_TARGET {

namespace vec = simd::QAT_TARGET;

inline constexpr int kOperations = 11;

inline void lane_operations(const float* x, const float* y, index_t size, float* out) {
  for (index_t i = 0; i < size; i += vec::kLanes) {
    const index_t n = size - i < vec::kLanes ? size - i : index_t{vec::kLanes};
    const vec::Float a = vec::load(x + i, n), b = vec::load(y + i, n);
    const vec::Float results[kOperations] = {a + b,
                                             a - b,
                                             a * b,
                                             a / b,
                                             vec::minimum(a, b),
                                             vec::maximum(a, b),
                                             vec::abs(a),
                                             vec::round_even(a),
                                             vec::sqrt(vec::abs(a)),
                                             vec::select(a < b, a, b),
                                             vec::fused_mul_add(a, b, vec::set(1.0f))};
    for (int op = 0; op < kOperations; ++op) {
      float lanes[vec::kLanes];
      vec::store(lanes, results[op]);
      for (index_t k = 0; k < n; ++k) out[(i + k) * kOperations + op] = lanes[k];
    }
  }
}

inline bool partial_accesses_are_exact() {
  float source[vec::kLanes], target[vec::kLanes + 1];
  for (int i = 0; i < vec::kLanes; ++i) source[i] = static_cast<float>(i + 1);
  bool good = true;
  for (index_t n = 0; n <= vec::kLanes; ++n) {
    for (float& value : target) value = -1.0f;
    vec::store(target, vec::load(source, n));
    for (index_t i = 0; i < vec::kLanes; ++i) good = good && target[i] == (i < n ? source[i] : 0.0f);
    for (float& value : target) value = -1.0f;
    vec::store(target, vec::load(source), n);
    for (index_t i = 0; i <= vec::kLanes; ++i) good = good && target[i] == (i < n ? source[i] : -1.0f);
  }
  good = good && vec::reduce_max(vec::load(source)) == static_cast<float>(vec::kLanes);
  return good && vec::reduce_min(vec::load(source)) == 1.0f;
}

inline bool transpose_is_exact() {
  vec::Float rows[vec::kLanes];
  for (int i = 0; i < vec::kLanes; ++i) {
    float row[vec::kLanes];
    for (int j = 0; j < vec::kLanes; ++j) row[j] = static_cast<float>(100 * i + j);
    rows[i] = vec::load(row);
  }
  vec::transpose(rows);
  bool good = true;
  for (int i = 0; i < vec::kLanes; ++i) {
    float row[vec::kLanes];
    vec::store(row, rows[i]);
    for (int j = 0; j < vec::kLanes; ++j) good = good && row[j] == static_cast<float>(100 * j + i);
  }
  return good;
}

inline bool integer_lanes_are_exact() {
  float source[vec::kLanes];
  for (int i = 0; i < vec::kLanes; ++i) source[i] = static_cast<float>(i * 17 - 120) + (i % 2 == 0 ? 0.5f : 0.25f);
  const vec::Float x = vec::load(source);
  const vec::Int codes = vec::to_int(x);
  std::int32_t ints[vec::kLanes], up[vec::kLanes], down[vec::kLanes], product[vec::kLanes], widened[vec::kLanes];
  std::int8_t bytes[64] = {};
  float back[vec::kLanes];
  vec::store_int(ints, codes);
  vec::store_int(up, vec::shift_left<3>(codes));
  vec::store_int(down, vec::shift_right(codes, 5));
  vec::store_int(product, vec::multiply(codes, codes - vec::set_int(7)));
  vec::store_low_bytes(bytes, codes);
  vec::store_int(widened, vec::load_int8(bytes));
  vec::store(back, vec::from_bits(vec::bits(vec::to_float(codes))));
  bool good = true;
  for (int i = 0; i < vec::kLanes; ++i) {
    const int expected = static_cast<int>(__builtin_nearbyintf(source[i]));
    good = good && ints[i] == expected && bytes[i] == static_cast<std::int8_t>(expected) && widened[i] == bytes[i];
    good = good && up[i] == expected * 8 && down[i] == static_cast<int>(static_cast<unsigned>(expected) >> 5);
    good = good && product[i] == expected * (expected - 7) && back[i] == static_cast<float>(expected);
  }
  return good;
}

}  // namespace qat::inline v0::vec_test::QAT_TARGET

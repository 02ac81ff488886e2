// Text of kernels/cpu/attention.hpp, compiled once per target: causal attention of one key/value head.
//
// The query heads of a group share their keys: "row" r = t * group + g is query token t of the group's head g. Every
// score is one fma chain over ascending d, every output one chain over ascending keys, every dk and dv one chain over
// ascending rows, each in a lane of its own. So the bits of a row depend neither on the other rows (a decoding step
// equals the same row of the full forward pass) nor on the vector's width.

namespace qat::inline v0::kernels::QAT_TARGET {

/// out[d * width + lane] = source[offset[lane] + d] for d < dim; 0 in lanes whose offset is negative. width: a multiple
/// of kLanes.
inline void transpose_in(const float* source, const index_t* offset, index_t dim, index_t width, float* out) {
  namespace vec = simd::QAT_TARGET;
  for (index_t lane = 0; lane < width; lane += vec::kLanes) {
    index_t d = 0;
    for (; d + vec::kLanes <= dim; d += vec::kLanes) {
      vec::Float block[vec::kLanes];
      for (index_t i = 0; i < vec::kLanes; ++i)
        block[i] = offset[lane + i] < 0 ? vec::zero() : vec::load(source + offset[lane + i] + d);
      vec::transpose(block);
      for (index_t i = 0; i < vec::kLanes; ++i) vec::store(out + (d + i) * width + lane, block[i]);
    }
    for (; d < dim; ++d)
      for (index_t i = lane; i < lane + vec::kLanes; ++i)
        out[d * width + i] = offset[i] < 0 ? 0.0f : source[offset[i] + d];
  }
}
/// target[offset[lane] + d] = in[d * width + lane] for lane < rows and d < dim.
inline void transpose_out(const float* in, const index_t* offset, index_t rows, index_t dim, index_t width,
                          float* target) {
  namespace vec = simd::QAT_TARGET;
  for (index_t lane = 0; lane < rows; lane += vec::kLanes) {
    const index_t valid = rows - lane < vec::kLanes ? rows - lane : index_t{vec::kLanes};
    index_t d = 0;
    for (; d + vec::kLanes <= dim; d += vec::kLanes) {
      vec::Float block[vec::kLanes];
      for (index_t i = 0; i < vec::kLanes; ++i) block[i] = vec::load(in + (d + i) * width + lane);
      vec::transpose(block);
      for (index_t i = 0; i < valid; ++i) vec::store(target + offset[lane + i] + d, block[i]);
    }
    for (; d < dim; ++d)
      for (index_t i = lane; i < lane + valid; ++i) target[offset[i] + d] = in[d * width + i];
  }
}

/// The keys that the rows of one tile see: [begin, end) some row does, [all_from, all_to) every row.
template <int kVectors, bool kWindow>
struct VisibleKeys {
  index_t begin, all_from, all_to, end;
  simd::QAT_TARGET::Float first[kVectors], last[kVectors];  // as floats: exact below 2^24 tokens

  QAT_INLINE bool masked(index_t j, index_t count) const { return (kWindow && j < all_from) || j + count > all_to; }
  QAT_INLINE simd::QAT_TARGET::Mask sees(index_t j, int v) const {
    const simd::QAT_TARGET::Float key = simd::QAT_TARGET::set(static_cast<float>(j));
    if constexpr (kWindow) return (first[v] <= key) & (key <= last[v]);
    return key <= last[v];
  }
};

/// Scaled scores of kVectors vectors of rows with the keys [j, j + kKeys); -inf where a row does not see a key.
/// qt (D, kVectors, lanes), scores (kKeys, kVectors, lanes).
template <int kKeys, int kVectors, bool kWindow>
QAT_INLINE void score_keys(const AttentionHead& head, const float* qt, index_t j,
                           const VisibleKeys<kVectors, kWindow>& visible, float* scores,
                           simd::QAT_TARGET::Float* largest) {
  namespace vec = simd::QAT_TARGET;
  const index_t stride = head.kv_stride;
  const float* key = head.k + j * stride;
  vec::Float s[kKeys][kVectors];
  QAT_UNROLL(8)
  for (int u = 0; u < kKeys; ++u) {
    QAT_UNROLL(2)
    for (int v = 0; v < kVectors; ++v) s[u][v] = vec::zero();
  }
  for (index_t d = 0; d < head.head_dim; ++d, ++key, qt += kVectors * vec::kLanes) {
    vec::Float q[kVectors];
    QAT_UNROLL(2)
    for (int v = 0; v < kVectors; ++v) q[v] = vec::load(qt + v * vec::kLanes);
    QAT_UNROLL(8)
    for (int u = 0; u < kKeys; ++u) {
      const vec::Float kd = vec::set(key[u * stride]);
      QAT_UNROLL(2)
      for (int v = 0; v < kVectors; ++v) s[u][v] = mul_add(q[v], kd, s[u][v]);
    }
  }
  const bool masked = visible.masked(j, kKeys);
  QAT_UNROLL(8)
  for (int u = 0; u < kKeys; ++u) {
    QAT_UNROLL(2)
    for (int v = 0; v < kVectors; ++v) {
      vec::Float x = s[u][v] * vec::set(head.scale);
      if (masked) x = select(visible.sees(j + u, v), x, vec::set(-__builtin_inff()));
      vec::store(scores + (u * kVectors + v) * vec::kLanes, x);
      largest[v] = maximum(x, largest[v]);
    }
  }
}

/// ot[d] = inverse * sum over the keys of p v[d], for d in [d0, d0 + kDims).   p (end - begin, kVectors, lanes)
template <int kDims, int kVectors, bool kWindow>
QAT_INLINE void weigh_values(const AttentionHead& head, const float* p, index_t d0,
                             const VisibleKeys<kVectors, kWindow>& visible, const simd::QAT_TARGET::Float* inverse,
                             float* ot) {
  namespace vec = simd::QAT_TARGET;
  const float* value = head.v + visible.begin * head.kv_stride + d0;
  vec::Float o[kDims][kVectors];
  QAT_UNROLL(8)
  for (int i = 0; i < kDims; ++i) {
    QAT_UNROLL(2)
    for (int v = 0; v < kVectors; ++v) o[i][v] = vec::zero();
  }
  index_t j = visible.begin;
  const auto add_masked = [&](index_t end) QAT_INLINE_LAMBDA {
    for (; j < end; ++j, value += head.kv_stride, p += kVectors * vec::kLanes) {
      QAT_UNROLL(2)
      for (int v = 0; v < kVectors; ++v) {
        const vec::Mask sees = visible.sees(j, v);
        const vec::Float weight = vec::load(p + v * vec::kLanes);
        QAT_UNROLL(8)
        for (int i = 0; i < kDims; ++i)  // a select, not p = 0: a NaN that a row does not see must not reach it
          o[i][v] = select(sees, mul_add(weight, vec::set(value[i]), o[i][v]), o[i][v]);
      }
    }
  };
  if constexpr (kWindow) add_masked(visible.all_from);
  for (; j < visible.all_to; ++j, value += head.kv_stride, p += kVectors * vec::kLanes) {
    QAT_UNROLL(8)
    for (int i = 0; i < kDims; ++i) {
      const vec::Float x = vec::set(value[i]);
      QAT_UNROLL(2)
      for (int v = 0; v < kVectors; ++v) o[i][v] = mul_add(vec::load(p + v * vec::kLanes), x, o[i][v]);
    }
  }
  add_masked(visible.end);
  QAT_UNROLL(8)
  for (int i = 0; i < kDims; ++i) {
    QAT_UNROLL(2)
    for (int v = 0; v < kVectors; ++v) vec::store(ot + ((d0 + i) * kVectors + v) * vec::kLanes, o[i][v] * inverse[v]);
  }
}

/// attention_rows for up to kVectors * kLanes rows from r0 on.
template <int kVectors, bool kWindow>
inline void attention_tile(const AttentionHead& head, index_t r0, index_t rows, float* out, float* row_max,
                           float* row_inverse, float* scratch) {
  namespace vec = simd::QAT_TARGET;
  constexpr int kBlock = QAT_TARGET_LEVEL >= 2 ? 8 : 4;  // kBlock * kVectors sums in registers
  constexpr index_t kWidth = kVectors * vec::kLanes;
  const index_t dim = head.head_dim;
  VisibleKeys<kVectors, kWindow> visible;
  visible.begin = head.first_key(r0);
  visible.end = head.last_key(r0 + rows - 1) + 1;
  visible.all_from = head.first_key(r0 + rows - 1);
  visible.all_to = head.last_key(r0) + 1;
  if (visible.all_from > visible.all_to) visible.all_from = visible.all_to = visible.end;
  float* scores = scratch;                                      // (end - begin, kWidth)
  float* qt = scores + (visible.end - visible.begin) * kWidth;  // (D, kWidth)
  float* ot = qt + dim * kWidth;                                // (D, kWidth)
  index_t offset[kWidth];
  float first_key_lanes[kWidth], last_key_lanes[kWidth];
  for (index_t lane = 0; lane < kWidth; ++lane) {
    const index_t row = r0 + (lane < rows ? lane : 0);  // spare lanes repeat row 0
    offset[lane] = head.q_offset(row);
    first_key_lanes[lane] = static_cast<float>(head.first_key(row));
    last_key_lanes[lane] = static_cast<float>(head.last_key(row));
  }
  transpose_in(head.q, offset, dim, kWidth, qt);
  vec::Float largest[kVectors], total[kVectors], inverse[kVectors];
  for (int v = 0; v < kVectors; ++v) {
    visible.first[v] = vec::load(first_key_lanes + v * vec::kLanes);
    visible.last[v] = vec::load(last_key_lanes + v * vec::kLanes);
    largest[v] = vec::set(-__builtin_inff());
    total[v] = vec::zero();
  }

  const auto score_of = [&](index_t j) QAT_INLINE_LAMBDA { return scores + (j - visible.begin) * kWidth; };
  index_t j = visible.begin;
  for (; j + kBlock <= visible.end; j += kBlock) score_keys<kBlock>(head, qt, j, visible, score_of(j), largest);
  for (; j < visible.end; ++j) score_keys<1>(head, qt, j, visible, score_of(j), largest);

  for (j = visible.begin; j < visible.end; ++j)
    for (int v = 0; v < kVectors; ++v) {
      float* at = score_of(j) + v * vec::kLanes;
      const vec::Float p = exp(vec::load(at) - largest[v]);
      vec::store(at, p);
      const vec::Float sum = total[v] + p;
      total[v] = visible.masked(j, 1) ? select(visible.sees(j, v), sum, total[v]) : sum;
    }
  for (int v = 0; v < kVectors; ++v) inverse[v] = vec::set(1.0f) / total[v];

  index_t d = 0;
  for (; d + kBlock <= dim; d += kBlock) weigh_values<kBlock>(head, scores, d, visible, inverse, ot);
  for (; d < dim; ++d) weigh_values<1>(head, scores, d, visible, inverse, ot);
  transpose_out(ot, offset, rows, dim, kWidth, out);

  if (row_max == nullptr) return;
  float most[kWidth] = {}, factor[kWidth] = {};
  for (int v = 0; v < kVectors; ++v) {
    vec::store(most + v * vec::kLanes, largest[v]);
    vec::store(factor + v * vec::kLanes, inverse[v]);
  }
  for (index_t lane = 0; lane < rows; ++lane) {
    row_max[head.stat_offset(r0 + lane)] = most[lane];
    row_inverse[head.stat_offset(r0 + lane)] = factor[lane];
  }
}

template <bool kWindow>
inline void attention_tiles(const AttentionHead& head, index_t row_begin, index_t row_end, float* out, float* row_max,
                            float* row_inverse, float* scratch) {
  constexpr index_t kLanes = simd::QAT_TARGET::kLanes;
  for (index_t r0 = row_begin; r0 < row_end;) {
    const index_t rows = row_end - r0 < 2 * kLanes ? row_end - r0 : 2 * kLanes;
    if (rows > kLanes) {
      attention_tile<2, kWindow>(head, r0, rows, out, row_max, row_inverse, scratch);
    } else {
      attention_tile<1, kWindow>(head, r0, rows, out, row_max, row_inverse, scratch);
    }
    r0 += rows;
  }
}

/// out = softmax(scale * q k^T) v for rows [row_begin, row_end).
/// row_max and row_inverse, (group, Tq) with stride stat_stride: largest score and 1 / sum exp(score - max); may be
/// null. scratch: attention_scratch() floats, aligned to 64 bytes.
inline void attention_rows(const AttentionHead& head, index_t row_begin, index_t row_end, float* out, float* row_max,
                           float* row_inverse, float* scratch) {
  if (head.window > 0) return attention_tiles<true>(head, row_begin, row_end, out, row_max, row_inverse, scratch);
  attention_tiles<false>(head, row_begin, row_end, out, row_max, row_inverse, scratch);
}

/// Gradients of one key/value head and its group, with p recomputed from row_max and row_inverse:
///   dv = p^T dout,  ds = p * (dout v^T - rowsum(dout * out)) * scale,  dq = ds k,  dk = ds^T q.
/// dk, dv: (Tk, D) with token stride kv_stride; dq as q. All are overwritten. scratch aligned to 64 bytes.
inline void attention_backward_head(const AttentionHead& head, const float* out, const float* dout,
                                    const float* row_max, const float* row_inverse, float* dq, float* dk, float* dv,
                                    float* scratch) {
  namespace vec = simd::QAT_TARGET;
  const vec::Float scale = vec::set(head.scale);
  const index_t dim = head.head_dim, rows = head.query_tokens * head.group;
  const index_t padded = (rows + vec::kLanes - 1) / vec::kLanes * vec::kLanes, stride = head.kv_stride;
  float* dqt = scratch;                 // (rows / lanes, D, lanes)
  float* row_dot = dqt + padded * dim;  // (rows)  sum_d dout * out
  float* kt = row_dot + padded;         // (D, lanes) of one block of keys
  float* vt = kt + dim * vec::kLanes;
  float* dkt = vt + dim * vec::kLanes;
  float* dvt = dkt + dim * vec::kLanes;
  for (index_t i = 0; i < padded * dim; ++i) dqt[i] = 0.0f;
  for (index_t row = 0; row < rows; ++row) {
    const float *o = out + head.q_offset(row), *g = dout + head.q_offset(row);
    vec::Lanes16 total = vec::set16(0.0f);
    for (index_t d = 0; d < dim; d += 16) {
      const vec::Lanes16 a = vec::load16(o + d, dim - d, 0.0f), b = vec::load16(g + d, dim - d, 0.0f);
      for (int i = 0; i < vec::kParts16; ++i) total.part[i] = mul_add(a.part[i], b.part[i], total.part[i]);
    }
    row_dot[row] = sum_of(total);
  }

  for (index_t j0 = 0; j0 < head.key_tokens; j0 += vec::kLanes) {
    const index_t keys = head.key_tokens - j0 < vec::kLanes ? head.key_tokens - j0 : vec::kLanes;
    index_t offset[vec::kLanes];
    for (index_t lane = 0; lane < vec::kLanes; ++lane) offset[lane] = lane < keys ? (j0 + lane) * stride : -1;
    transpose_in(head.k, offset, dim, vec::kLanes, kt);
    transpose_in(head.v, offset, dim, vec::kLanes, vt);
    for (index_t i = 0; i < dim * vec::kLanes; i += vec::kLanes) {
      vec::store(dkt + i, vec::zero());
      vec::store(dvt + i, vec::zero());
    }
    const vec::Float key_index = vec::lane_index() + vec::set(static_cast<float>(j0));
    const auto sees_keys = [&](index_t row) QAT_INLINE_LAMBDA {
      return (vec::set(static_cast<float>(head.first_key(row))) <= key_index) &
             (key_index <= vec::set(static_cast<float>(head.last_key(row))));
    };
    // The first row that sees key j0, rounded down to a tile of rows; rows before it are masked.
    index_t first_row = (j0 - (head.key_tokens - head.query_tokens)) * head.group;
    first_row = first_row < 0 ? 0 : first_row / vec::kLanes * vec::kLanes;
    const index_t end_row = head.end_row(j0 + keys - 1);  // of the block's last key; rows before it may be masked too
    for (index_t r0 = first_row; r0 < end_row; r0 += vec::kLanes) {
      vec::Float tile[vec::kLanes];  // ds (row, key), then (key, row)
      for (index_t i = 0; i < vec::kLanes; i += 4) {
        const index_t row0 = r0 + i;
        if (row0 + 4 > rows) {  // the ragged end, one row at a time
          for (index_t u = i; u < i + 4; ++u) {
            const index_t row = r0 + u;
            tile[u] = vec::zero();
            if (row >= rows) continue;
            const float *q = head.q + head.q_offset(row), *g = dout + head.q_offset(row);
            vec::Float s = vec::zero(), dp = vec::zero();
            for (index_t d = 0; d < dim; ++d) {
              s = mul_add(vec::load(kt + d * vec::kLanes), vec::set(q[d]), s);
              dp = mul_add(vec::load(vt + d * vec::kLanes), vec::set(g[d]), dp);
            }
            const vec::Mask sees = sees_keys(row);
            const index_t stat = head.stat_offset(row);
            vec::Float p = exp(s * scale - vec::set(row_max[stat])) * vec::set(row_inverse[stat]);
            p = select(sees, p, vec::zero());
            const vec::Float ds = select(sees, p * (dp - vec::set(row_dot[row])) * scale, vec::zero());
            tile[u] = ds;
            for (index_t d = 0; d < dim; ++d) {
              vec::store(dvt + d * vec::kLanes, mul_add(p, vec::set(g[d]), vec::load(dvt + d * vec::kLanes)));
              vec::store(dkt + d * vec::kLanes, mul_add(ds, vec::set(q[d]), vec::load(dkt + d * vec::kLanes)));
            }
          }
          continue;
        }
        const float *q0 = head.q + head.q_offset(row0), *g0 = dout + head.q_offset(row0);
        const float *q1 = head.q + head.q_offset(row0 + 1), *g1 = dout + head.q_offset(row0 + 1);
        const float *q2 = head.q + head.q_offset(row0 + 2), *g2 = dout + head.q_offset(row0 + 2);
        const float *q3 = head.q + head.q_offset(row0 + 3), *g3 = dout + head.q_offset(row0 + 3);
        vec::Float s[4], dp[4], p[4], ds[4];
        for (int u = 0; u < 4; ++u) s[u] = dp[u] = vec::zero();
        for (index_t d = 0; d < dim; ++d) {
          const vec::Float kd = vec::load(kt + d * vec::kLanes), vd = vec::load(vt + d * vec::kLanes);
          s[0] = mul_add(kd, vec::set(q0[d]), s[0]);
          s[1] = mul_add(kd, vec::set(q1[d]), s[1]);
          s[2] = mul_add(kd, vec::set(q2[d]), s[2]);
          s[3] = mul_add(kd, vec::set(q3[d]), s[3]);
          dp[0] = mul_add(vd, vec::set(g0[d]), dp[0]);
          dp[1] = mul_add(vd, vec::set(g1[d]), dp[1]);
          dp[2] = mul_add(vd, vec::set(g2[d]), dp[2]);
          dp[3] = mul_add(vd, vec::set(g3[d]), dp[3]);
        }
        const bool masked = head.last_key(row0) < j0 + vec::kLanes - 1 || head.first_key(row0 + 3) > j0;
        for (index_t u = 0; u < 4; ++u) {
          const index_t stat = head.stat_offset(row0 + u);
          p[u] = exp(s[u] * scale - vec::set(row_max[stat])) * vec::set(row_inverse[stat]);
          ds[u] = p[u] * (dp[u] - vec::set(row_dot[row0 + u])) * scale;
          if (masked) {
            const vec::Mask sees = sees_keys(row0 + u);
            p[u] = select(sees, p[u], vec::zero());
            ds[u] = select(sees, ds[u], vec::zero());
          }
          tile[i + u] = ds[u];
        }
        for (index_t d = 0; d < dim; ++d) {
          vec::Float a = vec::load(dvt + d * vec::kLanes), b = vec::load(dkt + d * vec::kLanes);
          a = mul_add(p[0], vec::set(g0[d]), a);
          b = mul_add(ds[0], vec::set(q0[d]), b);
          a = mul_add(p[1], vec::set(g1[d]), a);
          b = mul_add(ds[1], vec::set(q1[d]), b);
          a = mul_add(p[2], vec::set(g2[d]), a);
          b = mul_add(ds[2], vec::set(q2[d]), b);
          a = mul_add(p[3], vec::set(g3[d]), a);
          b = mul_add(ds[3], vec::set(q3[d]), b);
          vec::store(dvt + d * vec::kLanes, a);
          vec::store(dkt + d * vec::kLanes, b);
        }
      }
      vec::transpose_tile(tile);
      for (index_t d = 0; d < dim; ++d) {
        float* target = dqt + r0 * dim + d * vec::kLanes;
        vec::Float total = vec::load(target);
        for (index_t key = 0; key < vec::kLanes; ++key)
          total = mul_add(tile[key], vec::set(kt[d * vec::kLanes + key]), total);
        vec::store(target, total);
      }
    }
    transpose_out(dkt, offset, keys, dim, vec::kLanes, dk);
    transpose_out(dvt, offset, keys, dim, vec::kLanes, dv);
  }
  for (index_t r0 = 0; r0 < rows; r0 += vec::kLanes) {
    const index_t some = rows - r0 < vec::kLanes ? rows - r0 : index_t{vec::kLanes};
    index_t offset[vec::kLanes];
    for (index_t lane = 0; lane < some; ++lane) offset[lane] = head.q_offset(r0 + lane);
    transpose_out(dqt + r0 * dim, offset, some, dim, vec::kLanes, dq);
  }
}

}  // namespace qat::inline v0::kernels::QAT_TARGET

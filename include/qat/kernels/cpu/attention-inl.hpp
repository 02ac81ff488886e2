// Text of kernels/cpu/attention.hpp, compiled once per target: causal attention of one key/value head.
//
// The query heads of a group share their keys: "row" r = t * group + g is query token t of the group's head g. Every
// score is one fma chain over ascending d, every output one chain over ascending keys, every dk and dv one chain over
// ascending rows, each in a lane of its own. So the bits of a row depend neither on the other rows (a decoding step
// equals the same row of the full forward pass) nor on the vector's width.

namespace qat::inline v0::kernels::QAT_TARGET {

/// out = softmax(scale * q k^T) v for rows [row_begin, row_end).
/// row_max and row_inverse, (group, Tq) with stride stat_stride: largest score and 1 / sum exp(score - max); may be
/// null. scratch: (key_tokens + 2 * head_dim) * vec::kLanes floats, aligned to 64 bytes.
inline void attention_rows(const AttentionHead& head, index_t row_begin, index_t row_end, float* out, float* row_max,
                           float* row_inverse, float* scratch) {
  namespace vec = simd::QAT_TARGET;
  const vec::Float scale = vec::set(head.scale), minus_infinity = vec::set(-__builtin_inff());
  const index_t dim = head.head_dim, stride = head.kv_stride;
  float* scores = scratch;                              // (Tk, lanes)
  float* qt = scratch + head.key_tokens * vec::kLanes;  // (D, lanes)
  float* ot = qt + dim * vec::kLanes;                   // (D, lanes)
  for (index_t r0 = row_begin; r0 < row_end; r0 += vec::kLanes) {
    const index_t rows = row_end - r0 < vec::kLanes ? row_end - r0 : vec::kLanes;
    float last_key_lanes[vec::kLanes];  // as floats: exact below 2^24 tokens
    for (index_t lane = 0; lane < vec::kLanes; ++lane) {
      const index_t row = r0 + (lane < rows ? lane : 0);  // spare lanes repeat row 0
      last_key_lanes[lane] = static_cast<float>(head.last_key(row));
      const float* source = head.q + head.q_offset(row);
      for (index_t d = 0; d < dim; ++d) {
        qt[d * vec::kLanes + lane] = source[d];
        ot[d * vec::kLanes + lane] = 0.0f;
      }
    }
    const vec::Float last_key = vec::load(last_key_lanes);
    const index_t unmasked = head.last_key(r0) + 1, visible = head.last_key(r0 + rows - 1) + 1;

    vec::Float largest = minus_infinity;
    index_t j = 0;
    for (; j + 4 <= unmasked; j += 4) {
      const float* key = head.k + j * stride;
      vec::Float s0 = vec::zero(), s1 = vec::zero(), s2 = vec::zero(), s3 = vec::zero();
      for (index_t d = 0; d < dim; ++d) {
        const vec::Float qd = vec::load(qt + d * vec::kLanes);
        s0 = mul_add(qd, vec::set(key[d]), s0);
        s1 = mul_add(qd, vec::set(key[d + stride]), s1);
        s2 = mul_add(qd, vec::set(key[d + 2 * stride]), s2);
        s3 = mul_add(qd, vec::set(key[d + 3 * stride]), s3);
      }
      s0 = s0 * scale, s1 = s1 * scale, s2 = s2 * scale, s3 = s3 * scale;
      vec::store(scores + j * vec::kLanes, s0);
      vec::store(scores + (j + 1) * vec::kLanes, s1);
      vec::store(scores + (j + 2) * vec::kLanes, s2);
      vec::store(scores + (j + 3) * vec::kLanes, s3);
      largest = maximum(maximum(maximum(s0, s1), maximum(s2, s3)), largest);
    }
    for (; j < visible; ++j) {
      vec::Float s = vec::zero();
      for (index_t d = 0; d < dim; ++d)
        s = mul_add(vec::load(qt + d * vec::kLanes), vec::set(head.k[j * stride + d]), s);
      s = select(vec::set(static_cast<float>(j)) <= last_key, s * scale, minus_infinity);
      vec::store(scores + j * vec::kLanes, s);
      largest = maximum(s, largest);
    }

    vec::Float total = vec::zero();
    for (j = 0; j + 4 <= unmasked; j += 4) {
      const float* value = head.v + j * stride;
      const vec::Float p0 = exp(vec::load(scores + j * vec::kLanes) - largest),
                       p1 = exp(vec::load(scores + (j + 1) * vec::kLanes) - largest);
      const vec::Float p2 = exp(vec::load(scores + (j + 2) * vec::kLanes) - largest),
                       p3 = exp(vec::load(scores + (j + 3) * vec::kLanes) - largest);
      total = total + p0;
      total = total + p1;
      total = total + p2;
      total = total + p3;
      for (index_t d = 0; d < dim; ++d) {
        vec::Float o = vec::load(ot + d * vec::kLanes);
        o = mul_add(p0, vec::set(value[d]), o);
        o = mul_add(p1, vec::set(value[d + stride]), o);
        o = mul_add(p2, vec::set(value[d + 2 * stride]), o);
        o = mul_add(p3, vec::set(value[d + 3 * stride]), o);
        vec::store(ot + d * vec::kLanes, o);
      }
    }
    for (; j < visible; ++j) {
      const vec::Mask sees = vec::set(static_cast<float>(j)) <= last_key;
      const vec::Float p = exp(vec::load(scores + j * vec::kLanes) - largest);
      total = select(sees, total + p, total);
      for (index_t d = 0; d < dim; ++d) {  // a select, not p = 0: a NaN ahead in time must not reach this row
        const vec::Float o = vec::load(ot + d * vec::kLanes);
        vec::store(ot + d * vec::kLanes, select(sees, mul_add(p, vec::set(head.v[j * stride + d]), o), o));
      }
    }

    const vec::Float inverse = vec::set(1.0f) / total;
    for (index_t d = 0; d < dim; ++d) vec::store(ot + d * vec::kLanes, vec::load(ot + d * vec::kLanes) * inverse);
    for (index_t lane = 0; lane < rows; ++lane) {
      float* target = out + head.q_offset(r0 + lane);
      for (index_t d = 0; d < dim; ++d) target[d] = ot[d * vec::kLanes + lane];
      if (row_max != nullptr) {
        float lanes[vec::kLanes];
        vec::store(lanes, largest);
        row_max[head.stat_offset(r0 + lane)] = lanes[lane];
        vec::store(lanes, inverse);
        row_inverse[head.stat_offset(r0 + lane)] = lanes[lane];
      }
    }
  }
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
    float total = 0.0f;
    for (index_t d = 0; d < dim; ++d) total += o[d] * g[d];
    row_dot[row] = total;
  }

  for (index_t j0 = 0; j0 < head.key_tokens; j0 += vec::kLanes) {
    const index_t keys = head.key_tokens - j0 < vec::kLanes ? head.key_tokens - j0 : vec::kLanes;
    for (index_t lane = 0; lane < vec::kLanes; ++lane) {
      for (index_t d = 0; d < dim; ++d) {
        const index_t i = d * vec::kLanes + lane, source = (j0 + lane) * stride + d;
        kt[i] = lane < keys ? head.k[source] : 0.0f;
        vt[i] = lane < keys ? head.v[source] : 0.0f;
        dkt[i] = 0.0f;
        dvt[i] = 0.0f;
      }
    }
    const vec::Float key_index = vec::lane_index() + vec::set(static_cast<float>(j0));
    // The first row that sees key j0, rounded down to a tile of rows; rows before it are masked.
    index_t first_row = (j0 - (head.key_tokens - head.query_tokens)) * head.group;
    first_row = first_row < 0 ? 0 : first_row / vec::kLanes * vec::kLanes;
    for (index_t r0 = first_row; r0 < rows; r0 += vec::kLanes) {
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
            const vec::Mask sees = key_index <= vec::set(static_cast<float>(head.last_key(row)));
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
        const bool masked = head.last_key(row0) < j0 + vec::kLanes - 1;
        for (index_t u = 0; u < 4; ++u) {
          const index_t stat = head.stat_offset(row0 + u);
          p[u] = exp(s[u] * scale - vec::set(row_max[stat])) * vec::set(row_inverse[stat]);
          ds[u] = p[u] * (dp[u] - vec::set(row_dot[row0 + u])) * scale;
          if (masked) {
            const vec::Mask sees = key_index <= vec::set(static_cast<float>(head.last_key(row0 + u)));
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
    for (index_t lane = 0; lane < keys; ++lane) {
      for (index_t d = 0; d < dim; ++d) {
        dk[(j0 + lane) * stride + d] = dkt[d * vec::kLanes + lane];
        dv[(j0 + lane) * stride + d] = dvt[d * vec::kLanes + lane];
      }
    }
  }
  for (index_t row = 0; row < rows; ++row) {
    float* target = dq + head.q_offset(row);
    const float* source = dqt + row / vec::kLanes * vec::kLanes * dim + row % vec::kLanes;
    for (index_t d = 0; d < dim; ++d) target[d] = source[d * vec::kLanes];
  }
}

}  // namespace qat::inline v0::kernels::QAT_TARGET

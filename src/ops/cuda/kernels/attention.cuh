// Softmax attention of query blocks over lists of keys, forward and backward, without an n x m
// tensor (Dao 2023, FlashAttention-2, arXiv:2307.08691). Each warp of a block owns 16 rows of a
// tile and goes with the others through a list of tiles of 64 columns, so nothing is summed by
// two and the same input gives the same bytes. Forward and dq have queries as rows; dk and dv
// have keys. Scores are in units of log 2.
#pragma once
#include "tensor_core.cuh"

constexpr int SIDE = 64;  // columns of a tile
constexpr float LOG2E = 1.4426950408889634f;
constexpr float LAST_RESORT = 1e5f * LOG2E;
enum Rule { ALL, WITHIN, BEYOND, OTHERS_FIRST };
// What scores have besides q . k and a term for each key.
enum Extra { NOTHING, PAIRS, DISTANCES };

// Places start, start + step, .., and the columns first..last that they go through.
struct Rows { int start, step, count, first, last; };
// Places, which pairs count, and the rows from..to of a tile that do.
struct Cols { int start, step, count, rule, low, high, from, to; };

// A [examples, positions, heads * width] operand or columns of one: strides in elements.
struct Field {
  void *data;
  long long example, row, head;
};

struct Call {
  Field q, k, v, o, g, dq, dk, dv;
  const Rows *rows;
  const Cols *cols;
  const int *lists;         // the rows of list i are lists[2 i]..lists[2 i + 1]
  const uint32_t *order;    // [b, h, n] positions by place, or null
  const uint8_t *queries;   // [b, n] which are tokens
  const uint8_t *keys;      // [b, m]
  const float *terms;       // [b or 1, m, h] added to the scores of keys, or null
  float *dterms;            // [b, m, h]
  const float *pairs;       // added to the scores of pairs; rows are contiguous
  float *dpairs;            // [b or 1, h, n, m]
  const void *distances;    // [distances, h, w] as q
  const float *constants;   // [distances, h]
  float *ddistances;        // [groups, b, h, distances, w + 1], zeros
  float *lse;               // [b, h, n], log 2 of the sum of exponentials; +inf without keys
  const float *dot;         // [b, h, n]: o . g
  Drop drop;
  long long terms_example, pairs_example, pairs_head, pairs_row;  // 0 where examples share them
  int per_head, per_example;  // of lists
  int b, h, n, m, qk, w;      // examples, heads, queries, keys, widths of q and v
  int zero, count;            // the distance 0, and how many distances there are
  int again;                  // whether there is something from earlier parts
  float scale;
};

template <typename T> __device__ __forceinline__ T *at(const Field &f, int b, int h, int i) {
  return (T *)f.data + b * f.example + i * f.row + h * f.head;
}

// The position at a place.
__device__ __forceinline__ int position(const Call &c, int b, int h, int place) {
  return c.order ? (int)c.order[((long long)b * c.h + h) * c.n + place] : place;
}

// The rows of `width` at these places, zeros up to W and beyond the count.
template <typename T, int W, int COUNT>
__device__ __forceinline__ void fetch_rows(const Call &c, T *s, const Field &f, int b, int h, int start,
                                           int step, int count, int width) {
  constexpr int EACH = 16 / sizeof(T), CHUNKS = W / EACH, STRIDE = W + Core<T>::PAD;
  for (int i = threadIdx.x; i < COUNT * CHUNKS; i += blockDim.x) {
    int row = i / CHUNKS, col = (i % CHUNKS) * EACH;
    bool there = row < count && col < width;
    const T *from = (const T *)f.data;
    if (there) from = at<T>(f, b, h, position(c, b, h, start + row * step)) + col;
    fetch(s + row * STRIDE + col, from, there);
  }
}

// What a pair's score is lowered by; infinity where it does not count. `distance` is key - query.
__device__ __forceinline__ float lowered(const Cols &cols, int distance) {
  bool within = distance >= cols.low && distance <= cols.high;
  switch (cols.rule) {
    case WITHIN: return within ? 0.f : INFINITY;
    case BEYOND: return within ? INFINITY : 0.f;
    case OTHERS_FIRST: return distance == 0 ? LAST_RESORT : 0.f;
    default: return 0.f;
  }
}

// c[16 x 8 N] += rows[16 x W] cols[8 N x W]^T
template <typename T, int W, int N>
__device__ __forceinline__ void scores(float c[N][4], const T *rows, const T *cols, int lane) {
  constexpr int STRIDE = W + Core<T>::PAD;
#pragma unroll
  for (int k = 0; k < W; k += Core<T>::K) {
    auto a = Core<T>::load_a(rows + k, STRIDE, lane);
#pragma unroll
    for (int n = 0; n < N; n += 2) {
      typename Core<T>::B b[2];
      Core<T>::load_b_nk(b, cols + n * 8 * STRIDE + k, STRIDE, lane);
      Core<T>::mma(c[n], a, b[0]);
      Core<T>::mma(c[n + 1], a, b[1]);
    }
  }
}

// o[16 x W] += c[16 x 64] cols[64 x W]
template <typename T, int W>
__device__ __forceinline__ void values(float o[W / 8][4], const float c[SIDE / 8][4], const T *cols,
                                       int lane) {
  constexpr int STRIDE = W + Core<T>::PAD, K = Core<T>::K;
#pragma unroll
  for (int k = 0; k < SIDE; k += K) {
    auto a = Core<T>::from_c(c + k / 8);
#pragma unroll
    for (int n = 0; n < W / 8; n += 2) {
      typename Core<T>::B b[2];
      Core<T>::load_b_kn(b, cols + k * STRIDE + n * 8, STRIDE, lane);
      Core<T>::mma(o[n], a, b[0]);
      Core<T>::mma(o[n + 1], a, b[1]);
    }
  }
}

// Sums over the four lanes that share rows.
__device__ __forceinline__ float quad_sum(float x) {
  x += __shfl_xor_sync(~0u, x, 1);
  return x + __shfl_xor_sync(~0u, x, 2);
}
__device__ __forceinline__ float quad_max(float x) {
  x = fmaxf(x, __shfl_xor_sync(~0u, x, 1));
  return fmaxf(x, __shfl_xor_sync(~0u, x, 2));
}

__device__ __forceinline__ int list_of(const Call &c, int b, int h) {
  return c.per_example ? (c.per_head ? b * c.h + h : b) : (c.per_head ? h : 0);
}
__device__ __forceinline__ bool find_rows(const Call &c, int b, int h, int index, Rows &rows) {
  int list = list_of(c, b, h), i = c.lists[2 * list] + index;
  if (i >= c.lists[2 * list + 1]) return false;
  rows = c.rows[i];
  return true;
}

// Of columns, or of rows, what each needs beside the operands. Of keys the term, -inf where
// there is none; of queries the log-sum-exp, +inf where there is none, and o . g.
template <int COUNT> struct Side {
  int position[COUNT];
  float term[COUNT], lse[COUNT], dot[COUNT];
};
template <int COUNT>
__device__ __forceinline__ void know_keys(const Call &c, Side<COUNT> &side, int b, int h, int start,
                                          int step, int count) {
  for (int i = threadIdx.x; i < COUNT; i += blockDim.x) {
    int p = i < count ? position(c, b, h, start + i * step) : -1;
    bool there = p >= 0 && c.keys[(long long)b * c.m + p];
    float term = there ? 0.f : -INFINITY;
    if (there && c.terms) term = c.terms[b * c.terms_example + (long long)p * c.h + h] * LOG2E;
    side.position[i] = there ? p : -1;
    side.term[i] = term;
  }
}
template <int COUNT>
__device__ __forceinline__ void know_queries(const Call &c, Side<COUNT> &side, int b, int h, int start,
                                             int step, int count) {
  for (int i = threadIdx.x; i < COUNT; i += blockDim.x) {
    int p = i < count ? position(c, b, h, start + i * step) : -1;
    bool there = p >= 0 && c.queries[(long long)b * c.n + p];
    long long stat = ((long long)b * c.h + h) * c.n + max(p, 0);
    side.position[i] = there ? p : -1;
    side.lse[i] = there && c.dot ? c.lse[stat] : INFINITY;
    side.dot[i] = there && c.dot ? c.dot[stat] : 0.f;
  }
}

// A band of distances: tiles of rows and columns meet at base + query - key, 127 values. A warp
// with 16 queries meets 79 of them: at(query, key) = query - key + 63 from its first.
constexpr int BAND = 128, MET = 80, MET_STRIDE = 84;
template <typename T, int W> struct Band {
  T r[2][BAND * (W + Core<T>::PAD)];
  float constant[2][BAND];
  float met[SIDE * MET_STRIDE];  // of each query q . r + constant; later slopes of the same
};
template <typename T, int W> struct NoBand {};

template <typename T, int W>
__device__ __forceinline__ void fetch_band(const Call &c, Band<T, W> &s, int stage, int h, int query,
                                           int key) {
  constexpr int EACH = 16 / sizeof(T), CHUNKS = W / EACH, STRIDE = W + Core<T>::PAD;
  int base = c.zero + query - key - (SIDE - 1);
  const T *all = (const T *)c.distances;
  for (int i = threadIdx.x; i < BAND * CHUNKS; i += blockDim.x) {
    int row = i / CHUNKS, col = (i % CHUNKS) * EACH, p = base + row;
    bool there = p >= 0 && p < c.count && col < c.qk;
    fetch(s.r[stage] + row * STRIDE + col, there ? all + ((long long)p * c.h + h) * c.qk + col : all,
          there);
  }
  for (int i = threadIdx.x; i < BAND; i += blockDim.x) {
    int p = base + i;
    s.constant[stage][i] = p >= 0 && p < c.count ? c.constants[(long long)p * c.h + h] : 0.f;
  }
}

// Fills `met` of a warp's 16 queries.
template <typename T, int W>
__device__ __forceinline__ void meet(const Call &c, Band<T, W> &s, int stage, const T *queries, int warp,
                                     int lane) {
  constexpr int STRIDE = W + Core<T>::PAD;
  float x[MET / 8][4] = {};
  scores<T, W, MET / 8>(x, queries + warp * 16 * STRIDE, s.r[stage] + warp * 16 * STRIDE, lane);
#pragma unroll
  for (int n = 0; n < MET / 8; n++)
#pragma unroll
    for (int i = 0; i < 4; i++) {
      int row = lane / 4 + 8 * (i >> 1), col = n * 8 + (lane & 3) * 2 + (i & 1);
      float constant = s.constant[stage][warp * 16 + col];
      s.met[(warp * 16 + row) * MET_STRIDE + col] = (x[n][i] + constant) * (c.scale * LOG2E);
    }
}
__device__ __forceinline__ int met_at(int query, int key) {
  return query * MET_STRIDE + query % 16 - key + SIDE - 1;
}

// Lowers scores by a rule, and adds what pairs and distances give. `row` and `col` are places in
// the tile, KEYS says which of them are keys.
template <typename T, int W, int E, bool KEYS, typename Rs, typename Cs>
__device__ __forceinline__ void adjust(const Call &c, float p[SIDE / 8][4], const Rows &rows,
                                       const Cols &cols, const int mine[2], const Rs &row_side,
                                       const Cs &col_side, const float *met, int b, int h, int lane) {
  if (cols.rule != ALL) {
#pragma unroll
    for (int n = 0; n < SIDE / 8; n++)
#pragma unroll
      for (int i = 0; i < 4; i++) {
        int col = n * 8 + (lane & 3) * 2 + (i & 1);
        int from = rows.start + mine[i >> 1] * rows.step, to = cols.start + col * cols.step;
        p[n][i] -= lowered(cols, KEYS ? from - to : to - from);
      }
  }
  if constexpr (E == PAIRS) {
    const float *pairs = c.pairs + b * c.pairs_example + h * c.pairs_head;
#pragma unroll
    for (int n = 0; n < SIDE / 8; n++)
#pragma unroll
      for (int i = 0; i < 4; i++) {
        int col = col_side.position[n * 8 + (lane & 3) * 2 + (i & 1)];
        int row = row_side.position[mine[i >> 1]];
        if (row >= 0 && col >= 0)
          p[n][i] += LOG2E * pairs[(KEYS ? col : row) * c.pairs_row + (KEYS ? row : col)];
      }
  }
  if constexpr (E == DISTANCES) {
#pragma unroll
    for (int n = 0; n < SIDE / 8; n++)
#pragma unroll
      for (int i = 0; i < 4; i++) {
        int col = n * 8 + (lane & 3) * 2 + (i & 1), row = mine[i >> 1];
        p[n][i] += met[KEYS ? met_at(col, row) : met_at(row, col)];
      }
  }
}

template <typename T, int W, int E, int WARPS> struct Forward {
  static constexpr int STRIDE = W + Core<T>::PAD;
  T q[WARPS * 16 * STRIDE];
  T k[2][SIDE * STRIDE], v[2][SIDE * STRIDE];
  Side<WARPS * 16> rows;
  Side<SIDE> side[2];
  typename std::conditional<E == DISTANCES, Band<T, W>, NoBand<T, W>>::type band;
};

template <typename T, int W, int E, int WARPS> __device__ __forceinline__ void forward(const Call &c) {
  extern __shared__ __align__(16) unsigned char room[];
  using Room = Forward<T, W, E, WARPS>;
  Room &s = *reinterpret_cast<Room *>(room);
  int h = blockIdx.y, b = blockIdx.z, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  Rows rows;
  if (!find_rows(c, b, h, blockIdx.x, rows)) return;
  know_queries(c, s.rows, b, h, rows.start, rows.step, rows.count);
  fetch_rows<T, W, WARPS * 16>(c, s.q, c.q, b, h, rows.start, rows.step, rows.count, c.qk);
  auto prepare = [&](int tile, int stage) {
    Cols cols = c.cols[tile];
    know_keys(c, s.side[stage], b, h, cols.start, cols.step, cols.count);
    fetch_rows<T, W, SIDE>(c, s.k[stage], c.k, b, h, cols.start, cols.step, cols.count, c.qk);
    fetch_rows<T, W, SIDE>(c, s.v[stage], c.v, b, h, cols.start, cols.step, cols.count, c.w);
    if constexpr (E == DISTANCES) fetch_band(c, s.band, stage, h, rows.start, cols.start % c.n);
    fetched_all();
  };
  if (rows.first < rows.last) prepare(rows.first, 0);

  float o[W / 8][4] = {}, top[2] = {-INFINITY, -INFINITY}, sum[2] = {};
  int mine[2] = {warp * 16 + lane / 4, warp * 16 + lane / 4 + 8};
  uint2 lanes = c.drop.lanes ? c.drop.lanes[b] : make_uint2(0, 0);
  float scale = c.scale * LOG2E;
  for (int tile = rows.first; tile < rows.last; tile++) {
    int stage = (tile - rows.first) & 1;
    wait_fetched<0>();
    __syncthreads();
    if (tile + 1 < rows.last) prepare(tile + 1, stage ^ 1);
    if (warp * 16 >= rows.count) continue;
    float p[SIDE / 8][4] = {};
    if (c.qk > 0) scores<T, W, SIDE / 8>(p, s.q + warp * 16 * Room::STRIDE, s.k[stage], lane);
    const Side<SIDE> &side = s.side[stage];
#pragma unroll
    for (int n = 0; n < SIDE / 8; n++) {
      float2 term = *(const float2 *)(side.term + n * 8 + (lane & 3) * 2);
      p[n][0] = fmaf(p[n][0], scale, term.x);
      p[n][1] = fmaf(p[n][1], scale, term.y);
      p[n][2] = fmaf(p[n][2], scale, term.x);
      p[n][3] = fmaf(p[n][3], scale, term.y);
    }
    const float *met = nullptr;
    if constexpr (E == DISTANCES) {
      meet(c, s.band, stage, s.q, warp, lane);
      met = s.band.met;
      __syncwarp();
    }
    adjust<T, W, E, false>(c, p, rows, c.cols[tile], mine, s.rows, side, met, b, h, lane);
#pragma unroll
    for (int r = 0; r < 2; r++) {
      float most = top[r];
#pragma unroll
      for (int n = 0; n < SIDE / 8; n++) most = fmaxf(most, fmaxf(p[n][2 * r], p[n][2 * r + 1]));
      most = quad_max(most);
      // Without any key so far every exponent is -inf, whatever is subtracted.
      float from = most == -INFINITY ? 0.f : most, fade = power_of_two(top[r] - from), add = 0.f;
      top[r] = most;
#pragma unroll
      for (int n = 0; n < SIDE / 8; n++)
#pragma unroll
        for (int i = 2 * r; i < 2 * r + 2; i++) {
          p[n][i] = power_of_two(p[n][i] - from);
          add += p[n][i];
        }
      sum[r] = sum[r] * fade + add;
#pragma unroll
      for (int n = 0; n < W / 8; n++) {
        o[n][2 * r] *= fade;
        o[n][2 * r + 1] *= fade;
      }
    }
    if (c.drop.lanes) {
#pragma unroll
      for (int r = 0; r < 2; r++) {
        uint32_t base = ((uint32_t)h * c.n + (uint32_t)s.rows.position[mine[r]]) * (uint32_t)c.m;
#pragma unroll
        for (int n = 0; n < SIDE / 8; n++) {
          int2 key = *(const int2 *)(side.position + n * 8 + (lane & 3) * 2);
          if (hashed(lanes, base + key.x) < c.drop.threshold) p[n][2 * r] = 0.f;
          if (hashed(lanes, base + key.y) < c.drop.threshold) p[n][2 * r + 1] = 0.f;
        }
      }
    }
    values<T, W>(o, p, s.v[stage], lane);
  }

#pragma unroll
  for (int r = 0; r < 2; r++) {
    float total = quad_sum(sum[r]);
    int row = s.rows.position[mine[r]];
    // Nothing is seen. NaN goes on, so that divergence stays visible.
    if (row < 0 || total == 0.f) continue;
    long long stat = ((long long)b * c.h + h) * c.n + row;
    T *out = at<T>(c.o, b, h, row);
    float lse = top[r] + log2f(total), old = 0.f, now = 1.f / total, before = c.lse[stat];
    if (c.again && before != INFINITY) {
      float most = fmaxf(before, lse);
      float both = most + log2f(power_of_two(before - most) + power_of_two(lse - most));
      old = power_of_two(before - both);
      now *= power_of_two(lse - both);
      lse = both;
    }
    if (c.drop.lanes) now *= c.drop.scale;
#pragma unroll
    for (int n = 0; n < W / 8; n++)
#pragma unroll
      for (int i = 0; i < 2; i++) {
        int col = n * 8 + (lane & 3) * 2 + i;
        if (col >= c.w) continue;
        float x = o[n][2 * r + i] * now;
        if (old != 0.f) x += to_float(out[col]) * old;
        out[col] = from_float<T>(x);
      }
    // All four lanes have read the old one.
    __syncwarp(0xfu << (lane & ~3));
    if ((lane & 3) == 0) c.lse[stat] = lse;
  }
}

template <typename T, int W, int E, int WARPS> struct Backward {
  static constexpr int STRIDE = W + Core<T>::PAD;
  T row[2][WARPS * 16 * STRIDE];
  T col[2][2][SIDE * STRIDE];
  Side<WARPS * 16> rows;
  Side<SIDE> side[2];
  typename std::conditional<E == DISTANCES, Band<T, W>, NoBand<T, W>>::type band;
};

// From scores p and products g . v in ds to dropped weights p, but for dropout's scale, and ds =
// p (m (g . v) - o . g) with dropout's mask m. KEYS: rows are keys.
template <bool KEYS, typename Rs, typename Cs>
__device__ __forceinline__ void weigh(const Call &c, float p[SIDE / 8][4], float ds[SIDE / 8][4],
                                      const int mine[2], const Rs &rows, const Cs &side, uint2 lanes,
                                      int h, int lane) {
  if (c.drop.lanes) {
#pragma unroll
    for (int n = 0; n < SIDE / 8; n++)
#pragma unroll
      for (int i = 0; i < 4; i++) {
        int col = n * 8 + (lane & 3) * 2 + (i & 1), row = mine[i >> 1];
        float lse = KEYS ? side.lse[col] : rows.lse[row], dot = KEYS ? side.dot[col] : rows.dot[row];
        int query = KEYS ? side.position[col] : rows.position[row];
        int key = KEYS ? rows.position[row] : side.position[col];
        uint32_t index = ((uint32_t)h * c.n + (uint32_t)query) * (uint32_t)c.m + (uint32_t)key;
        bool stays = hashed(lanes, index) >= c.drop.threshold;
        float weight = power_of_two(p[n][i] - lse);
        ds[n][i] = weight * fmaf(stays ? ds[n][i] : 0.f, c.drop.scale, -dot);
        p[n][i] = stays ? weight : 0.f;
      }
    return;
  }
#pragma unroll
  for (int n = 0; n < SIDE / 8; n++)
#pragma unroll
    for (int i = 0; i < 4; i++) {
      int col = n * 8 + (lane & 3) * 2 + (i & 1), row = mine[i >> 1];
      float lse = KEYS ? side.lse[col] : rows.lse[row], dot = KEYS ? side.dot[col] : rows.dot[row];
      p[n][i] = power_of_two(p[n][i] - lse);
      ds[n][i] = p[n][i] * (ds[n][i] - dot);
    }
}

// KEYS: rows are keys, dk and dv; else rows are queries, dq. dq = s ds k, dk = s ds^T q, dv =
// (p m)^T g.
template <typename T, int W, int E, int WARPS, bool KEYS>
__device__ __forceinline__ void backward(const Call &c) {
  extern __shared__ __align__(16) unsigned char room[];
  using Room = Backward<T, W, E, WARPS>;
  Room &s = *reinterpret_cast<Room *>(room);
  int h = blockIdx.y, b = blockIdx.z, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  Rows rows;
  if (!find_rows(c, b, h, blockIdx.x, rows)) return;
  constexpr int COUNT = WARPS * 16;
  if constexpr (KEYS) know_keys(c, s.rows, b, h, rows.start, rows.step, rows.count);
  else know_queries(c, s.rows, b, h, rows.start, rows.step, rows.count);
  fetch_rows<T, W, COUNT>(c, s.row[0], KEYS ? c.k : c.q, b, h, rows.start, rows.step, rows.count, c.qk);
  fetch_rows<T, W, COUNT>(c, s.row[1], KEYS ? c.v : c.g, b, h, rows.start, rows.step, rows.count, c.w);
  auto prepare = [&](int tile, int stage) {
    Cols cols = c.cols[tile];
    if constexpr (KEYS) know_queries(c, s.side[stage], b, h, cols.start, cols.step, cols.count);
    else know_keys(c, s.side[stage], b, h, cols.start, cols.step, cols.count);
    T(*to)[SIDE * Room::STRIDE] = s.col[stage];
    fetch_rows<T, W, SIDE>(c, to[0], KEYS ? c.q : c.k, b, h, cols.start, cols.step, cols.count, c.qk);
    fetch_rows<T, W, SIDE>(c, to[1], KEYS ? c.g : c.v, b, h, cols.start, cols.step, cols.count, c.w);
    if constexpr (E == DISTANCES)
      // Keys beyond n are copies; a tile of rows may have both, of which this meets one kind.
      fetch_band(c, s.band, stage, h, KEYS ? cols.start : rows.start,
                 KEYS ? (rows.start + cols.from) % c.n - cols.from : cols.start % c.n);
    fetched_all();
  };
  if (rows.first < rows.last) prepare(rows.first, 0);

  float first[W / 8][4] = {}, second[KEYS ? W / 8 : 1][4] = {}, terms[2] = {};
  int mine[2] = {warp * 16 + lane / 4, warp * 16 + lane / 4 + 8};
  uint2 lanes = c.drop.lanes ? c.drop.lanes[b] : make_uint2(0, 0);
  float scale = c.scale * LOG2E;
  for (int tile = rows.first; tile < rows.last; tile++) {
    int stage = (tile - rows.first) & 1;
    wait_fetched<0>();
    __syncthreads();
    if (tile + 1 < rows.last) prepare(tile + 1, stage ^ 1);
    const float *met = nullptr;
    if constexpr (E == DISTANCES) {
      // Of the queries of this tile, whichever warp has them.
      meet(c, s.band, stage, KEYS ? s.col[stage][0] : s.row[0], warp, lane);
      met = s.band.met;
      if constexpr (KEYS) __syncthreads();
      else __syncwarp();
    }
    Cols cols = c.cols[tile];
    bool idle = warp * 16 >= rows.count || (KEYS && (warp * 16 >= cols.to || warp * 16 + 16 <= cols.from));
    if (!idle) {
      const Side<SIDE> &side = s.side[stage];
      float p[SIDE / 8][4] = {}, ds[SIDE / 8][4] = {};
      if (c.qk > 0)
        scores<T, W, SIDE / 8>(p, s.row[0] + warp * 16 * Room::STRIDE, s.col[stage][0], lane);
      scores<T, W, SIDE / 8>(ds, s.row[1] + warp * 16 * Room::STRIDE, s.col[stage][1], lane);
#pragma unroll
      for (int n = 0; n < SIDE / 8; n++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
          int col = n * 8 + (lane & 3) * 2 + (i & 1), row = mine[i >> 1];
          p[n][i] = fmaf(p[n][i], scale, KEYS ? s.rows.term[row] : side.term[col]);
        }
      if (KEYS && (cols.from > 0 || cols.to < COUNT)) {
#pragma unroll
        for (int n = 0; n < SIDE / 8; n++)
#pragma unroll
          for (int i = 0; i < 4; i++)
            if (mine[i >> 1] < cols.from || mine[i >> 1] >= cols.to) p[n][i] = -INFINITY;
      }
      adjust<T, W, E, KEYS>(c, p, rows, cols, mine, s.rows, side, met, b, h, lane);
      weigh<KEYS>(c, p, ds, mine, s.rows, side, lanes, h, lane);
      if (KEYS && c.dterms) {
#pragma unroll
        for (int n = 0; n < SIDE / 8; n++)
#pragma unroll
          for (int i = 0; i < 4; i++) terms[i >> 1] += ds[n][i];
      }
      if (c.qk > 0) values<T, W>(first, ds, s.col[stage][0], lane);
      if constexpr (KEYS) values<T, W>(second, p, s.col[stage][1], lane);
      if constexpr (E == DISTANCES && !KEYS) {
        // Slopes by distance: dq has them times r, too.
        float *mine_met = s.band.met + warp * 16 * MET_STRIDE;
        __syncwarp();
        for (int i = lane; i < 16 * MET_STRIDE; i += 32) mine_met[i] = 0.f;
        __syncwarp();
#pragma unroll
        for (int n = 0; n < SIDE / 8; n++)
#pragma unroll
          for (int i = 0; i < 4; i++)
            s.band.met[met_at(mine[i >> 1], n * 8 + (lane & 3) * 2 + (i & 1))] = ds[n][i];
        __syncwarp();
        const T *r = s.band.r[stage] + warp * 16 * Room::STRIDE;
#pragma unroll
        for (int k = 0; k < MET; k += Core<T>::K) {
          auto a = Core<T>::gather(
              lane, [&](int row, int col) { return mine_met[row * MET_STRIDE + k + col]; });
#pragma unroll
          for (int n = 0; n < W / 8; n += 2) {
            typename Core<T>::B x[2];
            Core<T>::load_b_kn(x, r + k * Room::STRIDE + n * 8, Room::STRIDE, lane);
            Core<T>::mma(first[n], a, x[0]);
            Core<T>::mma(first[n + 1], a, x[1]);
          }
        }
      }
    }
  }

#pragma unroll
  for (int r = 0; r < 2; r++) {
    int row = s.rows.position[mine[r]];
    float add = KEYS ? quad_sum(terms[r]) : 0.f;
    if (row < 0) continue;
    auto write = [&](const Field &field, const float x[W / 8][4], int width, float scale) {
      T *out = at<T>(field, b, h, row);
#pragma unroll
      for (int n = 0; n < W / 8; n++)
#pragma unroll
        for (int i = 0; i < 2; i++) {
          int col = n * 8 + (lane & 3) * 2 + i;
          if (col >= width) continue;
          float y = x[n][2 * r + i] * scale;
          if (c.again) y += to_float(out[col]);
          out[col] = from_float<T>(y);
        }
    };
    write(KEYS ? c.dk : c.dq, first, c.qk, c.scale);
    if constexpr (KEYS) {
      write(c.dv, second, c.w, c.drop.lanes ? c.drop.scale : 1.f);
      if (c.dterms && (lane & 3) == 0) {
        float *to = c.dterms + ((long long)b * c.m + row) * c.h + h;
        *to = c.again ? *to + add : add;
      }
    }
  }
}

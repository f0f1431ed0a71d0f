// Softmax attention of query blocks over lists of keys, forward and backward, without an n x m
// tensor (Dao 2023, FlashAttention-2, arXiv:2307.08691). Four warps take a tile of 64 rows
// through a list of tiles of columns; each owns 16 rows, so nothing is summed by two and the
// same input gives the same bytes. Forward and dq have queries as rows; dk and dv have keys.
#include "tensor_core.cuh"

constexpr int SIDE = 64;      // rows and columns of a tile
constexpr int THREADS = 128;  // four warps of 16 rows
constexpr float LAST_RESORT = 1e5f;
enum Rule { ALL, WITHIN, BEYOND, OTHERS_FIRST };

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
  const int *lists;         // the rows of list i are lists[i]..lists[i + 1]
  const uint32_t *order;    // [b, h, n] positions by place, or null
  const uint8_t *queries;   // [b, n] which are tokens
  const uint8_t *keys;      // [b, m]
  const float *terms;       // [b or 1, m, h] added to the scores of keys, or null
  float *dterms;            // [b, m, h]
  float *top, *sum;         // [b, h, n]: largest score, sum of exponentials above it
  const float *dot;         // [b, h, n]: o . g
  Drop drop;
  long long terms_example;  // 0 where examples share them
  int per_head, per_example;  // of lists
  int h, n, m, qk, w;         // heads, queries, keys, widths of q and v
  int again;                  // whether there is something from earlier parts
  float scale;
};

template <typename T> __device__ __forceinline__ T *at(const Field &f, int b, int h, int i) {
  return (T *)f.data + b * f.example + i * f.row + h * f.head;
}

// Rows of `width` at these positions, zeros up to W and for negative positions.
template <typename T, int W>
__device__ __forceinline__ void fetch_rows(T *s, const Field &f, int b, int h, const int *positions,
                                           int width) {
  constexpr int EACH = 16 / sizeof(T), CHUNKS = W / EACH, STRIDE = W + Core<T>::PAD;
  for (int i = threadIdx.x; i < SIDE * CHUNKS; i += THREADS) {
    int row = i / CHUNKS, col = (i % CHUNKS) * EACH, position = positions[row];
    bool there = position >= 0 && col < width;
    fetch(s + row * STRIDE + col, there ? at<T>(f, b, h, position) + col : (T *)f.data, there);
  }
}

// Positions of a tile's places; -1 beyond them and where a position is no token.
__device__ __forceinline__ int position(const Call &c, int b, int h, int start, int step, int count,
                                        int i, const uint8_t *valid, int total) {
  if (i >= count) return -1;
  int place = start + i * step;
  int p = c.order ? (int)c.order[((long long)b * c.h + h) * c.n + place] : place;
  return valid[(long long)b * total + p] ? p : -1;
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

// c[16 x 64] += rows[16 x W] cols[64 x W]^T
template <typename T, int W>
__device__ __forceinline__ void scores(float c[SIDE / 8][4], const T *rows, const T *cols, int lane) {
  constexpr int STRIDE = W + Core<T>::PAD;
#pragma unroll
  for (int k = 0; k < W; k += Core<T>::K) {
    auto a = Core<T>::load_a(rows + k, STRIDE, lane);
#pragma unroll
    for (int n = 0; n < SIDE / 8; n += 2) {
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

__device__ __forceinline__ bool find_rows(const Call &c, int b, int h, Rows &rows) {
  int list = c.per_example ? (c.per_head ? b * c.h + h : b) : (c.per_head ? h : 0);
  int i = c.lists[list] + blockIdx.x;
  if (i >= c.lists[list + 1]) return false;
  rows = c.rows[i];
  return true;
}

// Of a tile of columns, what each thread needs beside the operands.
struct Side {
  int position[SIDE];
  float term[SIDE];
  float top[SIDE], inverse[SIDE], dot[SIDE];
};

template <typename T, int W> struct Forward {
  static constexpr int STRIDE = W + Core<T>::PAD;
  T q[SIDE * STRIDE];
  T k[2][SIDE * STRIDE], v[2][SIDE * STRIDE];
  int rows[SIDE];
  Side side[2];
};

template <typename T, int W> __device__ __forceinline__ void forward(const Call &c) {
  extern __shared__ __align__(16) unsigned char room[];
  using Room = Forward<T, W>;
  Room &s = *reinterpret_cast<Room *>(room);
  int h = blockIdx.y, b = blockIdx.z, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  Rows rows;
  if (!find_rows(c, b, h, rows)) return;
  if (threadIdx.x < SIDE)
    s.rows[threadIdx.x] =
        position(c, b, h, rows.start, rows.step, rows.count, threadIdx.x, c.queries, c.n);
  auto prepare = [&](int tile, int stage) {
    Cols cols = c.cols[tile];
    Side &side = s.side[stage];
    if (threadIdx.x < SIDE) {
      int p = position(c, b, h, cols.start, cols.step, cols.count, threadIdx.x, c.keys, c.m);
      side.position[threadIdx.x] = p;
      float term = p < 0 ? -INFINITY : 0.f;
      if (p >= 0 && c.terms) term = c.terms[b * c.terms_example + (long long)p * c.h + h];
      side.term[threadIdx.x] = term;
    }
    __syncthreads();
    fetch_rows<T, W>(s.k[stage], c.k, b, h, side.position, c.qk);
    fetch_rows<T, W>(s.v[stage], c.v, b, h, side.position, c.w);
    fetched_all();
  };
  __syncthreads();
  fetch_rows<T, W>(s.q, c.q, b, h, s.rows, c.qk);
  if (rows.first < rows.last) prepare(rows.first, 0);

  float o[W / 8][4] = {}, top[2] = {-INFINITY, -INFINITY}, sum[2] = {};
  int mine[2] = {warp * 16 + lane / 4, warp * 16 + lane / 4 + 8};
  uint2 lanes = c.drop.lanes ? c.drop.lanes[b] : make_uint2(0, 0);
  for (int tile = rows.first; tile < rows.last; tile++) {
    int stage = (tile - rows.first) & 1;
    if (tile + 1 < rows.last) {
      prepare(tile + 1, stage ^ 1);
      wait_fetched<1>();
    } else {
      wait_fetched<0>();
    }
    __syncthreads();
    float p[SIDE / 8][4] = {};
    scores<T, W>(p, s.q + warp * 16 * Room::STRIDE, s.k[stage], lane);
    Cols cols = c.cols[tile];
    const Side &side = s.side[stage];
#pragma unroll
    for (int n = 0; n < SIDE / 8; n++)
#pragma unroll
      for (int i = 0; i < 4; i++) {
        int col = n * 8 + (lane & 3) * 2 + (i & 1);
        float x = p[n][i] * c.scale + side.term[col];
        if (cols.rule != ALL) {
          int query = rows.start + mine[i >> 1] * rows.step, key = cols.start + col * cols.step;
          x -= lowered(cols, key - query);
        }
        p[n][i] = x;
      }
#pragma unroll
    for (int r = 0; r < 2; r++) {
      float most = top[r];
#pragma unroll
      for (int n = 0; n < SIDE / 8; n++) most = fmaxf(most, fmaxf(p[n][2 * r], p[n][2 * r + 1]));
      most = quad_max(most);
      // Without any key so far every exponent is -inf, whatever is subtracted.
      float from = most == -INFINITY ? 0.f : most, fade = __expf(top[r] - from), add = 0.f;
      top[r] = most;
#pragma unroll
      for (int n = 0; n < SIDE / 8; n++)
#pragma unroll
        for (int i = 2 * r; i < 2 * r + 2; i++) {
          p[n][i] = __expf(p[n][i] - from);
          add += p[n][i];
        }
      sum[r] = sum[r] * fade + add;
#pragma unroll
      for (int n = 0; n < W / 8; n++) {
        o[n][2 * r] *= fade;
        o[n][2 * r + 1] *= fade;
      }
      if (c.drop.lanes) {
        uint32_t base = ((uint32_t)h * c.n + (uint32_t)s.rows[mine[r]]) * (uint32_t)c.m;
#pragma unroll
        for (int n = 0; n < SIDE / 8; n++)
#pragma unroll
          for (int i = 2 * r; i < 2 * r + 2; i++)
            p[n][i] *= kept(c.drop, lanes, base + side.position[n * 8 + (lane & 3) * 2 + (i & 1)]);
      }
    }
    values<T, W>(o, p, s.v[stage], lane);
    __syncthreads();
  }

#pragma unroll
  for (int r = 0; r < 2; r++) {
    float total = quad_sum(sum[r]);
    int row = s.rows[mine[r]];
    // Nothing is seen. NaN goes on, so that divergence stays visible.
    if (row < 0 || total == 0.f) continue;
    long long stat = ((long long)b * c.h + h) * c.n + row;
    T *out = at<T>(c.o, b, h, row);
    float old = 0.f, now = 1.f / total;
    if (c.again && c.sum[stat] != 0.f) {
      float most = fmaxf(c.top[stat], top[r]);
      float before = c.sum[stat] * __expf(c.top[stat] - most), add = total * __expf(top[r] - most);
      old = before / (before + add);
      now *= add / (before + add);
      top[r] = most;
      total = before + add;
    }
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
    // All four lanes have read the old ones.
    __syncwarp(0xfu << (lane & ~3));
    if ((lane & 3) == 0) {
      c.top[stat] = top[r];
      c.sum[stat] = total;
    }
  }
}

template <typename T, int W> struct Backward {
  static constexpr int STRIDE = W + Core<T>::PAD;
  T row[2][SIDE * STRIDE];
  T col[2][2][SIDE * STRIDE];
  int rows[SIDE];
  float term[SIDE], top[SIDE], inverse[SIDE], dot[SIDE];
  Side side[2];
};

// KEYS: rows are keys, dk and dv; else rows are queries, dq. With p the weights, m dropout's
// mask, ds = p (m (g . v) - o . g): dq = s ds k, dk = s ds^T q, dv = (p m)^T g.
template <typename T, int W, bool KEYS> __device__ __forceinline__ void backward(const Call &c) {
  extern __shared__ __align__(16) unsigned char room[];
  using Room = Backward<T, W>;
  Room &s = *reinterpret_cast<Room *>(room);
  int h = blockIdx.y, b = blockIdx.z, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  Rows rows;
  if (!find_rows(c, b, h, rows)) return;
  const uint8_t *row_valid = KEYS ? c.keys : c.queries, *col_valid = KEYS ? c.queries : c.keys;
  int row_total = KEYS ? c.m : c.n, col_total = KEYS ? c.n : c.m;
  auto weigh = [&](int p, float &top, float &inverse, float &dot) {
    long long stat = ((long long)b * c.h + h) * c.n + max(p, 0);
    float sum = p < 0 ? 0.f : c.sum[stat];
    inverse = sum == 0.f ? 0.f : 1.f / sum;
    top = c.top[stat];
    dot = p < 0 ? 0.f : c.dot[stat];
  };
  auto term = [&](int p) {
    if (p < 0) return -INFINITY;
    return c.terms ? c.terms[b * c.terms_example + (long long)p * c.h + h] : 0.f;
  };
  if (threadIdx.x < SIDE) {
    int i = threadIdx.x;
    int p = position(c, b, h, rows.start, rows.step, rows.count, i, row_valid, row_total);
    s.rows[i] = p;
    if (KEYS) s.term[i] = term(p);
    else weigh(p, s.top[i], s.inverse[i], s.dot[i]);
  }
  auto prepare = [&](int tile, int stage) {
    Cols cols = c.cols[tile];
    Side &side = s.side[stage];
    if (threadIdx.x < SIDE) {
      int i = threadIdx.x;
      int p = position(c, b, h, cols.start, cols.step, cols.count, i, col_valid, col_total);
      side.position[i] = p;
      if (KEYS) weigh(p, side.top[i], side.inverse[i], side.dot[i]);
      else side.term[i] = term(p);
    }
    __syncthreads();
    fetch_rows<T, W>(s.col[stage][0], KEYS ? c.q : c.k, b, h, side.position, c.qk);
    fetch_rows<T, W>(s.col[stage][1], KEYS ? c.g : c.v, b, h, side.position, c.w);
    fetched_all();
  };
  __syncthreads();
  fetch_rows<T, W>(s.row[0], KEYS ? c.k : c.q, b, h, s.rows, c.qk);
  fetch_rows<T, W>(s.row[1], KEYS ? c.v : c.g, b, h, s.rows, c.w);
  if (rows.first < rows.last) prepare(rows.first, 0);

  float first[W / 8][4] = {}, second[KEYS ? W / 8 : 1][4] = {}, terms[2] = {};
  int mine[2] = {warp * 16 + lane / 4, warp * 16 + lane / 4 + 8};
  uint2 lanes = c.drop.lanes ? c.drop.lanes[b] : make_uint2(0, 0);
  for (int tile = rows.first; tile < rows.last; tile++) {
    int stage = (tile - rows.first) & 1;
    if (tile + 1 < rows.last) {
      prepare(tile + 1, stage ^ 1);
      wait_fetched<1>();
    } else {
      wait_fetched<0>();
    }
    __syncthreads();
    Cols cols = c.cols[tile];
    const Side &side = s.side[stage];
    float p[SIDE / 8][4] = {}, ds[SIDE / 8][4] = {};
    scores<T, W>(p, s.row[0] + warp * 16 * Room::STRIDE, s.col[stage][0], lane);
    scores<T, W>(ds, s.row[1] + warp * 16 * Room::STRIDE, s.col[stage][1], lane);
#pragma unroll
    for (int n = 0; n < SIDE / 8; n++)
#pragma unroll
      for (int i = 0; i < 4; i++) {
        int col = n * 8 + (lane & 3) * 2 + (i & 1), row = mine[i >> 1];
        float x = p[n][i] * c.scale + (KEYS ? s.term[row] : side.term[col]);
        if (cols.rule != ALL) {
          int from = rows.start + row * rows.step, to = cols.start + col * cols.step;
          x -= lowered(cols, KEYS ? from - to : to - from);
        }
        if (KEYS && (row < cols.from || row >= cols.to)) x = -INFINITY;
        float top = KEYS ? side.top[col] : s.top[row];
        float inverse = KEYS ? side.inverse[col] : s.inverse[row];
        float dot = KEYS ? side.dot[col] : s.dot[row];
        float weight = inverse == 0.f ? 0.f : __expf(x - top) * inverse, keep = 1.f;
        if (c.drop.lanes) {
          int query = KEYS ? side.position[col] : s.rows[row];
          int key = KEYS ? s.rows[row] : side.position[col];
          keep = kept(c.drop, lanes, ((uint32_t)h * c.n + (uint32_t)query) * (uint32_t)c.m + key);
        }
        ds[n][i] = weight * (ds[n][i] * keep - dot);
        p[n][i] = weight * keep;
        if (KEYS) terms[i >> 1] += ds[n][i];
      }
    values<T, W>(first, ds, s.col[stage][0], lane);
    if constexpr (KEYS) values<T, W>(second, p, s.col[stage][1], lane);
    __syncthreads();
  }

#pragma unroll
  for (int r = 0; r < 2; r++) {
    int row = s.rows[mine[r]];
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
      write(c.dv, second, c.w, 1.f);
      if (c.dterms && (lane & 3) == 0) {
        float *to = c.dterms + ((long long)b * c.m + row) * c.h + h;
        *to = c.again ? *to + add : add;
      }
    }
  }
}

// o . g of each query and head, one warp each.
template <typename T> __device__ __forceinline__ void dots(const Call &c, float *dot, int b) {
  int i = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
  if (i >= c.n * c.h) return;
  int h = i % c.h, row = i / c.h;
  float sum = 0.f;
  const T *o = at<T>(c.o, b, h, row), *g = at<T>(c.g, b, h, row);
  for (int j = lane; j < c.w; j += 32) sum += to_float(o[j]) * to_float(g[j]);
  sum = warp_sum(sum);
  if (lane == 0) dot[((long long)b * c.h + h) * c.n + row] = sum;
}

#define KERNELS(T, NAME, W)                                                                      \
  extern "C" __global__ void __launch_bounds__(THREADS) attention_##NAME##_##W(const Call c) {   \
    forward<T, W>(c);                                                                            \
  }                                                                                              \
  extern "C" __global__ void __launch_bounds__(THREADS) attention_queries_##NAME##_##W(          \
      const Call c) {                                                                            \
    backward<T, W, false>(c);                                                                    \
  }                                                                                              \
  extern "C" __global__ void __launch_bounds__(THREADS) attention_keys_##NAME##_##W(             \
      const Call c) {                                                                            \
    backward<T, W, true>(c);                                                                     \
  }
#define WIDTHS(T, NAME)                                                                   \
  KERNELS(T, NAME, 16) KERNELS(T, NAME, 32) KERNELS(T, NAME, 64) KERNELS(T, NAME, 128)    \
  extern "C" __global__ void attention_dots_##NAME(const Call c, float *dot) {            \
    dots<T>(c, dot, blockIdx.y);                                                          \
  }
WIDTHS(float, f32)
WIDTHS(bf16, bf16)

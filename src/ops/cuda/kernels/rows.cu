// Rows of [rows, width] tensors: norm, bias, GELU, dropout, residual and embedding. Weights and
// their gradients are f32; sums over rows go through `partial` sums in a fixed order.
#include "common.cuh"

// Four neighbouring elements, or one where the width is no multiple of four.
template <typename T, int V> struct alignas(sizeof(T) * V) Pack { T x[V]; };
template <typename T, int V> __device__ __forceinline__ Pack<T, V> load(const T *p) {
  return *reinterpret_cast<const Pack<T, V> *>(p);
}
template <typename T, int V> __device__ __forceinline__ void store(T *p, const Pack<T, V> &x) {
  *reinterpret_cast<Pack<T, V> *>(p) = x;
}

// GELU in its tanh form, and its slope.
__device__ __forceinline__ void gelu(float x, float &value, float &slope) {
  const float c = 0.7978845608028654f, cubic = 0.044715f;
  float square = x * x, u = c * x * (1.f + cubic * square);
  // tanh(u) = 1 - 2 / (exp(2u) + 1), which needs no branch and cannot overflow to NaN.
  float tanh = 1.f - 2.f / (__expf(2.f * u) + 1.f);
  float half = 0.5f * (1.f + tanh);
  value = x * half;
  slope = half + 0.5f * x * (1.f - tanh * tanh) * c * (1.f + 3.f * cubic * square);
}

// y = norm(x) w + b; a warp to a row, C columns to a lane.
template <typename T, int C>
__device__ __forceinline__ void moments(const T *x, int d, int lane, float eps, float (&v)[C],
                                        float &mean, float &scale) {
  float sum = 0.f, square = 0.f;
#pragma unroll
  for (int i = 0; i < C; i++) {
    int col = i * 32 + lane;
    v[i] = col < d ? to_float(x[col]) : 0.f;
    sum += v[i];
  }
  mean = warp_sum(sum) / d;
#pragma unroll
  for (int i = 0; i < C; i++) {
    v[i] = i * 32 + lane < d ? v[i] - mean : 0.f;
    square += v[i] * v[i];
  }
  scale = rsqrtf(warp_sum(square) / d + eps);
}

template <typename T, int C>
__device__ __forceinline__ void norm(const T *x, const float *w, const float *b, T *y, int rows, int d,
                                     float eps) {
  int row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
  if (row >= rows) return;
  float v[C], mean, scale;
  moments<T, C>(x + (long long)row * d, d, lane, eps, v, mean, scale);
#pragma unroll
  for (int i = 0; i < C; i++) {
    int col = i * 32 + lane;
    if (col < d) y[(long long)row * d + col] = from_float<T>(v[i] * scale * w[col] + b[col]);
  }
}

// dx = scale (h - mean(h) - u mean(h u)) with u the normed row and h = g w, plus `add` where
// there is one. partial [blocks, 2 d]: sums of g u, and of g.
template <typename T, int C>
__device__ __forceinline__ void norm_backward(const T *x, const float *w, const T *g, const T *add,
                                              T *dx, float *partial, int rows, int d, float eps) {
  __shared__ float room[2][8][32];
  int warp = threadIdx.x / 32, lane = threadIdx.x % 32, warps = blockDim.x / 32;
  float dw[C] = {}, db[C] = {};
  for (int row = blockIdx.x * warps + warp; row < rows; row += gridDim.x * warps) {
    float u[C], h[C], mean, scale, sum = 0.f, product = 0.f;
    moments<T, C>(x + (long long)row * d, d, lane, eps, u, mean, scale);
#pragma unroll
    for (int i = 0; i < C; i++) {
      int col = i * 32 + lane;
      float slope = col < d ? to_float(g[(long long)row * d + col]) : 0.f;
      u[i] *= scale;
      dw[i] += slope * u[i];
      db[i] += slope;
      h[i] = col < d ? slope * w[col] : 0.f;
      sum += h[i];
      product += h[i] * u[i];
    }
    sum = warp_sum(sum) / d;
    product = warp_sum(product) / d;
#pragma unroll
    for (int i = 0; i < C; i++) {
      int col = i * 32 + lane;
      if (col >= d) continue;
      long long at = (long long)row * d + col;
      float y = scale * (h[i] - sum - u[i] * product);
      if (add) y += to_float(add[at]);
      dx[at] = from_float<T>(y);
    }
  }
#pragma unroll
  for (int i = 0; i < C; i++) {
    room[0][warp][lane] = dw[i];
    room[1][warp][lane] = db[i];
    __syncthreads();
    if (warp < 2) {
      float sum = 0.f;
      for (int k = 0; k < warps; k++) sum += room[warp][k][lane];
      int col = i * 32 + lane;
      if (col < d) partial[((long long)blockIdx.x * 2 + warp) * d + col] = sum;
    }
    __syncthreads();
  }
}

// Sums of the columns of [count, width]; 32 columns to a block of 32 x 8.
extern "C" __global__ void column_sums(const float *x, float *sums, int count, int width) {
  __shared__ float room[8][33];
  int col = blockIdx.x * 32 + threadIdx.x;
  float sum = 0.f;
  if (col < width)
    for (int i = threadIdx.y; i < count; i += 8) sum += x[(long long)i * width + col];
  room[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y == 0 && col < width) {
    for (int i = 1; i < 8; i++) sum += room[i][threadIdx.x];
    sums[col] = sum;
  }
}

// Rows of `width`, `each` of them to an example.
struct Table {
  long long rows;
  int width, each;
};

// out = x + drop(y + bias), x and bias where there are any.
template <typename T, int V>
__device__ __forceinline__ void finish(const Table &t, const T *y, const float *bias, const T *x, T *out,
                                       const Drop &drop) {
  long long at = ((long long)blockIdx.x * blockDim.x + threadIdx.x) * V;
  if (at >= t.rows * t.width) return;
  long long row = at / t.width;
  int col = at % t.width, example = row / t.each;
  uint32_t index = (uint32_t)(row % t.each) * (uint32_t)t.width + col;
  uint2 lanes = drop.lanes ? drop.lanes[example] : make_uint2(0, 0);
  Pack<T, V> a = load<T, V>(y + at), b = x ? load<T, V>(x + at) : a;
#pragma unroll
  for (int i = 0; i < V; i++) {
    float v = to_float(a.x[i]);
    if (bias) v += bias[col + i];
    if (drop.lanes) v *= kept(drop, lanes, index + i);
    if (x) v += to_float(b.x[i]);
    a.x[i] = from_float<T>(v);
  }
  store<T, V>(out + at, a);
}

// a = drop(gelu(h + bias)).
template <typename T, int V>
__device__ __forceinline__ void gelu_forward(const Table &t, const T *h, const float *bias, T *a,
                                             const Drop &drop) {
  long long at = ((long long)blockIdx.x * blockDim.x + threadIdx.x) * V;
  if (at >= t.rows * t.width) return;
  long long row = at / t.width;
  int col = at % t.width, example = row / t.each;
  uint32_t index = (uint32_t)(row % t.each) * (uint32_t)t.width + col;
  uint2 lanes = drop.lanes ? drop.lanes[example] : make_uint2(0, 0);
  Pack<T, V> x = load<T, V>(h + at);
#pragma unroll
  for (int i = 0; i < V; i++) {
    float value, slope;
    gelu(to_float(x.x[i]) + bias[col + i], value, slope);
    if (drop.lanes) value *= kept(drop, lanes, index + i);
    x.x[i] = from_float<T>(value);
  }
  store<T, V>(a + at, x);
}

// The rows of one thread of a block of columns: `threadIdx.y` of `blockIdx.y`.
#define EACH_ROW(t, row)                                                        \
  for (long long row = blockIdx.y * blockDim.y + threadIdx.y; row < (t).rows;  \
       row += (long long)gridDim.y * blockDim.y)

// a = drop(gelu(h + bias)) again, dh = drop(da) gelu'(h + bias), partial sums of dh.
template <typename T, int V>
__device__ __forceinline__ void gelu_backward(const Table &t, const T *h, const float *bias, const T *da,
                                              T *a, T *dh, float *partial, const Drop &drop) {
  int col = (blockIdx.x * blockDim.x + threadIdx.x) * V;
  if (col >= t.width) return;
  float sums[V] = {}, b[V];
#pragma unroll
  for (int i = 0; i < V; i++) b[i] = bias[col + i];
  EACH_ROW(t, row) {
    long long at = row * t.width + col;
    uint32_t index = (uint32_t)(row % t.each) * (uint32_t)t.width + col;
    uint2 lanes = drop.lanes ? drop.lanes[row / t.each] : make_uint2(0, 0);
    Pack<T, V> x = load<T, V>(h + at), g = load<T, V>(da + at);
#pragma unroll
    for (int i = 0; i < V; i++) {
      float value, slope, keep = drop.lanes ? kept(drop, lanes, index + i) : 1.f;
      gelu(to_float(x.x[i]) + b[i], value, slope);
      slope *= to_float(g.x[i]) * keep;
      sums[i] += slope;
      x.x[i] = from_float<T>(value * keep);
      g.x[i] = from_float<T>(slope);
    }
    store<T, V>(a + at, x);
    store<T, V>(dh + at, g);
  }
#pragma unroll
  for (int i = 0; i < V; i++)
    partial[(long long)(blockIdx.y * blockDim.y + threadIdx.y) * t.width + col + i] = sums[i];
}

// e = drop(g) where it is asked for, and partial sums of it.
template <typename T, int V>
__device__ __forceinline__ void drop_backward(const Table &t, const T *g, T *e, float *partial,
                                              const Drop &drop) {
  int col = (blockIdx.x * blockDim.x + threadIdx.x) * V;
  if (col >= t.width) return;
  float sums[V] = {};
  EACH_ROW(t, row) {
    long long at = row * t.width + col;
    uint32_t index = (uint32_t)(row % t.each) * (uint32_t)t.width + col;
    uint2 lanes = drop.lanes ? drop.lanes[row / t.each] : make_uint2(0, 0);
    Pack<T, V> x = load<T, V>(g + at);
#pragma unroll
    for (int i = 0; i < V; i++) {
      float v = to_float(x.x[i]);
      if (drop.lanes) v *= kept(drop, lanes, index + i);
      sums[i] += v;
      x.x[i] = from_float<T>(v);
    }
    if (e) store<T, V>(e + at, x);
  }
#pragma unroll
  for (int i = 0; i < V; i++)
    partial[(long long)(blockIdx.y * blockDim.y + threadIdx.y) * t.width + col + i] = sums[i];
}

// y[b, 0] = cls + positions[0] where there is a cls, y[b, c + i] = table[ids[b, i]] +
// positions[c + i].
extern "C" __global__ void embed(const uint32_t *ids, const float *table, const float *positions,
                                      const float *cls, float *y, int b, int n, int d) {
  int front = cls ? 1 : 0, total = n + front;
  long long at = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (at >= (long long)b * total * d) return;
  int col = at % d, place = at / d % total, example = at / d / total;
  float x = positions[(long long)place * d + col];
  x += place < front ? cls[col] : table[(long long)ids[(long long)example * n + place - front] * d + col];
  y[at] = x;
}

// Sums over examples: g [b, total, d] -> [total, d].
extern "C" __global__ void embed_places(const float *g, float *sums, int b, int total, int d) {
  long long at = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (at >= (long long)total * d) return;
  float sum = 0.f;
  for (int i = 0; i < b; i++) sum += g[(long long)i * total * d + at];
  sums[at] = sum;
}

// partial [chunks, v, d]: sums of the slopes of each id over a chunk of rows. A warp has 32
// columns of all ids in shared memory, and goes through its rows one after the other.
extern "C" __global__ void embed_ids(const float *g, const uint32_t *ids, float *partial, int b, int n,
                                          int front, int d, int v, int rows) {
  extern __shared__ float sums[];
  int lane = threadIdx.x, col = blockIdx.y * 32 + lane;
  for (int i = 0; i < v; i++) sums[i * 32 + lane] = 0.f;
  long long first = (long long)blockIdx.x * rows, last = min(first + rows, (long long)b * n);
  if (col < d) {
    for (long long row = first; row < last; row++) {
      long long at = (row / n * (n + front) + row % n + front) * d + col;
      sums[ids[row] * 32 + lane] += g[at];
    }
    for (int i = 0; i < v; i++) partial[((long long)blockIdx.x * v + i) * d + col] = sums[i * 32 + lane];
  }
}

#define NORMS(T, NAME, C)                                                                             \
  extern "C" __global__ void norm_##NAME##_##C(const T *x, const float *w, const float *b, T *y,      \
                                               int rows, int d, float eps) {                          \
    norm<T, C>(x, w, b, y, rows, d, eps);                                                             \
  }                                                                                                   \
  extern "C" __global__ void __launch_bounds__(256) norm_backward_##NAME##_##C(                       \
      const T *x, const float *w, const T *g, const T *add, T *dx, float *partial, int rows, int d,   \
      float eps) {                                                                                    \
    norm_backward<T, C>(x, w, g, add, dx, partial, rows, d, eps);                                     \
  }
#define VECTORS(T, NAME, V)                                                                           \
  extern "C" __global__ void finish_##NAME##_##V(Table t, const T *y, const float *bias, const T *x,  \
                                                 T *out, Drop drop) {                                 \
    finish<T, V>(t, y, bias, x, out, drop);                                                           \
  }                                                                                                   \
  extern "C" __global__ void gelu_##NAME##_##V(Table t, const T *h, const float *bias, T *a,          \
                                               Drop drop) {                                           \
    gelu_forward<T, V>(t, h, bias, a, drop);                                                          \
  }                                                                                                   \
  extern "C" __global__ void gelu_backward_##NAME##_##V(Table t, const T *h, const float *bias,       \
                                                        const T *da, T *a, T *dh, float *partial,     \
                                                        Drop drop) {                                  \
    gelu_backward<T, V>(t, h, bias, da, a, dh, partial, drop);                                        \
  }                                                                                                   \
  extern "C" __global__ void drop_backward_##NAME##_##V(Table t, const T *g, T *e, float *partial,    \
                                                        Drop drop) {                                  \
    drop_backward<T, V>(t, g, e, partial, drop);                                                      \
  }
#define TYPE(T, NAME)                                                                                 \
  NORMS(T, NAME, 1) NORMS(T, NAME, 2) NORMS(T, NAME, 4) NORMS(T, NAME, 8) NORMS(T, NAME, 16)          \
  NORMS(T, NAME, 32) VECTORS(T, NAME, 1) VECTORS(T, NAME, 4)
TYPE(float, f32)
TYPE(bf16, bf16)

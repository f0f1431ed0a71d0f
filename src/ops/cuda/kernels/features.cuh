// What the kernels of kernelised attention share: their arguments, tiles in shared memory,
// products of tiles, and feature maps with their slopes.
#pragma once
#include "tensor_core.cuh"

constexpr int SIDE = 64;      // positions of a tile, features of a slab
constexpr int THREADS = 128;
enum Kind { ELU_PLUS_ONE, POSITIVE, TRIGONOMETRIC, RELU };

// What is kept in f32 (projection and sums) is two bf16 operands, its large and small parts:
// eight bits of it would be too few where sums cancel.
template <typename T> constexpr int PARTS = sizeof(T) == 2 ? 2 : 1;
// Columns of a state in memory: of values, then z and three zeros.
template <int W> constexpr int COLUMNS = W + 4;

struct Call {
  const void *qkv;          // [b, n, 3 h w]
  void *o, *dqkv;           // [b, n, h w], [b, n, 3 h w]
  const void *g;            // [b, n, h w]
  const uint8_t *valid;     // [b, n] which are tokens
  const float *projection;  // [m, w]
  float *sums;              // [b h, chunks, features, COLUMNS] of a chunk of positions each
  float *state, *dstate;    // [b h, features, COLUMNS]: S and z, and their slopes
  float *key_tops;          // [b h, tiles]: a stabiliser for each tile of keys
  float *query_tops;        // [b h, n]: stabilisers
  float *inverse, *t;       // [b h, n]: 1 / D and t; 0 for padding
  int h, n, w, m;
  int slabs, halves;        // features are halves * slabs * SIDE, of which m in each half count
  int kind, tiles, chunk, each;  // tiles of positions: in all, of a chunk, of a block
  float root, floor, norm, eps;  // width^(-1/4), a feature's eps, m^(-1/2), eps of D
};

__device__ __forceinline__ float quad_sum(float x) {
  x += __shfl_xor_sync(~0u, x, 1);
  return x + __shfl_xor_sync(~0u, x, 2);
}
__device__ __forceinline__ float quad_max(float x) {
  x = fmaxf(x, __shfl_xor_sync(~0u, x, 1));
  return fmaxf(x, __shfl_xor_sync(~0u, x, 2));
}

// As exact as the type wants it.
template <typename T> __device__ __forceinline__ float exponential(float x);
template <> __device__ __forceinline__ float exponential<float>(float x) { return expf(x); }
template <> __device__ __forceinline__ float exponential<bf16>(float x) { return __expf(x); }

__device__ __forceinline__ void store2(float *to, float x, float y) { *(float2 *)to = {x, y}; }
__device__ __forceinline__ void store2(bf16 *to, float x, float y) {
  *(__nv_bfloat162 *)to = __floats2bfloat162_rn(x, y);
}

__device__ __forceinline__ bool token(const Call &c, int b, int i) {
  return i < c.n && c.valid[(long long)b * c.n + i];
}
// Whether a tile has tokens; also a barrier.
__device__ __forceinline__ bool tokens(const Call &c, int b, int tile) {
  return __syncthreads_or(threadIdx.x < SIDE && token(c, b, tile * SIDE + threadIdx.x));
}

// Where queries (0), keys (1) or values (2) of a head begin.
__device__ __forceinline__ long long place(const Call &c, int b, int h, int part) {
  return (long long)b * c.n * 3 * c.h * c.w + (part * c.h + h) * c.w;
}

// A tile of rows, zeros for padding and up to W.
template <typename T, int W>
__device__ __forceinline__ void fetch_rows(T *s, const Call &c, const T *from, int stride, int b,
                                           int tile) {
  constexpr int EACH = 16 / sizeof(T), CHUNKS = W / EACH, STRIDE = W + Core<T>::PAD;
  for (int i = threadIdx.x; i < SIDE * CHUNKS; i += THREADS) {
    int row = i / CHUNKS, col = (i % CHUNKS) * EACH, at = tile * SIDE + row;
    bool there = col < c.w && token(c, b, at);
    fetch(s + row * STRIDE + col, there ? from + (long long)at * stride + col : from, there);
  }
}

__device__ __forceinline__ void put4(float *s, int, float4 x) { *(float4 *)s = x; }
__device__ __forceinline__ void put4(bf16 *s, int apart, float4 x) {
  const float all[4] = {x.x, x.y, x.z, x.w};
  bf16 large[4], small[4];
#pragma unroll
  for (int i = 0; i < 4; i++) {
    large[i] = __float2bfloat16(all[i]);
    small[i] = __float2bfloat16(all[i] - __bfloat162float(large[i]));
  }
  *(uint2 *)s = *(uint2 *)large;
  *(uint2 *)(s + apart) = *(uint2 *)small;
}

// 64 rows of an f32 matrix in parts, zeros below `rows` and right of `width`.
template <typename T, int W>
__device__ __forceinline__ void read_parts(T *s, const float *from, int stride, int rows,
                                           int width) {
  constexpr int STRIDE = W + Core<T>::PAD;
  for (int i = threadIdx.x; i < SIDE * (W / 4); i += THREADS) {
    int row = i / (W / 4), col = (i % (W / 4)) * 4;
    float4 x = {0.f, 0.f, 0.f, 0.f};
    if (row < rows && col < width) x = *(const float4 *)(from + (long long)row * stride + col);
    put4(s + row * STRIDE + col, SIDE * STRIDE, x);
  }
}

// Reads slab `slab % slabs` of the projection.
template <typename T, int W>
__device__ __forceinline__ void read_projection(T *s, const Call &c, int slab) {
  int first = slab % c.slabs * SIDE;
  read_parts<T, W>(s, c.projection + (long long)first * c.w, c.w, c.m - first, c.w);
}

// Reads a slab of a head's state, and its z.
template <typename T, int W>
__device__ __forceinline__ void read_state(T *s, float *z, const float *state, int slab) {
  const float *from = state + (long long)slab * SIDE * COLUMNS<W>;
  read_parts<T, W>(s, from, COLUMNS<W>, SIDE, W);
  if (threadIdx.x < SIDE) z[threadIdx.x] = from[threadIdx.x * COLUMNS<W> + W];
}

// x[16 x N] += rows[16 x W] cols[N x W]^T, of so many parts.
template <typename T, int W, int N, int ROWS, int COLS>
__device__ __forceinline__ void scores(float x[N / 8][4], const T *rows, const T *cols, int lane) {
  constexpr int STRIDE = W + Core<T>::PAD, APART = SIDE * STRIDE;
#pragma unroll
  for (int k = 0; k < W; k += Core<T>::K) {
    typename Core<T>::A a = Core<T>::load_a(rows + k, STRIDE, lane), low;
    if (ROWS > 1) low = Core<T>::load_a(rows + APART + k, STRIDE, lane);
#pragma unroll
    for (int n = 0; n < N / 8; n += 2) {
      typename Core<T>::B b[2];
      if (COLS > 1) {
        Core<T>::load_b_nk(b, cols + APART + n * 8 * STRIDE + k, STRIDE, lane);
        Core<T>::mma(x[n], a, b[0]);
        Core<T>::mma(x[n + 1], a, b[1]);
      }
      Core<T>::load_b_nk(b, cols + n * 8 * STRIDE + k, STRIDE, lane);
      if (ROWS > 1) {
        Core<T>::mma(x[n], low, b[0]);
        Core<T>::mma(x[n + 1], low, b[1]);
      }
      Core<T>::mma(x[n], a, b[0]);
      Core<T>::mma(x[n + 1], a, b[1]);
    }
  }
}

// y[16 x W] += x[16 x N] cols[N x W], of so many parts.
template <typename T, int W, int N, int COLS>
__device__ __forceinline__ void values(float y[W / 8][4], const float x[N / 8][4], const T *cols,
                                       int lane) {
  constexpr int STRIDE = W + Core<T>::PAD, APART = SIDE * STRIDE;
#pragma unroll
  for (int k = 0; k < N; k += Core<T>::K) {
    auto a = Core<T>::from_c(x + k / 8);
#pragma unroll
    for (int n = 0; n < W / 8; n += 2) {
#pragma unroll
      for (int part = COLS - 1; part >= 0; part--) {
        typename Core<T>::B b[2];
        Core<T>::load_b_kn(b, cols + part * APART + k * STRIDE + n * 8, STRIDE, lane);
        Core<T>::mma(y[n], a, b[0]);
        Core<T>::mma(y[n + 1], a, b[1]);
      }
    }
  }
}

// The number that a position brings to its features: what a positive one's exponent is lowered
// by, what a trigonometric one is multiplied with. `top` is the keys', or the query's own.
template <typename T, int W>
__device__ __forceinline__ void shifts(const Call &c, float *shift, const T *x, bool keys,
                                       float top, const float *tops) {
  constexpr int EACH = 16 / sizeof(T), STRIDE = W + Core<T>::PAD;
  int row = threadIdx.x / 2;
  const T *from = x + row * STRIDE + (threadIdx.x & 1) * (W / 2);
  float sum = 0.f;
#pragma unroll
  for (int j = 0; j < W / 2; j += EACH) {
    uint4 words = *(const uint4 *)(from + j);
    const T *all = (const T *)&words;
#pragma unroll
    for (int i = 0; i < EACH; i++) sum += to_float(all[i]) * to_float(all[i]);
  }
  sum += __shfl_xor_sync(~0u, sum, 1);
  if (threadIdx.x & 1) return;
  float half = 0.5f * c.root * c.root * sum;
  if (c.kind == POSITIVE) shift[row] = half + (tops ? tops[row] : top);
  else shift[row] = keys ? expf(half - top) * c.norm : c.norm;
}

// Whether features need `shifts`.
__device__ __forceinline__ bool shifted(const Call &c) {
  return c.kind == POSITIVE || c.kind == TRIGONOMETRIC;
}

// Features of projections, in place. `real` and `shift` are of element i of column tile n.
template <typename T, int N, typename Real, typename Shift>
__device__ __forceinline__ void features(float x[N / 8][4], const Call &c, bool sine, Real real,
                                         Shift shift) {
  auto all = [&](auto of) {
#pragma unroll
    for (int n = 0; n < N / 8; n++)
#pragma unroll
      for (int i = 0; i < 4; i++) x[n][i] = real(n, i) ? of(x[n][i], n, i) : 0.f;
  };
  float turn = c.root * 0.318309886f;
  if (c.kind == POSITIVE)
    all([&](float x, int n, int i) {
      return (exponential<T>(x * c.root - shift(n, i)) + c.floor) * c.norm;
    });
  else if (c.kind == RELU) all([&](float x, int, int) { return fmaxf(x * c.root, 0.f) + c.floor; });
  else if (sine) all([&](float x, int n, int i) { return sinpif(x * turn) * shift(n, i); });
  else all([&](float x, int n, int i) { return cospif(x * turn) * shift(n, i); });
}

// The same, and the slopes of what was projected in place of those of the features; what the
// slope of |x'|^2 / 2 is goes to `half` of each row.
template <typename T, int N, bool KEYS, typename Real>
__device__ __forceinline__ void features_back(float x[N / 8][4], float g[N / 8][4], float half[2],
                                              const Call &c, bool sine, Real real,
                                              const float shift[2]) {
  auto all = [&](auto of) {
#pragma unroll
    for (int n = 0; n < N / 8; n++)
#pragma unroll
      for (int i = 0; i < 4; i++)
        if (real(n, i)) of(x[n][i], g[n][i], half[i >> 1], shift[i >> 1]);
        else x[n][i] = g[n][i] = 0.f;
  };
  float turn = c.root * 0.318309886f;
  if (c.kind == POSITIVE)
    all([&](float &x, float &g, float &half, float shift) {
      float e = exponential<T>(x * c.root - shift) * c.norm;
      g *= e;
      half -= g;
      x = e + c.floor * c.norm;
    });
  else if (c.kind == RELU)
    all([&](float &x, float &g, float &, float) {
      g = x > 0.f ? g : 0.f;
      x = fmaxf(x * c.root, 0.f) + c.floor;
    });
  else
    all([&](float &x, float &g, float &half, float shift) {
      float s, d;
      sincospif(x * turn, &s, &d);
      x = (sine ? s : d) * shift;
      if (KEYS) half += g * x;
      g *= (sine ? d : -s) * shift;
    });
}

__device__ __forceinline__ float elu(float x, float exponential) {
  return x > 0.f ? x + 1.f : exponential;
}

// The keys' stabiliser: the largest of the tiles'. Ends with a barrier.
__device__ __forceinline__ float key_top(const Call &c, int bh, float *room) {
  float top = -INFINITY;
  for (int i = threadIdx.x; i < c.tiles; i += THREADS)
    top = fmaxf(top, c.key_tops[(long long)bh * c.tiles + i]);
  top = warp_max(top);
  if (threadIdx.x % 32 == 0) room[threadIdx.x / 32] = top;
  __syncthreads();
  top = fmaxf(fmaxf(room[0], room[1]), fmaxf(room[2], room[3]));
  __syncthreads();
  return top;
}

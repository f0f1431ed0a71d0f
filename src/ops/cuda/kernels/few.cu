// Softmax attention of few queries with wide heads, forward and backward. The keys of a head are
// split into chunks, a block to each: it reads its keys and its values once, and what it sums for
// queries is a partial sum that few_merge adds up in the order of chunks (as flash-decoding does:
// Dao et al. 2023). Scores are kept, [b, h, n, m], which is little where n is; they are in units
// of log 2. Up to Q queries from `first` on are taken by a launch.
#include "common.cuh"

constexpr int THREADS = 256, WARPS = THREADS / 32;
constexpr int LONGEST = 128;  // keys of a chunk, a multiple of 64
constexpr float LOG2E = 1.4426950408889634f;

// Widths are multiples of four; `queries` and `keys` say which are tokens.
struct Few {
  const void *q, *k, *v;           // [b, n, h a], [b, m, h a], [b, m, h w]
  const void *o, *g;               // [b, n, h w]
  void *dk, *dv;                   // as k and v
  const uint8_t *queries, *keys;   // [b, n], [b, m]
  float *s;                        // [b, h, n, m], not written for keys that are none
  float *stats;                    // [b, h, n, chunks, 2]: the top score, and the sum beside it
  const float *lse;                // [b, h, n]; +inf for rows that are zero
  float *partial;                  // [b, h, chunks, n, w], backward with a for w
  Drop drop;
  int h, n, m, a, w, chunk, first;
  int again;                       // whether dk and dv have something of earlier queries
  float scale;
};

__device__ __forceinline__ float4 load4(const float *p) { return *reinterpret_cast<const float4 *>(p); }
__device__ __forceinline__ float4 load4(const bf16 *p) {
  uint2 x = *reinterpret_cast<const uint2 *>(p);
  float2 a = __bfloat1622float2(*reinterpret_cast<__nv_bfloat162 *>(&x.x));
  float2 b = __bfloat1622float2(*reinterpret_cast<__nv_bfloat162 *>(&x.y));
  return make_float4(a.x, a.y, b.x, b.y);
}
__device__ __forceinline__ void store4(float *p, float4 x) { *reinterpret_cast<float4 *>(p) = x; }
__device__ __forceinline__ void store4(bf16 *p, float4 x) {
  __nv_bfloat162 a = __floats2bfloat162_rn(x.x, x.y), b = __floats2bfloat162_rn(x.z, x.w);
  uint2 y;
  y.x = *reinterpret_cast<uint32_t *>(&a);
  y.y = *reinterpret_cast<uint32_t *>(&b);
  *reinterpret_cast<uint2 *>(p) = y;
}
__device__ __forceinline__ float4 none() { return make_float4(0.f, 0.f, 0.f, 0.f); }
__device__ __forceinline__ void add(float4 &sum, float4 x) {
  sum.x += x.x; sum.y += x.y; sum.z += x.z; sum.w += x.w;
}
__device__ __forceinline__ void add(float4 &sum, float w, float4 x) {
  sum.x += w * x.x; sum.y += w * x.y; sum.z += w * x.z; sum.w += w * x.w;
}

// Sums of 32 values over the lanes of a warp: lane i gets that of value i.
__device__ __forceinline__ float sum_each(float (&x)[32], int lane) {
#pragma unroll
  for (int step = 16; step > 0; step >>= 1) {
    bool upper = lane & step;
#pragma unroll
    for (int i = 0; i < step; i++) {
      float keep = upper ? x[i + step] : x[i], send = upper ? x[i] : x[i + step];
      x[i] = keep + __shfl_xor_sync(~0u, send, step);
    }
  }
  return x[0];
}

// A row of shared memory for each key, of a number for each query; not a power of two apart.
template <int Q> constexpr int STRIDE = Q + 4;

// y[key][query] = scale (query . row of the key). A warp takes several keys at once, so that what
// it reads of the queries serves them all.
template <typename T, int Q>
__device__ __forceinline__ void products(const T *rows, long long step, int width, const float *queries,
                                         const uint8_t *there, int chunk, float scale, float *y) {
  constexpr int KEYS = Q == 16 ? 4 : 32 / Q;
  int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  for (int first = warp * KEYS; first < chunk; first += WARPS * KEYS) {
    float sums[Q * KEYS];
#pragma unroll
    for (int i = 0; i < Q * KEYS; i++) sums[i] = 0.f;
    for (int col = lane * 4; col < width; col += 128) {
      float4 x[KEYS];
#pragma unroll
      for (int j = 0; j < KEYS; j++)
        x[j] = there[first + j] ? load4(rows + (first + j) * step + col) : none();
#pragma unroll
      for (int i = 0; i < Q; i++) {
        float4 q = load4(queries + i * width + col);
#pragma unroll
        for (int j = 0; j < KEYS; j++)
          sums[i * KEYS + j] += q.x * x[j].x + q.y * x[j].y + q.z * x[j].z + q.w * x[j].w;
      }
    }
    __syncwarp();
#pragma unroll
    for (int part = 0; part < Q * KEYS; part += 32) {
      float each[32];
#pragma unroll
      for (int i = 0; i < 32; i++) each[i] = sums[part + i];
      int i = part + lane;
      y[(first + i % KEYS) * STRIDE<Q> + i / KEYS] = sum_each(each, lane) * scale;
    }
  }
}

// to[query] = sum over keys of weights[key][query] (row of the key), for `count` queries. A thread
// has four columns, of every so many keys where threads are left.
template <typename T, int Q>
__device__ __forceinline__ void gather(const T *rows, long long step, int width, const float *weights,
                                       const uint8_t *there, int chunk, int count, float *to) {
  __shared__ float4 room[THREADS];
  int across = width / 4, groups = min(THREADS / across, chunk);
  int group = threadIdx.x / across, col = threadIdx.x % across * 4;
  float4 sums[Q];
#pragma unroll
  for (int i = 0; i < Q; i++) sums[i] = none();
  if (group < groups) {
#pragma unroll 4
    for (int j = group; j < chunk; j += groups) {
      float4 x = there[j] ? load4(rows + j * step + col) : none();
#pragma unroll
      for (int i = 0; i < Q; i += 4) {
        float4 w = load4(weights + j * STRIDE<Q> + i);
        add(sums[i], w.x, x);
        add(sums[i + 1], w.y, x);
        add(sums[i + 2], w.z, x);
        add(sums[i + 3], w.w, x);
      }
    }
  }
#pragma unroll
  for (int i = 0; i < Q; i++) {
    if (groups > 1 && i < count) {
      room[threadIdx.x] = sums[i];
      __syncthreads();
      if (group == 0)
        for (int k = 1; k < groups; k++) add(sums[i], room[k * across + threadIdx.x]);
      __syncthreads();
    }
    if (group == 0 && i < count) store4(to + (long long)i * width + col, sums[i]);
  }
}

// to[key] = sum over queries of weights[key][query] query, where `query(i, col)` are four columns
// of it; on top of what is there if it is `again`.
template <typename T, int Q, typename Query>
__device__ __forceinline__ void scatter(T *to, long long step, int width, const float *weights,
                                        int count, bool again, Query query) {
  int across = width / 4, groups = THREADS / across;
  int group = threadIdx.x / across, col = threadIdx.x % across * 4;
  if (group >= groups) return;
  float4 x[Q];
#pragma unroll
  for (int i = 0; i < Q; i++) x[i] = query(i, col);
  for (int j = group; j < count; j += groups) {
    float4 sum = again ? load4(to + j * step + col) : none();
#pragma unroll
    for (int i = 0; i < Q; i += 4) {
      float4 w = load4(weights + j * STRIDE<Q> + i);
      add(sum, w.x, x[i]);
      add(sum, w.y, x[i + 1]);
      add(sum, w.z, x[i + 2]);
      add(sum, w.w, x[i + 3]);
    }
    store4(to + j * step + col, sum);
  }
}

// Whether a query of this launch is there and is a token.
__device__ __forceinline__ bool is_query(const Few &c, int b, int i) {
  return c.first + i < c.n && c.queries[(long long)b * c.n + c.first + i];
}
template <typename T>
__device__ __forceinline__ const T *query_row(const Few &c, const void *x, int b, int h, int i, int width) {
  return (const T *)x + (((long long)b * c.n + c.first + i) * c.h + h) * width;
}

// Queries, or slopes of them, to shared memory [Q, width]; zeros where there are none.
template <typename T, int Q>
__device__ __forceinline__ void fetch(const Few &c, const void *x, int b, int h, int width, float *to) {
  for (int at = threadIdx.x * 4; at < Q * width; at += THREADS * 4) {
    int i = at / width;
    bool real = is_query(c, b, i);
    store4(to + at, real ? load4(query_row<T>(c, x, b, h, i, width) + at % width) : none());
  }
}

// Which keys of a chunk are tokens.
__device__ __forceinline__ void know(const Few &c, int b, int start, uint8_t *there) {
  for (int j = threadIdx.x; j < c.chunk; j += THREADS)
    there[j] = start + j < c.m ? c.keys[(long long)b * c.m + start + j] : 0;
}

template <typename T, int Q> __device__ __forceinline__ void forward(const Few &c) {
  extern __shared__ __align__(16) float shared[];
  __shared__ uint8_t there[LONGEST];
  float *queries = shared, *p = shared + Q * c.a;
  int h = blockIdx.y, b = blockIdx.z, start = blockIdx.x * c.chunk;
  int warp = threadIdx.x / 32, lane = threadIdx.x % 32, count = min(Q, c.n - c.first);
  long long row = ((long long)b * c.m + start) * c.h + h, head = (long long)b * c.h + h;
  know(c, b, start, there);
  fetch<T, Q>(c, c.q, b, h, c.a, queries);
  __syncthreads();
  products<T, Q>((const T *)c.k + row * c.a, (long long)c.h * c.a, c.a, queries, there, c.chunk,
                 c.scale * LOG2E, p);
  __syncthreads();

  uint2 lanes = c.drop.lanes ? c.drop.lanes[b] : make_uint2(0, 0);
  for (int i = warp; i < count; i += WARPS) {
    long long at = (head * c.n + c.first + i) * c.m + start;
    uint32_t index = ((uint32_t)h * c.n + c.first + i) * (uint32_t)c.m + start;
    float top = -INFINITY, sum = 0.f;
    for (int j = lane; j < c.chunk; j += 32)
      if (there[j]) top = fmaxf(top, p[j * STRIDE<Q> + i]);
    top = warp_max(top);
    for (int j = lane; j < c.chunk; j += 32) {
      float &x = p[j * STRIDE<Q> + i], e = 0.f;
      if (there[j]) {
        c.s[at + j] = x;
        e = exp2f(x - top);
        sum += e;
        if (c.drop.lanes) e *= kept(c.drop, lanes, index + j);
      }
      x = e;
    }
    sum = warp_sum(sum);
    if (lane == 0) {
      float *stats = c.stats + ((head * c.n + c.first + i) * gridDim.x + blockIdx.x) * 2;
      stats[0] = top;
      stats[1] = sum;
    }
  }
  __syncthreads();
  float *to = c.partial + ((head * gridDim.x + blockIdx.x) * c.n + c.first) * c.w;
  gather<T, Q>((const T *)c.v + row * c.w, (long long)c.h * c.w, c.w, p, there, c.chunk, count, to);
}

// dv_j = sum_i p_ij keep_ij g_i and dk_j = sum_i ds_ij q_i of the block's keys, and of dq_i its
// part of sum_j ds_ij k_j, where ds_ij = scale p_ij (keep_ij g_i . v_j - g_i . o_i).
template <typename T, int Q> __device__ __forceinline__ void backward(const Few &c) {
  extern __shared__ __align__(16) float shared[];
  __shared__ uint8_t there[LONGEST];
  __shared__ float dot[Q];
  float *g = shared, *p = shared + Q * c.w, *ds = p + c.chunk * STRIDE<Q>;
  int h = blockIdx.y, b = blockIdx.z, start = blockIdx.x * c.chunk;
  int warp = threadIdx.x / 32, lane = threadIdx.x % 32, count = min(Q, c.n - c.first);
  long long row = ((long long)b * c.m + start) * c.h + h, head = (long long)b * c.h + h;
  know(c, b, start, there);
  fetch<T, Q>(c, c.g, b, h, c.w, g);
  __syncthreads();
  for (int i = warp; i < Q; i += WARPS) {
    float sum = 0.f;
    if (is_query(c, b, i)) {
      const T *o = query_row<T>(c, c.o, b, h, i, c.w);
      for (int col = lane; col < c.w; col += 32) sum += g[i * c.w + col] * to_float(o[col]);
    }
    sum = warp_sum(sum);
    if (lane == 0) dot[i] = sum;
  }
  products<T, Q>((const T *)c.v + row * c.w, (long long)c.h * c.w, c.w, g, there, c.chunk, 1.f, ds);
  __syncthreads();

  uint2 lanes = c.drop.lanes ? c.drop.lanes[b] : make_uint2(0, 0);
  for (int i = warp; i < Q; i += WARPS) {
    long long stat = head * c.n + c.first + i, at = stat * c.m + start;
    uint32_t index = ((uint32_t)h * c.n + c.first + i) * (uint32_t)c.m + start;
    float lse = i < count ? c.lse[stat] : INFINITY;
    for (int j = lane; j < c.chunk; j += 32) {
      int place = j * STRIDE<Q> + i;
      float e = i < count && there[j] ? exp2f(c.s[at + j] - lse) : 0.f;
      float keep = c.drop.lanes ? kept(c.drop, lanes, index + j) : 1.f;
      p[place] = e * keep;
      ds[place] = e * (keep * ds[place] - dot[i]) * c.scale;
    }
  }
  __syncthreads();
  int keys = min(c.chunk, c.m - start);
  scatter<T, Q>((T *)c.dv + row * c.w, (long long)c.h * c.w, c.w, p, keys, c.again,
                [&](int i, int col) { return load4(g + i * c.w + col); });
  scatter<T, Q>((T *)c.dk + row * c.a, (long long)c.h * c.a, c.a, ds, keys, c.again,
                [&](int i, int col) {
                  bool real = is_query(c, b, i);
                  return real ? load4(query_row<T>(c, c.q, b, h, i, c.a) + col) : none();
                });
  float *to = c.partial + ((head * gridDim.x + blockIdx.x) * c.n + c.first) * c.a;
  gather<T, Q>((const T *)c.k + row * c.a, (long long)c.h * c.a, c.a, ds, there, c.chunk, count, to);
}

// to [b, n, h width] from partial [b, h, chunks, n, width]: with `stats` the weighted mean and
// its lse, without them the sum. A block of 32 x 8 has 128 columns of a row.
template <typename T>
__device__ __forceinline__ void merge(const float *partial, const float *stats, const uint8_t *queries,
                                      float *lse, T *to, int h, int n, int chunks, int width) {
  extern __shared__ __align__(16) float shared[];
  __shared__ float4 room[WARPS][32];
  float *weights = shared;
  int head = blockIdx.y / n, i = blockIdx.y % n, b = blockIdx.z, lane = threadIdx.x, warp = threadIdx.y;
  long long stat = ((long long)b * h + head) * n + i;
  if (warp == 0) {
    float top = -INFINITY, sum = 0.f, inverse = 1.f;
    if (stats) {
      const float *mine = stats + stat * chunks * 2;
      for (int k = lane; k < chunks; k += 32) top = fmaxf(top, mine[2 * k]);
      top = warp_max(top);
      bool real = queries[(long long)b * n + i] && top > -INFINITY;
      for (int k = lane; k < chunks; k += 32) {
        weights[k] = real ? exp2f(mine[2 * k] - top) : 0.f;
        sum += weights[k] * mine[2 * k + 1];
      }
      sum = warp_sum(sum);
      inverse = real ? 1.f / sum : 0.f;
      if (lane == 0 && blockIdx.x == 0) lse[stat] = real ? top + log2f(sum) : INFINITY;
    }
    for (int k = lane; k < chunks; k += 32) weights[k] = stats ? weights[k] * inverse : 1.f;
  }
  __syncthreads();
  int col = (blockIdx.x * 32 + lane) * 4;
  float4 sum = none();
  if (col < width) {
    const float *from = partial + (((long long)b * h + head) * chunks * n + i) * width + col;
#pragma unroll 4
    for (int k = warp; k < chunks; k += WARPS)
      add(sum, weights[k], load4(from + (long long)k * n * width));
  }
  room[warp][lane] = sum;
  __syncthreads();
  if (warp == 0 && col < width) {
    for (int k = 1; k < WARPS; k++) add(sum, room[k][lane]);
    store4(to + (((long long)b * n + i) * h + head) * width + col, sum);
  }
}

#define QUERIES(T, NAME, Q)                                                                        \
  extern "C" __global__ void __launch_bounds__(THREADS, 2) few_forward_##NAME##_##Q(const Few c) { \
    forward<T, Q>(c);                                                                              \
  }                                                                                                \
  extern "C" __global__ void __launch_bounds__(THREADS, 2) few_backward_##NAME##_##Q(const Few c) {\
    backward<T, Q>(c);                                                                             \
  }
#define TYPE(T, NAME)                                                                              \
  QUERIES(T, NAME, 4) QUERIES(T, NAME, 8) QUERIES(T, NAME, 16)                                     \
  extern "C" __global__ void few_merge_##NAME(const float *partial, const float *stats,            \
                                              const uint8_t *queries, float *lse, T *to, int h,    \
                                              int n, int chunks, int width) {                      \
    merge<T>(partial, stats, queries, lse, to, h, n, chunks, width);                               \
  }
TYPE(float, f32)
TYPE(bf16, bf16)

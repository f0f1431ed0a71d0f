// Kernelised attention (Katharopoulos et al. 2020, equation 5), forward and backward. With
// features f: state S = sum_j f(k_j) v_j^T, z = sum_j f(k_j), and o_i = f(q_i)^T S / D_i with
// D_i = f(q_i) . z + eps. Backward, with e_i = g_i / D_i and t_i = e_i . o_i:
//   df(q_i) = S e_i - z t_i,  dS = sum_i f(q_i) e_i^T,  dz = -sum_i f(q_i) t_i,
//   df(k_j) = dS v_j + dz,    dv_j = dS^T f(k_j),
// and through the features' slope. Features are made 64 at a time in registers and never stored.
// Sums over positions are made by chunks and added in order: the same input gives the same bytes.
//
// Four warps of 16 rows each: sums over positions have features as rows and positions as
// columns; what is per position has positions as rows and features as columns. Either way the
// features are where the next product wants its left operand.
#include "features.cuh"

// Stabilisers of tiles of keys.
template <typename T, int W> __device__ __forceinline__ void tops(const Call &c) {
  constexpr int STRIDE = W + Core<T>::PAD, TILE = SIDE * STRIDE;
  extern __shared__ __align__(16) unsigned char room[];
  T *k = (T *)room, *projection = k + TILE;
  float *shift = (float *)(projection + PARTS<T> * TILE), *warps = shift + SIDE;
  int bh = blockIdx.y, b = bh / c.h, h = bh % c.h, tile = blockIdx.x;
  int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  float top = -INFINITY;
  if (tokens(c, b, tile)) {
    fetch_rows<T, W>(k, c, (const T *)c.qkv + place(c, b, h, 1), 3 * c.h * c.w, b, tile);
    fetched_all();
    wait_fetched<0>();
    __syncthreads();
    if (c.kind == TRIGONOMETRIC) {
      // As a positive query's: |x'|^2 / 2 alone.
      Call plain = c;
      plain.kind = POSITIVE;
      shifts<T, W>(plain, shift, k, true, 0.f, nullptr);
      __syncthreads();
      if (threadIdx.x < SIDE && token(c, b, tile * SIDE + threadIdx.x)) top = shift[threadIdx.x];
    } else {
      for (int slab = 0; slab < c.slabs; slab++) {
        __syncthreads();
        read_projection<T, W>(projection, c, slab);
        __syncthreads();
        float x[SIDE / 8][4] = {};
        scores<T, W, SIDE, 1, PARTS<T>>(x, k + warp * 16 * STRIDE, projection, lane);
#pragma unroll
        for (int i = 0; i < 4; i++) {
          bool valid = token(c, b, tile * SIDE + warp * 16 + lane / 4 + (i >> 1) * 8);
#pragma unroll
          for (int n = 0; n < SIDE / 8; n++) {
            int feature = slab * SIDE + n * 8 + (lane & 3) * 2 + (i & 1);
            if (valid && feature < c.m) top = fmaxf(top, x[n][i] * c.root);
          }
        }
      }
    }
  }
  top = warp_max(top);
  if (lane == 0) warps[warp] = top;
  __syncthreads();
  if (threadIdx.x == 0)
    c.key_tops[(long long)bh * c.tiles + tile] =
        fmaxf(fmaxf(warps[0], warps[1]), fmaxf(warps[2], warps[3]));
}

// S and z of a slab of features over a chunk of keys, or dS and dz over one of queries.
template <typename T, int W, bool ELU>
__device__ __forceinline__ void sums(const Call &c, bool keys) {
  constexpr int STRIDE = W + Core<T>::PAD, TILE = SIDE * STRIDE;
  extern __shared__ __align__(16) unsigned char room[];
  T *x_tiles = (T *)room, *y_tiles = x_tiles + 2 * TILE, *projection = y_tiles + 2 * TILE;
  float *small = (float *)(projection + (ELU ? 0 : PARTS<T> * TILE));
  // Of each position: what its features are multiplied with in S, and in z.
  float *weights = small, *shares = small + 2 * SIDE, *query_tops = small + 4 * SIDE;
  float *shift = small + 6 * SIDE;
  int slab = blockIdx.y, bh = blockIdx.z, b = bh / c.h, h = bh % c.h;
  int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  int first = blockIdx.x * c.chunk, last = min(first + c.chunk, c.tiles);
  while (last > first && !tokens(c, b, last - 1)) last--;

  float top = 0.f;
  if constexpr (!ELU) {
    if (keys && shifted(c)) top = key_top(c, bh, small);
    if (first < last) read_projection<T, W>(projection, c, slab);
  }
  const T *x = (const T *)c.qkv + place(c, b, h, keys ? 1 : 0);
  const T *y = keys ? (const T *)c.qkv + place(c, b, h, 2)
                    : (const T *)c.g + (long long)b * c.n * c.h * c.w + h * c.w;
  auto prepare = [&](int tile, int stage) {
    fetch_rows<T, W>(x_tiles + stage * TILE, c, x, 3 * c.h * c.w, b, tile);
    fetch_rows<T, W>(y_tiles + stage * TILE, c, y, (keys ? 3 : 1) * c.h * c.w, b, tile);
    fetched_all();
    if (threadIdx.x < SIDE) {
      int i = tile * SIDE + threadIdx.x, to = stage * SIDE + threadIdx.x;
      bool valid = token(c, b, i);
      long long at = (long long)bh * c.n + i;
      weights[to] = valid ? (keys ? 1.f : c.inverse[at]) : 0.f;
      shares[to] = valid ? (keys ? 1.f : -c.t[at]) : 0.f;
      if (!ELU && !keys && c.kind == POSITIVE) query_tops[to] = valid ? c.query_tops[at] : 0.f;
    }
  };
  // The warp's first feature, in its half and in the slab.
  int mine = slab % c.slabs * SIDE + warp * 16, row = lane / 4;
  float s[W / 8][4] = {}, z[2] = {};
  if (first < last) prepare(first, 0);
  for (int tile = first; tile < last; tile++) {
    int stage = (tile - first) & 1;
    if (tile + 1 < last) {
      prepare(tile + 1, stage ^ 1);
      wait_fetched<1>();
    } else {
      wait_fetched<0>();
    }
    __syncthreads();
    const T *xs = x_tiles + stage * TILE;
    if (!ELU && shifted(c)) {
      const float *tops = !keys && c.kind == POSITIVE ? query_tops + stage * SIDE : nullptr;
      shifts<T, W>(c, shift, xs, keys, top, tops);
      __syncthreads();
    }
    if (mine < c.m) {
      float f[SIDE / 8][4] = {};
      auto position = [&](int n, int i) { return n * 8 + (lane & 3) * 2 + (i & 1); };
      auto real = [&](int n, int i) {
        return mine + row + (i >> 1) * 8 < c.m &&
               token(c, b, tile * SIDE + position(n, i));
      };
      if constexpr (ELU) {
#pragma unroll
        for (int n = 0; n < SIDE / 8; n++)
#pragma unroll
          for (int i = 0; i < 4; i++) {
            float v = to_float(xs[position(n, i) * STRIDE + mine + row + (i >> 1) * 8]);
            f[n][i] = elu(v, exponential<T>(v));
          }
      } else {
        scores<T, W, SIDE, PARTS<T>, 1>(f, projection + warp * 16 * STRIDE, xs, lane);
        features<T, SIDE>(f, c, slab >= c.slabs, [](int, int) { return true; },
                          [&](int n, int i) { return shift[position(n, i)]; });
      }
#pragma unroll
      for (int n = 0; n < SIDE / 8; n++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
          int at = stage * SIDE + position(n, i);
          float whole = real(n, i) ? f[n][i] : 0.f;
          z[i >> 1] += whole * shares[at];
          f[n][i] = whole * weights[at];
        }
      values<T, W, SIDE, 1>(s, f, y_tiles + stage * TILE, lane);
    }
    __syncthreads();
  }
  long long features = (long long)c.halves * c.slabs * SIDE;
  long long line =
      ((long long)bh * gridDim.x + blockIdx.x) * features + slab * SIDE + warp * 16 + row;
  float *first_row = c.sums + line * COLUMNS<W>;
#pragma unroll
  for (int r = 0; r < 2; r++) {
    float whole = quad_sum(z[r]), *to = first_row + r * 8 * COLUMNS<W>;
#pragma unroll
    for (int n = 0; n < W / 8; n++)
      store2(to + n * 8 + (lane & 3) * 2, s[n][2 * r], s[n][2 * r + 1]);
    if ((lane & 3) == 0) *(float4 *)(to + W) = {whole, 0.f, 0.f, 0.f};
  }
}

// The output of tiles of queries.
template <typename T, int W, bool ELU> __device__ __forceinline__ void outputs(const Call &c) {
  constexpr int STRIDE = W + Core<T>::PAD, TILE = SIDE * STRIDE, N = ELU && W < SIDE ? W : SIDE;
  extern __shared__ __align__(16) unsigned char room[];
  T *q = (T *)room, *state = q + TILE, *projection = state + PARTS<T> * TILE;
  float *small = (float *)(projection + (ELU ? 0 : PARTS<T> * TILE));
  float *shift = small, *zs = small + SIDE;
  int bh = blockIdx.y, b = bh / c.h, h = bh % c.h;
  int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  int slabs = c.slabs * c.halves, mine = warp * 16 + lane / 4;
  const float *from = c.state + (long long)bh * slabs * SIDE * COLUMNS<W>;
  const T *rows = (const T *)c.qkv + place(c, b, h, 0);
  // What is in shared memory already.
  int projected = -1, loaded = -1;
  auto project = [&](float x[N / 8][4], int slab) {
    if (projected != slab % c.slabs) {
      __syncthreads();
      read_projection<T, W>(projection, c, slab);
      __syncthreads();
      projected = slab % c.slabs;
    }
    scores<T, W, N, 1, PARTS<T>>(x, q + warp * 16 * STRIDE, projection, lane);
  };
  int last = min((int)(blockIdx.x + 1) * c.each, c.tiles);
  for (int tile = blockIdx.x * c.each; tile < last; tile++) {
    float o[W / 8][4] = {}, d[2] = {}, top[2] = {-INFINITY, -INFINITY};
    bool some = tokens(c, b, tile);
    if (some) {
      fetch_rows<T, W>(q, c, rows, 3 * c.h * c.w, b, tile);
      fetched_all();
      wait_fetched<0>();
      __syncthreads();
      if (!ELU && shifted(c)) {
        shifts<T, W>(c, shift, q, false, 0.f, nullptr);
        __syncthreads();
      }
      auto raise = [&](const float x[N / 8][4], int slab) {
#pragma unroll
        for (int n = 0; n < N / 8; n++)
#pragma unroll
          for (int i = 0; i < 4; i++)
            if (slab * SIDE + n * 8 + (lane & 3) * 2 + (i & 1) < c.m)
              top[i >> 1] = fmaxf(top[i >> 1], x[n][i] * c.root);
      };
      if (!ELU && c.kind == POSITIVE && slabs > 1)
        for (int slab = 0; slab < slabs; slab++) {
          float x[N / 8][4] = {};
          project(x, slab);
          raise(x, slab);
        }
      for (int slab = 0; slab < slabs; slab++) {
        int ahead = slab % c.slabs * SIDE;
        float f[N / 8][4] = {};
        auto real = [&](int n, int i) { return ahead + n * 8 + (lane & 3) * 2 + (i & 1) < c.m; };
        if (loaded != slab) {
          __syncthreads();
          read_state<T, W>(state, zs, from, slab);
          __syncthreads();
          loaded = slab;
        }
        if constexpr (ELU) {
#pragma unroll
          for (int n = 0; n < N / 8; n++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
              int col = ahead + n * 8 + (lane & 3) * 2 + (i & 1);
              float v = to_float(q[(mine + (i >> 1) * 8) * STRIDE + col]);
              f[n][i] = real(n, i) ? elu(v, exponential<T>(v)) : 0.f;
            }
        } else {
          project(f, slab);
          if (c.kind == POSITIVE && slabs == 1) raise(f, 0);
          float own[2] = {};
          if (c.kind == POSITIVE && slab == 0) {
            top[0] = quad_max(top[0]);
            top[1] = quad_max(top[1]);
          }
          if (shifted(c)) {
            own[0] = shift[mine] + (c.kind == POSITIVE ? top[0] : 0.f);
            own[1] = shift[mine + 8] + (c.kind == POSITIVE ? top[1] : 0.f);
          }
          features<T, N>(f, c, slab >= c.slabs, real, [&](int, int i) { return own[i >> 1]; });
        }
#pragma unroll
        for (int n = 0; n < N / 8; n++)
#pragma unroll
          for (int i = 0; i < 4; i++) d[i >> 1] += f[n][i] * zs[n * 8 + (lane & 3) * 2 + (i & 1)];
        values<T, W, N, PARTS<T>>(o, f, state, lane);
      }
    }
#pragma unroll
    for (int r = 0; r < 2; r++) {
      float whole = quad_sum(d[r]);
      int i = tile * SIDE + mine + r * 8;
      if (i >= c.n) continue;
      bool valid = some && token(c, b, i);
      float inverse = valid ? 1.f / (whole + c.eps) : 0.f;
      T *out = (T *)c.o + ((long long)b * c.n + i) * c.h * c.w + h * c.w;
#pragma unroll
      for (int n = 0; n < W / 8; n++) {
        int col = n * 8 + (lane & 3) * 2;
        if (col >= c.w) continue;
        store2(out + col, valid ? o[n][2 * r] * inverse : 0.f,
               valid ? o[n][2 * r + 1] * inverse : 0.f);
      }
      if ((lane & 3) != 0) continue;
      c.inverse[(long long)bh * c.n + i] = inverse;
      if (!ELU && c.kind == POSITIVE) c.query_tops[(long long)bh * c.n + i] = top[r];
    }
  }
}

// The slopes of tiles of queries, from S; or of keys and values, from dS.
template <typename T, int W, bool ELU, bool KEYS>
__device__ __forceinline__ void slopes(const Call &c) {
  // Half a slab at a time where accumulators are many.
  constexpr int WIDE = ELU && W < SIDE ? W : SIDE, N = W > SIDE ? 32 : WIDE;
  constexpr int STRIDE = W + Core<T>::PAD, TILE = SIDE * STRIDE;
  extern __shared__ __align__(16) unsigned char room[];
  T *x = (T *)room, *y = x + TILE, *state = y + TILE, *projection = state + PARTS<T> * TILE;
  float *small = (float *)(projection + (ELU ? 0 : PARTS<T> * TILE));
  float *shift = small, *zs = small + SIDE, *query_tops = small + 2 * SIDE;
  int bh = blockIdx.y, b = bh / c.h, h = bh % c.h;
  int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  int slabs = c.slabs * c.halves, mine = warp * 16 + lane / 4, row = 3 * c.h * c.w;
  const float *from = (KEYS ? c.dstate : c.state) + (long long)bh * slabs * SIDE * COLUMNS<W>;
  const T *xs = (const T *)c.qkv + place(c, b, h, KEYS ? 1 : 0);
  const T *ys = KEYS ? (const T *)c.qkv + place(c, b, h, 2)
                     : (const T *)c.g + (long long)b * c.n * c.h * c.w + h * c.w;
  T *dxs = (T *)c.dqkv + place(c, b, h, KEYS ? 1 : 0);
  T *dvs = (T *)c.dqkv + place(c, b, h, 2);
  float top = 0.f;
  if (!ELU && KEYS && shifted(c)) top = key_top(c, bh, small);
  int loaded = -1;
  int last = min((int)(blockIdx.x + 1) * c.each, c.tiles);
  for (int tile = blockIdx.x * c.each; tile < last; tile++) {
    bool some = tokens(c, b, tile), valid[2];
    // What a row's product with S, and z, are multiplied with.
    float scale[2] = {1.f, 1.f}, share[2] = {1.f, 1.f}, half[2] = {}, own[2] = {};
    float dx[ELU ? 1 : W / 8][4] = {}, dv[KEYS ? W / 8 : 1][4] = {};
#pragma unroll
    for (int r = 0; r < 2; r++) {
      int i = tile * SIDE + mine + r * 8;
      valid[r] = some && token(c, b, i);
      if (KEYS) continue;
      scale[r] = valid[r] ? c.inverse[(long long)bh * c.n + i] : 0.f;
      share[r] = valid[r] ? -c.t[(long long)bh * c.n + i] : 0.f;
    }
    auto write = [&](T *to, int r, int col, float first, float second) {
      int i = tile * SIDE + mine + r * 8;
      if (i >= c.n || col >= c.w) return;
      store2(to + (long long)i * row + col, valid[r] ? first : 0.f, valid[r] ? second : 0.f);
    };
    if (some) {
      fetch_rows<T, W>(x, c, xs, row, b, tile);
      fetch_rows<T, W>(y, c, ys, KEYS ? row : c.h * c.w, b, tile);
      fetched_all();
      if (!ELU && !KEYS && c.kind == POSITIVE && threadIdx.x < SIDE) {
        int i = tile * SIDE + threadIdx.x;
        query_tops[threadIdx.x] = token(c, b, i) ? c.query_tops[(long long)bh * c.n + i] : 0.f;
      }
      wait_fetched<0>();
      __syncthreads();
      if (!ELU && shifted(c)) {
        shifts<T, W>(c, shift, x, KEYS, top, KEYS || c.kind != POSITIVE ? nullptr : query_tops);
        __syncthreads();
        own[0] = shift[mine];
        own[1] = shift[mine + 8];
      }
      for (int slab = 0; slab < slabs; slab++) {
        if (loaded != slab) {
          __syncthreads();
          read_state<T, W>(state, zs, from, slab);
          if constexpr (!ELU) read_projection<T, W>(projection, c, slab);
          __syncthreads();
          loaded = slab;
        }
#pragma unroll 1
        for (int part = 0; part < WIDE; part += N) {
          int ahead = slab % c.slabs * SIDE + part;
          if (ahead >= c.m) break;
          float f[N / 8][4] = {}, g[N / 8][4] = {};
          auto real = [&](int n, int i) { return ahead + n * 8 + (lane & 3) * 2 + (i & 1) < c.m; };
          scores<T, W, N, 1, PARTS<T>>(g, y + warp * 16 * STRIDE, state + part * STRIDE, lane);
#pragma unroll
          for (int n = 0; n < N / 8; n++)
#pragma unroll
            for (int i = 0; i < 4; i++)
              g[n][i] = g[n][i] * scale[i >> 1] +
                        zs[part + n * 8 + (lane & 3) * 2 + (i & 1)] * share[i >> 1];
          if constexpr (ELU) {
#pragma unroll
            for (int n = 0; n < N / 8; n++) {
              int col = ahead + n * 8 + (lane & 3) * 2;
#pragma unroll
              for (int i = 0; i < 4; i++) {
                float v = to_float(x[(mine + (i >> 1) * 8) * STRIDE + col + (i & 1)]);
                float e = exponential<T>(fminf(v, 0.f));
                g[n][i] *= e;
                f[n][i] = real(n, i) ? elu(v, e) : 0.f;
              }
              write(dxs, 0, col, g[n][0], g[n][1]);
              write(dxs, 1, col, g[n][2], g[n][3]);
            }
          } else {
            const T *own_rows = x + warp * 16 * STRIDE;
            scores<T, W, N, 1, PARTS<T>>(f, own_rows, projection + part * STRIDE, lane);
            features_back<T, N, KEYS>(f, g, half, c, slab >= c.slabs, real, own);
            values<T, W, N, PARTS<T>>(dx, g, projection + part * STRIDE, lane);
          }
          if constexpr (KEYS) values<T, W, N, PARTS<T>>(dv, f, state + part * STRIDE, lane);
        }
      }
    }
#pragma unroll
    for (int r = 0; r < 2; r++) {
      float whole = ELU ? 0.f : quad_sum(half[r]) * c.root * c.root;
#pragma unroll
      for (int n = 0; n < W / 8; n++) {
        int col = n * 8 + (lane & 3) * 2;
        if constexpr (KEYS) write(dvs, r, col, dv[n][2 * r], dv[n][2 * r + 1]);
        if constexpr (ELU) {
          if (!some) write(dxs, r, col, 0.f, 0.f);
        } else {
          const T *at = x + (mine + r * 8) * STRIDE + col;
          write(dxs, r, col, dx[n][2 * r] * c.root + whole * to_float(at[0]),
                dx[n][2 * r + 1] * c.root + whole * to_float(at[1]));
        }
      }
    }
  }
}

// t of each query and head, one warp each.
template <typename T> __device__ __forceinline__ void dots(const Call &c) {
  int i = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
  int b = blockIdx.y;
  if (i >= c.n * c.h) return;
  int h = i % c.h, row = i / c.h;
  long long at = ((long long)b * c.n + row) * c.h * c.w + h * c.w;
  long long stat = ((long long)b * c.h + h) * c.n + row;
  float sum = 0.f;
  if (token(c, b, row)) {
    const T *o = (const T *)c.o + at, *g = (const T *)c.g + at;
    for (int j = lane; j < c.w; j += 32) sum += to_float(o[j]) * to_float(g[j]);
    sum = warp_sum(sum) * c.inverse[stat];
  }
  if (lane == 0) c.t[stat] = sum;
}

// Adds up chunks, in order: `sums` [heads, chunks, count] -> [heads, count].
extern "C" __global__ void kernel_add_chunks(const float4 *sums, float4 *to, int chunks,
                                             int count) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  const float4 *from = sums + (long long)blockIdx.y * chunks * count + i;
  float4 sum = {0.f, 0.f, 0.f, 0.f};
  for (int chunk = 0; chunk < chunks; chunk++) {
    float4 x = from[(long long)chunk * count];
    sum = {sum.x + x.x, sum.y + x.y, sum.z + x.z, sum.w + x.w};
  }
  to[(long long)blockIdx.y * count + i] = sum;
}

#define KERNEL(NAME, ...)                                                            \
  extern "C" __global__ void __launch_bounds__(THREADS) NAME(const Call c) { __VA_ARGS__; }
#define KERNELS(T, NAME, W)                                                          \
  KERNEL(kernel_tops_##NAME##_##W, tops<T, W>(c))                                    \
  KERNEL(kernel_keys_elu_##NAME##_##W, sums<T, W, true>(c, true))                    \
  KERNEL(kernel_keys_random_##NAME##_##W, sums<T, W, false>(c, true))                \
  KERNEL(kernel_queries_elu_##NAME##_##W, sums<T, W, true>(c, false))                \
  KERNEL(kernel_queries_random_##NAME##_##W, sums<T, W, false>(c, false))            \
  KERNEL(kernel_outputs_elu_##NAME##_##W, outputs<T, W, true>(c))                    \
  KERNEL(kernel_outputs_random_##NAME##_##W, outputs<T, W, false>(c))                \
  KERNEL(kernel_dq_elu_##NAME##_##W, slopes<T, W, true, false>(c))                   \
  KERNEL(kernel_dq_random_##NAME##_##W, slopes<T, W, false, false>(c))               \
  KERNEL(kernel_dkv_elu_##NAME##_##W, slopes<T, W, true, true>(c))                   \
  KERNEL(kernel_dkv_random_##NAME##_##W, slopes<T, W, false, true>(c))
#define WIDTHS(T, NAME)                                                              \
  KERNELS(T, NAME, 16) KERNELS(T, NAME, 32) KERNELS(T, NAME, 64) KERNELS(T, NAME, 128) \
  extern "C" __global__ void kernel_dots_##NAME(const Call c) { dots<T>(c); }
WIDTHS(float, f32)
WIDTHS(bf16, bf16)

// Mixtures of blocks (src/ops/sort.rs) and their slopes: matrix products over blocks, whose
// columns are the places of a block times the width of a head. With e = g / share:
// y = P x / share, dx = g of x itself + P^T e, dP = e x^T + slope real^T.
// Every sum has one order, which neither the GPU nor the launch sizes change.
#include "tensor_core.cuh"

// As the least share of src/ops/sort.rs.
#define LEAST 1e-15f

struct Call {
  const void *x;       // [b, n, parts * heads * w]
  const float *p;      // [b, heads, nb, nb]
  float *share;        // [b, heads, nb, size], at least LEAST
  void *y;             // [b, nb * size + n, parts * heads * w]
  const void *g;       // the same
  float *slope;        // of the shares, [b, heads, nb, size]
  void *dx;            // as x
  float *dp;           // as p
  const uint8_t *valid; // [b, n]
  int b, n, nb, size, heads, parts, w;
};

// 16 bytes in registers.
template <typename T> union Chunk {
  static constexpr int COUNT = 16 / sizeof(T);
  uint4 all;
  T each[COUNT];
};

// The same, multiplied, where it goes in shared memory.
template <typename T> __device__ __forceinline__ void store(T *to, Chunk<T> x, float scale) {
#pragma unroll
  for (int i = 0; i < Chunk<T>::COUNT; i++) x.each[i] = from_float<T>(to_float(x.each[i]) * scale);
  *(uint4 *)to = x.all;
}

__device__ __forceinline__ float2 load_two(const float *x) { return *(const float2 *)x; }
__device__ __forceinline__ float2 load_two(const bf16 *x) {
  return __bfloat1622float2(*(const __nv_bfloat162 *)x);
}
__device__ __forceinline__ void store_two(float *to, float x, float y) {
  *(float2 *)to = make_float2(x, y);
}
__device__ __forceinline__ void store_two(bf16 *to, float x, float y) {
  *(__nv_bfloat162 *)to = __floats2bfloat162_rn(x, y);
}

// Rows of blocks that one step of the sums goes through, or columns.
constexpr int STEP = 32;

// c[32 x 32] += a[32 x STEP] times b, of one warp; b lies as [STEP][32], or as [32][STEP].
// Tensor cores cut off what they add up: for f32 a step has a sum of its own, which is rounded.
template <typename T, bool B_NK>
__device__ __forceinline__ void multiply(float c[2][4][4], const T *a, int a_stride, const T *b,
                                         int b_stride, int lane) {
  constexpr bool APART = sizeof(T) == 4;
  float own[2][4][4] = {};
  auto sum = APART ? own : c;
  // Parts of f32 take many registers.
#pragma unroll(APART ? 1 : STEP / Core<T>::K)
  for (int k = 0; k < STEP; k += Core<T>::K) {
    typename Core<T>::A rows[2];
#pragma unroll
    for (int m = 0; m < 2; m++) {
      const T *from = a + m * 16 * a_stride + k;
      if (B_NK)
        rows[m] = Core<T>::load_a(from, a_stride, lane);
      else
        rows[m] = Core<T>::load_a_kn(from, a_stride, lane);
    }
#pragma unroll
    for (int n = 0; n < 4; n += 2) {
      typename Core<T>::B cols[2];
      if (B_NK)
        Core<T>::load_b_nk(cols, b + n * 8 * b_stride + k, b_stride, lane);
      else
        Core<T>::load_b_kn(cols, b + k * b_stride + n * 8, b_stride, lane);
#pragma unroll
      for (int m = 0; m < 2; m++) {
        Core<T>::mma(sum[m][n], rows[m], cols[0]);
        Core<T>::mma(sum[m][n + 1], rows[m], cols[1]);
      }
    }
  }
  if (APART) {
#pragma unroll
    for (int i = 0; i < 32; i++) c[i / 16][i / 4 % 4][i % 4] += own[i / 16][i / 4 % 4][i % 4];
  }
}

// share: a warp for each row of P, a lane for each place. P is rounded as in the products, so that
// y is a mean of what there is: of one token, the token.
template <typename T> __device__ void shares(const Call &c) {
  long long row = blockIdx.x * 8ll + threadIdx.x / 32;
  if (row >= (long long)c.b * c.heads * c.nb) return;
  const float *p = c.p + row * c.nb;
  const uint8_t *valid = c.valid + row / ((long long)c.heads * c.nb) * c.n;
  for (int r = threadIdx.x % 32; r < c.size; r += 32) {
    float sum = 0.f;
#pragma unroll 8
    for (int j = 0; j < c.nb; j++) {
      int i = j * c.size + r;
      if (i < c.n && valid[i]) sum += to_float(from_float<T>(p[j]));
    }
    c.share[row * c.size + r] = fmaxf(sum, LEAST);
  }
}

// The shares' slopes, - e . y summed over parts (y is divided already): a warp for each place of
// each head of P. e is rounded as in the products, which these stand against: where few blocks have
// tokens, nearly all of both cancels. What y was rounded by is the same for a whole row of dP.
template <typename T> __device__ void slopes(const Call &c) {
  int places = c.nb * c.size, columns = c.parts * c.heads * c.w, lane = threadIdx.x % 32;
  long long row = blockIdx.x * 8ll + threadIdx.x / 32;
  if (row >= (long long)c.b * c.heads * places) return;
  int place = row % places, sort = row / places % c.heads;
  long long b = row / places / c.heads;
  long long start = (b * (places + c.n) + place) * columns;
  float sum = 0.f, share = c.share[row], scale = 1.f / share;
  for (int part = 0; part < c.parts; part++) {
    long long at = start + (part * c.heads + sort) * c.w;
    const T *g = (const T *)c.g + at, *y = (const T *)c.y + at;
    for (int k = 2 * lane; k < c.w; k += 64) {
      float2 of = load_two(g + k), to = load_two(y + k);
      sum += to_float(from_float<T>(of.x * scale)) * to.x;
      sum += to_float(from_float<T>(of.y * scale)) * to.y;
    }
  }
  sum = warp_sum(sum);
  if (lane == 0) c.slope[row] = share > LEAST ? -sum : 0.f;
}

// y, or dx: 32 M blocks times 128 columns of one head of x. Rows of P are the output's, or the
// sum's (BACK).
template <typename T, int M, bool BACK> __device__ __forceinline__ void mix(const Call &c) {
  constexpr int THREADS = 128 * M, ROWS = 32 * M, WIDE = 128, EACH = Chunk<T>::COUNT;
  constexpr int CHUNKS = WIDE / EACH, DOWN = THREADS / CHUNKS, COUNT = STEP / DOWN;
  constexpr int P_STRIDE = STEP + Core<T>::PAD, X_STRIDE = WIDE + Core<T>::PAD;
  constexpr int P_COUNT = ROWS * STEP / THREADS;
  __shared__ __align__(16) T ps[ROWS * P_STRIDE];
  __shared__ __align__(16) T xs[STEP * X_STRIDE];

  int h = c.heads * c.parts, columns = h * c.w, places = c.nb * c.size, total = places + c.n;
  int tid = threadIdx.x, lane = tid % 32, warp = tid / 32;
  int head = blockIdx.z % h;
  long long b = blockIdx.z / h, sort = b * c.heads + head % c.heads;
  int first_row = blockIdx.y * ROWS, first_col = blockIdx.x * WIDE;
  const float *p = c.p + sort * c.nb * c.nb, *share = c.share + sort * places;
  const uint8_t *valid = c.valid + b * c.n;
  const T *x = (const T *)c.x + b * c.n * columns + head * c.w;
  const T *g = (const T *)c.g + b * total * columns + head * c.w;

  // A thread keeps its columns, and so its place.
  int col = first_col + tid % CHUNKS * EACH, place = col / c.w;
  const T *from = (BACK ? g : x) + col % c.w;
  Chunk<T> chunks[COUNT];
  float scales[COUNT], weights[P_COUNT];
  auto load = [&](int first) {
#pragma unroll
    for (int i = 0; i < COUNT; i++) {
      int block = first + tid / CHUNKS + i * DOWN, at = block * c.size + place;
      bool there = block < c.nb && place < c.size;
      if (!BACK) there = there && at < c.n && valid[at];
      chunks[i].all = make_uint4(0, 0, 0, 0);
      if (there) chunks[i].all = *(const uint4 *)(from + (long long)at * columns);
      if (BACK) scales[i] = there ? share[at] : 1.f;
    }
#pragma unroll
    for (int i = 0; i < P_COUNT; i++) {
      int e = tid + i * THREADS;
      int row = first_row + (BACK ? e % ROWS : e / STEP), k = first + (BACK ? e / ROWS : e % STEP);
      long long at = BACK ? (long long)k * c.nb + row : (long long)row * c.nb + k;
      weights[i] = row < c.nb && k < c.nb ? p[at] : 0.f;
    }
  };
  auto put = [&]() {
#pragma unroll
    for (int i = 0; i < COUNT; i++) {
      T *to = xs + (tid / CHUNKS + i * DOWN) * X_STRIDE + tid % CHUNKS * EACH;
      if (BACK)
        store(to, chunks[i], 1.f / scales[i]);
      else
        *(uint4 *)to = chunks[i].all;
    }
#pragma unroll
    for (int i = 0; i < P_COUNT; i++) {
      int e = tid + i * THREADS, row = BACK ? e % ROWS : e / STEP, k = BACK ? e / ROWS : e % STEP;
      ps[row * P_STRIDE + k] = from_float<T>(weights[i]);
    }
  };

  int row = warp / 4 * 32, wide = warp % 4 * 32;
  bool works = first_row + row < c.nb && first_col + wide < c.size * c.w;
  float sums[2][4][4] = {};
  load(0);
  for (int first = 0; first < c.nb; first += STEP) {
    put();
    __syncthreads();
    if (first + STEP < c.nb) load(first + STEP);
    if (works) multiply<T, false>(sums, ps + row * P_STRIDE, P_STRIDE, xs + wide, X_STRIDE, lane);
    __syncthreads();
  }

  T *y = (T *)c.y + b * total * columns + head * c.w;
  T *dx = (T *)c.dx + b * c.n * columns + head * c.w;
#pragma unroll
  for (int n = 0; n < 4; n++) {
    int col = first_col + wide + n * 8 + lane % 4 * 2, r = col / c.w, k = col % c.w;
    if (r >= c.size) continue;
#pragma unroll
    for (int m = 0; m < 4; m++) {
      int block = first_row + row + m * 8 + lane / 4, at = block * c.size + r;
      if (block >= c.nb) continue;
      const float *sum = sums[m / 2][n] + m % 2 * 2;
      long long here = (long long)at * columns + k, behind = (long long)(places + at) * columns + k;
      if (BACK) {
        if (at >= c.n) continue;
        float2 own = load_two(g + behind);
        bool real = valid[at];
        store_two(dx + here, own.x + (real ? sum[0] : 0.f), own.y + (real ? sum[1] : 0.f));
      } else {
        float of = share[at];
        store_two(y + here, sum[0] / of, sum[1] / of);
        if (at >= c.n) continue;
        float2 own = load_two(x + here);
        store_two(y + behind, own.x, own.y);
      }
    }
  }
}

// dP: 64 x 64 of one head of P, over the columns of all parts, and then the shares' places.
template <typename T> __device__ __forceinline__ void weights(const Call &c) {
  constexpr int THREADS = 128, SIDE = 64, EACH = Chunk<T>::COUNT, STRIDE = STEP + Core<T>::PAD;
  constexpr int CHUNKS = STEP / EACH, DOWN = THREADS / CHUNKS, COUNT = SIDE / DOWN;
  // A slope goes in as two bf16, a large and a small one: it stands against the whole sum.
  constexpr int PIECES = sizeof(T) == 2 ? 2 : 1;
  __shared__ __align__(16) T es[SIDE * STRIDE];
  __shared__ __align__(16) T xs[SIDE * STRIDE];

  int h = c.heads * c.parts, columns = h * c.w, places = c.nb * c.size, total = places + c.n;
  int tid = threadIdx.x, lane = tid % 32, warp = tid / 32;
  long long b = blockIdx.z / c.heads;
  int sort = blockIdx.z % c.heads, first_row = blockIdx.y * SIDE, first_col = blockIdx.x * SIDE;
  const float *share = c.share + (long long)blockIdx.z * places;
  const float *slope = c.slope + (long long)blockIdx.z * places;
  const uint8_t *valid = c.valid + b * c.n;
  const T *x = (const T *)c.x + b * c.n * columns;
  const T *g = (const T *)c.g + b * total * columns;
  int each = (c.size * c.w + STEP - 1) / STEP, mixed = c.parts * each;
  int sloped = (c.size + STEP - 1) / STEP, steps = mixed + PIECES * sloped;

  Chunk<T> gs[COUNT], rows[COUNT];
  float scales[COUNT];
  auto load = [&](int step) {
    int col = step % each * STEP + tid % CHUNKS * EACH, place = col / c.w;
    int offset = (step / each * c.heads + sort) * c.w + col % c.w;
#pragma unroll
    for (int i = 0; i < COUNT; i++) {
      int block = tid / CHUNKS + i * DOWN;
      int row = first_row + block, at = row * c.size + place;
      bool there = row < c.nb && place < c.size;
      gs[i].all = make_uint4(0, 0, 0, 0);
      if (there) gs[i].all = *(const uint4 *)(g + (long long)at * columns + offset);
      scales[i] = there ? share[at] : 1.f;
      row = first_col + block, at = row * c.size + place;
      there = row < c.nb && place < c.size && at < c.n && valid[at];
      rows[i].all = make_uint4(0, 0, 0, 0);
      if (there) rows[i].all = *(const uint4 *)(x + (long long)at * columns + offset);
    }
  };
  auto load_slopes = [&](int step) {
    int piece = step / sloped, first = step % sloped * STEP + tid % CHUNKS * EACH;
#pragma unroll
    for (int i = 0; i < COUNT; i++) {
      int block = tid / CHUNKS + i * DOWN;
      int row = first_row + block, other = first_col + block;
      scales[i] = 1.f;
#pragma unroll
      for (int j = 0; j < EACH; j++) {
        int r = first + j, at = other * c.size + r;
        float s = r < c.size && row < c.nb ? slope[row * c.size + r] : 0.f;
        if (piece > 0) s -= to_float(from_float<T>(s));
        gs[i].each[j] = from_float<T>(s);
        bool real = r < c.size && other < c.nb && at < c.n && valid[at];
        rows[i].each[j] = from_float<T>(real ? 1.f : 0.f);
      }
    }
  };
  auto put = [&]() {
#pragma unroll
    for (int i = 0; i < COUNT; i++) {
      int to = (tid / CHUNKS + i * DOWN) * STRIDE + tid % CHUNKS * EACH;
      store(es + to, gs[i], 1.f / scales[i]);
      *(uint4 *)(xs + to) = rows[i].all;
    }
  };

  int row = warp / 2 * 32, col = warp % 2 * 32;
  bool works = first_row + row < c.nb && first_col + col < c.nb;
  float sums[2][4][4] = {};
  load(0);
  for (int step = 0; step < steps; step++) {
    put();
    __syncthreads();
    if (step + 1 < mixed)
      load(step + 1);
    else if (step + 1 < steps)
      load_slopes(step + 1 - mixed);
    if (works) multiply<T, true>(sums, es + row * STRIDE, STRIDE, xs + col * STRIDE, STRIDE, lane);
    __syncthreads();
  }

  float *dp = c.dp + (long long)blockIdx.z * c.nb * c.nb;
#pragma unroll
  for (int i = 0; i < 32; i++) {
    int m = i / 16, n = i / 4 % 4, e = i % 4;
    int to = first_row + row + m * 16 + e / 2 * 8 + lane / 4;
    int from = first_col + col + n * 8 + lane % 4 * 2 + e % 2;
    if (to < c.nb && from < c.nb) dp[(long long)to * c.nb + from] = sums[m][n][e];
  }
}

// BLOCKS of 128 threads share the registers of a multiprocessor.
#define KERNELS(T, BLOCKS)                                                                        \
  extern "C" __global__ void __launch_bounds__(256) block_shares_##T(Call c) { shares<T>(c); }    \
  extern "C" __global__ void __launch_bounds__(256) block_slopes_##T(Call c) { slopes<T>(c); }    \
  extern "C" __global__ void __launch_bounds__(128, BLOCKS) block_mix_##T##_1(Call c) {           \
    mix<T, 1, false>(c);                                                                          \
  }                                                                                               \
  extern "C" __global__ void __launch_bounds__(256, BLOCKS / 2) block_mix_##T##_2(Call c) {       \
    mix<T, 2, false>(c);                                                                          \
  }                                                                                               \
  extern "C" __global__ void __launch_bounds__(128, BLOCKS) block_mix_backward_##T##_1(Call c) {  \
    mix<T, 1, true>(c);                                                                           \
  }                                                                                               \
  extern "C" __global__ void __launch_bounds__(256, BLOCKS / 2) block_mix_backward_##T##_2(Call c) {\
    mix<T, 2, true>(c);                                                                           \
  }                                                                                               \
  extern "C" __global__ void __launch_bounds__(128, BLOCKS) block_weights_##T(Call c) {           \
    weights<T>(c);                                                                                \
  }

typedef float f32;
KERNELS(f32, 2)
KERNELS(bf16, 4)

// Attention whose scores have a term for each pair or distance, and the slopes of those: see
// attention.cuh.
#include <type_traits>
#include "attention.cuh"

// Slopes of pairs: a block has a tile of 64 x 64 and goes through the examples that share it.
template <typename T, int W> struct Pairs {
  static constexpr int STRIDE = W + Core<T>::PAD;
  T row[2][SIDE * STRIDE], col[2][SIDE * STRIDE];
  Side<SIDE> rows, side;
};
template <typename T, int W> __device__ __forceinline__ void pairs(const Call &c) {
  extern __shared__ __align__(16) unsigned char room[];
  using Room = Pairs<T, W>;
  Room &s = *reinterpret_cast<Room *>(room);
  int across = (c.m + SIDE - 1) / SIDE, h = blockIdx.y, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  Rows rows = {(int)(blockIdx.x / across) * SIDE, 1, 0, 0, 0};
  Cols cols = {(int)(blockIdx.x % across) * SIDE, 1, 0, ALL, 0, 0, 0, SIDE};
  rows.count = min(SIDE, c.n - rows.start);
  cols.count = min(SIDE, c.m - cols.start);
  int mine[2] = {warp * 16 + lane / 4, warp * 16 + lane / 4 + 8};
  bool shared = c.pairs_example == 0;
  float sums[SIDE / 8][4] = {};
  for (int b = shared ? 0 : blockIdx.z; b < (shared ? c.b : blockIdx.z + 1); b++) {
    __syncthreads();
    know_queries(c, s.rows, b, h, rows.start, 1, rows.count);
    know_keys(c, s.side, b, h, cols.start, 1, cols.count);
    fetch_rows<T, W, SIDE>(c, s.row[0], c.q, b, h, rows.start, 1, rows.count, c.qk);
    fetch_rows<T, W, SIDE>(c, s.row[1], c.g, b, h, rows.start, 1, rows.count, c.w);
    fetch_rows<T, W, SIDE>(c, s.col[0], c.k, b, h, cols.start, 1, cols.count, c.qk);
    fetch_rows<T, W, SIDE>(c, s.col[1], c.v, b, h, cols.start, 1, cols.count, c.w);
    fetched_all();
    wait_fetched<0>();
    __syncthreads();
    uint2 lanes = c.drop.lanes ? c.drop.lanes[b] : make_uint2(0, 0);
    float p[SIDE / 8][4] = {}, ds[SIDE / 8][4] = {};
    if (c.qk > 0) scores<T, W, SIDE / 8>(p, s.row[0] + warp * 16 * Room::STRIDE, s.col[0], lane);
    scores<T, W, SIDE / 8>(ds, s.row[1] + warp * 16 * Room::STRIDE, s.col[1], lane);
#pragma unroll
    for (int n = 0; n < SIDE / 8; n++)
#pragma unroll
      for (int i = 0; i < 4; i++) {
        int col = n * 8 + (lane & 3) * 2 + (i & 1);
        p[n][i] = fmaf(p[n][i], c.scale * LOG2E, s.side.term[col]);
      }
    adjust<T, W, PAIRS, false>(c, p, rows, cols, mine, s.rows, s.side, nullptr, b, h, lane);
    weigh<false>(c, p, ds, mine, s.rows, s.side, lanes, h, lane);
#pragma unroll
    for (int n = 0; n < SIDE / 8; n++)
#pragma unroll
      for (int i = 0; i < 4; i++) sums[n][i] += ds[n][i];
  }
  float *to = c.dpairs + ((shared ? 0 : (long long)blockIdx.z * c.h) + h) * c.n * c.m;
#pragma unroll
  for (int n = 0; n < SIDE / 8; n++)
#pragma unroll
    for (int i = 0; i < 4; i++) {
      int row = rows.start + mine[i >> 1], col = cols.start + n * 8 + (lane & 3) * 2 + (i & 1);
      if (row < c.n && col < c.m) to[(long long)row * c.m + col] = sums[n][i];
    }
}

// Slopes of distances: a block has an example, a head, and every gridDim.x-th tile of queries,
// and adds to sums of its own, [distances, w + 1], one tile of columns after the other.
template <typename T, int W> struct Distances {
  static constexpr int STRIDE = W + Core<T>::PAD;
  T row[2][SIDE * STRIDE], col[2][SIDE * STRIDE];
  Side<SIDE> rows, side;
  Band<T, W> band;
  float ds[SIDE * (SIDE + 1)];
};
template <typename T, int W> __device__ __forceinline__ void distances(const Call &c) {
  extern __shared__ __align__(16) unsigned char room[];
  using Room = Distances<T, W>;
  Room &s = *reinterpret_cast<Room *>(room);
  int h = blockIdx.y, b = blockIdx.z, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  int mine[2] = {warp * 16 + lane / 4, warp * 16 + lane / 4 + 8}, width = c.qk + 1;
  uint2 lanes = c.drop.lanes ? c.drop.lanes[b] : make_uint2(0, 0);
  float *sums = c.ddistances + (((long long)blockIdx.x * c.b + b) * c.h + h) * c.count * width;
  Rows rows;
  for (int index = blockIdx.x; find_rows(c, b, h, index, rows); index += gridDim.x) {
    for (int tile = rows.first; tile < rows.last; tile++) {
      Cols cols = c.cols[tile];
      __syncthreads();
      know_queries(c, s.rows, b, h, rows.start, rows.step, rows.count);
      know_keys(c, s.side, b, h, cols.start, cols.step, cols.count);
      fetch_rows<T, W, SIDE>(c, s.row[0], c.q, b, h, rows.start, rows.step, rows.count, c.qk);
      fetch_rows<T, W, SIDE>(c, s.row[1], c.g, b, h, rows.start, rows.step, rows.count, c.w);
      fetch_rows<T, W, SIDE>(c, s.col[0], c.k, b, h, cols.start, cols.step, cols.count, c.qk);
      fetch_rows<T, W, SIDE>(c, s.col[1], c.v, b, h, cols.start, cols.step, cols.count, c.w);
      fetch_band(c, s.band, 0, h, rows.start, cols.start % c.n);
      fetched_all();
      wait_fetched<0>();
      __syncthreads();
      float p[SIDE / 8][4] = {}, ds[SIDE / 8][4] = {};
      scores<T, W, SIDE / 8>(p, s.row[0] + warp * 16 * Room::STRIDE, s.col[0], lane);
      scores<T, W, SIDE / 8>(ds, s.row[1] + warp * 16 * Room::STRIDE, s.col[1], lane);
#pragma unroll
      for (int n = 0; n < SIDE / 8; n++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
          int col = n * 8 + (lane & 3) * 2 + (i & 1);
          p[n][i] = fmaf(p[n][i], c.scale * LOG2E, s.side.term[col]);
        }
      meet(c, s.band, 0, s.row[0], warp, lane);
      __syncwarp();
      adjust<T, W, DISTANCES, false>(c, p, rows, cols, mine, s.rows, s.side, s.band.met, b, h, lane);
      weigh<false>(c, p, ds, mine, s.rows, s.side, lanes, h, lane);
#pragma unroll
      for (int n = 0; n < SIDE / 8; n++)
#pragma unroll
        for (int i = 0; i < 4; i++)
          s.ds[mine[i >> 1] * (SIDE + 1) + n * 8 + (lane & 3) * 2 + (i & 1)] = ds[n][i];
      __syncthreads();
      // Distance d of the band is met by query q and key q - d + 63.
      auto met = [&](int d, int q) {
        int key = q - d + SIDE - 1;
        return key >= 0 && key < SIDE ? s.ds[q * (SIDE + 1) + key] : 0.f;
      };
      int base = c.zero + rows.start - cols.start % c.n - (SIDE - 1);
      for (int d = threadIdx.x; d < BAND; d += blockDim.x) {
        float sum = 0.f;
        for (int q = 0; q < SIDE; q++) sum += met(d, q);
        int place = base + d;
        if (place >= 0 && place < c.count) sums[(long long)place * width + c.qk] += sum * c.scale;
      }
#pragma unroll
      for (int half = 0; half < 2; half++) {
        int first = (half * 4 + warp) * 16;
        float x[W / 8][4] = {};
#pragma unroll
        for (int k = 0; k < SIDE; k += Core<T>::K) {
          auto a = Core<T>::gather(lane, [&](int row, int col) { return met(first + row, k + col); });
#pragma unroll
          for (int n = 0; n < W / 8; n += 2) {
            typename Core<T>::B q[2];
            Core<T>::load_b_kn(q, s.row[0] + k * Room::STRIDE + n * 8, Room::STRIDE, lane);
            Core<T>::mma(x[n], a, q[0]);
            Core<T>::mma(x[n + 1], a, q[1]);
          }
        }
#pragma unroll
        for (int n = 0; n < W / 8; n++)
#pragma unroll
          for (int i = 0; i < 4; i++) {
            int place = base + first + lane / 4 + 8 * (i >> 1), col = n * 8 + (lane & 3) * 2 + (i & 1);
            if (place >= 0 && place < c.count && col < c.qk)
              sums[(long long)place * width + col] += x[n][i] * c.scale;
          }
      }
    }
  }
}

#define KERNELS(T, NAME, W, E, KIND)                                                               \
  extern "C" __global__ void __launch_bounds__(128) KIND##_##NAME##_##W(const Call c) {            \
    forward<T, W, E, 4>(c);                                                                        \
  }                                                                                                \
  extern "C" __global__ void __launch_bounds__(128) KIND##_queries_##NAME##_##W(const Call c) {    \
    backward<T, W, E, 4, false>(c);                                                                \
  }                                                                                                \
  extern "C" __global__ void __launch_bounds__(128) KIND##_keys_##NAME##_##W(const Call c) {       \
    backward<T, W, E, 4, true>(c);                                                                 \
  }                                                                                                \
  extern "C" __global__ void __launch_bounds__(128) KIND##_slopes_##NAME##_##W(const Call c) {     \
    KIND<T, W>(c);                                                                                 \
  }
#define WIDTHS(T, NAME)                                                        \
  KERNELS(T, NAME, 16, PAIRS, pairs) KERNELS(T, NAME, 32, PAIRS, pairs)        \
  KERNELS(T, NAME, 64, PAIRS, pairs) KERNELS(T, NAME, 16, DISTANCES, distances) \
  KERNELS(T, NAME, 32, DISTANCES, distances) KERNELS(T, NAME, 64, DISTANCES, distances)
#ifdef BF16
WIDTHS(bf16, bf16)
#else
WIDTHS(float, f32)
#endif

// Reformer's buckets: which direction is nearest, and positions of each row sorted by (padding, bucket, position): a counting sort, one block to a
// row. Counts are integers, so their order does not matter; a warp collects a bucket at a time,
// in the order of positions.
#include "common.cuh"

// The largest of [x, -x], the first where there are several: a warp to a row of `width`.
template <typename T>
__device__ __forceinline__ void nearest_direction(const T *x, uint32_t *found, long long rows,
                                                  int width) {
  long long row = (long long)blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
  int lane = threadIdx.x % 32;
  if (row >= rows) return;
  float best = -INFINITY;
  int at = 0;
  for (int side = 0; side < 2; side++)
    for (int i = lane; i < width; i += 32) {
      float y = to_float(x[row * width + i]);
      if (side) y = -y;
      if (y > best) {
        best = y;
        at = side * width + i;
      }
    }
#pragma unroll
  for (int step = 16; step > 0; step >>= 1) {
    float other = __shfl_xor_sync(~0u, best, step);
    int there = __shfl_xor_sync(~0u, at, step);
    if (other > best || (other == best && there < at)) {
      best = other;
      at = there;
    }
  }
  if (lane == 0) found[row] = at;
}
extern "C" __global__ void nearest_direction_f32(const float *x, uint32_t *found, long long rows,
                                                 int width) {
  nearest_direction(x, found, rows, width);
}
extern "C" __global__ void nearest_direction_bf16(const bf16 *x, uint32_t *found, long long rows,
                                                  int width) {
  nearest_direction(x, found, rows, width);
}

// buckets [rows, n] below `count`, valid [b, n] where rows are [rounds, b, heads].
extern "C" __global__ void __launch_bounds__(256) sort_buckets(const uint32_t *buckets,
                                                              const uint8_t *valid, uint32_t *positions,
                                                              int n, int count, int b, int heads) {
  // Where each bucket begins; the last is padding's.
  extern __shared__ uint32_t starts[];
  long long row = blockIdx.x;
  const uint32_t *mine = buckets + row * n;
  const uint8_t *real = valid + (row / heads % b) * n;
  auto bucket = [&](int i) { return real[i] ? min(mine[i], (uint32_t)count - 1) : (uint32_t)count; };
  for (int i = threadIdx.x; i <= count; i += blockDim.x) starts[i] = 0;
  __syncthreads();
  for (int i = threadIdx.x; i < n; i += blockDim.x) atomicAdd(starts + bucket(i), 1);
  __syncthreads();
  if (threadIdx.x == 0) {
    uint32_t sum = 0;
    for (int i = 0; i <= count; i++) {
      uint32_t here = starts[i];
      starts[i] = sum;
      sum += here;
    }
  }
  __syncthreads();
  int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  for (int wanted = warp; wanted <= count; wanted += blockDim.x / 32) {
    uint32_t at = starts[wanted], end = wanted < count ? starts[wanted + 1] : n;
    for (int first = 0; at < end; first += 32) {
      int i = first + lane;
      bool found = i < n && bucket(i) == wanted;
      uint32_t all = __ballot_sync(~0u, found);
      if (found) positions[row * n + at + __popc(all & ((1u << lane) - 1))] = i;
      at += __popc(all);
    }
  }
}

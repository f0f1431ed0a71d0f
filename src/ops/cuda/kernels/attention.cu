// Attention without extra operands but terms of keys: see attention.cuh.
#include <type_traits>
#include "attention.cuh"

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

#define KERNELS(T, NAME, W, WARPS)                                                       \
  extern "C" __global__ void __launch_bounds__(WARPS * 32)                               \
      attention_##NAME##_##W##_##WARPS(const Call c) {                                   \
    forward<T, W, NOTHING, WARPS>(c);                                                    \
  }                                                                                      \
  extern "C" __global__ void __launch_bounds__(WARPS * 32)                               \
      attention_queries_##NAME##_##W##_##WARPS(const Call c) {                           \
    backward<T, W, NOTHING, WARPS, false>(c);                                            \
  }                                                                                      \
  extern "C" __global__ void __launch_bounds__(WARPS * 32)                               \
      attention_keys_##NAME##_##W##_##WARPS(const Call c) {                              \
    backward<T, W, NOTHING, WARPS, true>(c);                                             \
  }
#define WIDTHS(T, NAME)                                                                  \
  KERNELS(T, NAME, 16, 4) KERNELS(T, NAME, 32, 4) KERNELS(T, NAME, 64, 4)                \
  KERNELS(T, NAME, 128, 4) KERNELS(T, NAME, 16, 8) KERNELS(T, NAME, 32, 8)               \
  KERNELS(T, NAME, 64, 8)                                                                \
  extern "C" __global__ void attention_dots_##NAME(const Call c, float *dot) {           \
    dots<T>(c, dot, blockIdx.y);                                                         \
  }
#ifdef BF16
WIDTHS(bf16, bf16)
#else
WIDTHS(float, f32)
#endif

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

// How many warps a multiprocessor is to hold at once: with fewer they wait for one another, with
// more their registers do not fit. Of heads of 128 there is no choice.
constexpr int resident(int width, int warps, int wanted) {
  return width > 64 ? 1 : wanted / warps;
}

#define ROWS_ARE_QUERIES(T, NAME, W, WARPS)                                              \
  extern "C" __global__ void __launch_bounds__(WARPS * 32, resident(W, WARPS, MANY))     \
      attention_##NAME##_##W##_##WARPS(const Call c) {                                   \
    forward<T, W, NOTHING, WARPS>(c);                                                    \
  }                                                                                      \
  extern "C" __global__ void __launch_bounds__(WARPS * 32, resident(W, WARPS, MANY))     \
      attention_queries_##NAME##_##W##_##WARPS(const Call c) {                           \
    backward<T, W, NOTHING, WARPS, false>(c);                                            \
  }
#define ROWS_ARE_KEYS(T, NAME, W)                                                        \
  extern "C" __global__ void __launch_bounds__(128, resident(W, 4, FEW))                 \
      attention_keys_##NAME##_##W##_4(const Call c) {                                    \
    backward<T, W, NOTHING, 4, true>(c);                                                 \
  }
#define WIDTHS(T, NAME)                                                                  \
  ROWS_ARE_QUERIES(T, NAME, 16, 4) ROWS_ARE_QUERIES(T, NAME, 32, 4)                      \
  ROWS_ARE_QUERIES(T, NAME, 64, 4) ROWS_ARE_QUERIES(T, NAME, 128, 4)                     \
  ROWS_ARE_KEYS(T, NAME, 16) ROWS_ARE_KEYS(T, NAME, 32)                                  \
  ROWS_ARE_KEYS(T, NAME, 64) ROWS_ARE_KEYS(T, NAME, 128)                                 \
  extern "C" __global__ void attention_dots_##NAME(const Call c, float *dot) {           \
    dots<T>(c, dot, blockIdx.y);                                                         \
  }
#ifdef BF16
constexpr int MANY = 16, FEW = 12;
WIDTHS(bf16, bf16)
ROWS_ARE_QUERIES(bf16, bf16, 16, 8)
ROWS_ARE_QUERIES(bf16, bf16, 32, 8)
ROWS_ARE_QUERIES(bf16, bf16, 64, 8)
#else
constexpr int MANY = 8, FEW = 8;
WIDTHS(float, f32)
#endif

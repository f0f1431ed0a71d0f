// What all kernels share: the two float types, and the keyed bits of dropout.
#pragma once
#include <cuda_bf16.h>
#include <stdint.h>

typedef __nv_bfloat16 bf16;

__device__ __forceinline__ float to_float(float x) { return x; }
__device__ __forceinline__ float to_float(bf16 x) { return __bfloat162float(x); }
template <typename T> __device__ __forceinline__ T from_float(float x);
template <> __device__ __forceinline__ float from_float<float>(float x) { return x; }
template <> __device__ __forceinline__ bf16 from_float<bf16>(float x) { return __float2bfloat16(x); }

// As `bits` of src/random.rs: 32 hashed bits for element i under two lanes.
__device__ __forceinline__ uint32_t hash_round(uint32_t x) {
  x = (x ^ (x >> 16)) * 0x7feb352du;
  x = (x ^ (x >> 15)) * 0x846ca68bu;
  return x ^ (x >> 16);
}
__device__ __forceinline__ uint32_t hashed(uint2 lanes, uint32_t i) {
  return hash_round(hash_round(i ^ lanes.x) + lanes.y);
}

// Which elements of an example stay, and what those are multiplied with. Without lanes all stay.
struct Drop {
  const uint2 *lanes;
  uint32_t threshold;
  float scale;
};
__device__ __forceinline__ float kept(const Drop &drop, uint2 lanes, uint32_t i) {
  return hashed(lanes, i) >= drop.threshold ? drop.scale : 0.f;
}

// 2^x without the care for denormal numbers that exp2f takes.
__device__ __forceinline__ float power_of_two(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

__device__ __forceinline__ float warp_sum(float x) {
#pragma unroll
  for (int step = 16; step > 0; step >>= 1) x += __shfl_xor_sync(~0u, x, step);
  return x;
}
__device__ __forceinline__ float warp_max(float x) {
#pragma unroll
  for (int step = 16; step > 0; step >>= 1) x = fmaxf(x, __shfl_xor_sync(~0u, x, step));
  return x;
}

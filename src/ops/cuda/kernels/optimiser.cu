// Gradient norm, clipping and AdamW over all weights of a model: three launches. The norm stays
// on the device; an update whose norm is not finite changes nothing.
#include "common.cuh"

// Chunks of CHUNK values of the weights, the optimiser's state and the gradients.
constexpr int CHUNK = 4096;
struct Weight {
  float *p, *m, *v;
  const float *g;
  long long count;
};
struct Chunk { int weight, first; };
struct Rule {
  float clip, rate, beta1, beta2, eps, kept, correct1, correct2;
};

extern "C" __global__ void gradient_squares(const Weight *weights, const Chunk *chunks, double *squares) {
  __shared__ double room[8];
  Chunk chunk = chunks[blockIdx.x];
  const Weight &w = weights[chunk.weight];
  long long first = (long long)chunk.first * CHUNK, last = min(first + CHUNK, w.count);
  double sum = 0.;
  for (long long i = first + threadIdx.x; i < last; i += blockDim.x) sum += (double)w.g[i] * w.g[i];
#pragma unroll
  for (int step = 16; step > 0; step >>= 1) sum += __shfl_xor_sync(~0u, sum, step);
  if (threadIdx.x % 32 == 0) room[threadIdx.x / 32] = sum;
  __syncthreads();
  if (threadIdx.x == 0) {
    for (int i = 1; i < blockDim.x / 32; i++) sum += room[i];
    squares[blockIdx.x] = sum;
  }
}

extern "C" __global__ void gradient_norm(const double *squares, double *norm, int count) {
  __shared__ double room[256];
  double sum = 0.;
  for (int i = threadIdx.x; i < count; i += 256) sum += squares[i];
  room[threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.x == 0) {
    for (int i = 1; i < 256; i++) sum += room[i];
    *norm = sqrt(sum);
  }
}

extern "C" __global__ void adam(const Weight *weights, const Chunk *chunks, const double *norm, Rule r) {
  double found = *norm;
  if (!isfinite(found)) return;
  float scale = r.clip > 0.f && found > r.clip ? (float)(r.clip / found) : 1.f;
  Chunk chunk = chunks[blockIdx.x];
  const Weight &w = weights[chunk.weight];
  long long first = (long long)chunk.first * CHUNK, last = min(first + CHUNK, w.count);
  for (long long i = first + threadIdx.x; i < last; i += blockDim.x) {
    float g = w.g[i] * scale;
    float m = w.m[i] * r.beta1 + (1.f - r.beta1) * g, v = w.v[i] * r.beta2 + (1.f - r.beta2) * g * g;
    w.m[i] = m;
    w.v[i] = v;
    w.p[i] = w.p[i] * r.kept - r.rate / r.correct1 * m / (sqrtf(v / r.correct2) + r.eps);
  }
}

// Matrix fragments of one warp, m16 n8: bf16 in steps of k = 16, and f32 as three TF32 products
// in steps of k = 8 (Ootomo and Yokota 2022, "Recovering single precision accuracy from Tensor
// Cores"; the product of the two small parts is left out), which is as good as f32 arithmetic.
// Layouts are those of PTX's mma.m16n8k16 and mma.m16n8k8: lane = 4 group + member.
#pragma once
#include "common.cuh"

__device__ __forceinline__ uint32_t shared_address(const void *p) {
  return (uint32_t)__cvta_generic_to_shared(p);
}

template <typename T> struct Core;

template <> struct Core<bf16> {
  static constexpr int K = 16;
  // Elements that a row of shared memory is longer than its width, against bank conflicts.
  static constexpr int PAD = 8;
  struct A { uint32_t x[4]; };
  struct B { uint32_t x[2]; };

  static __device__ __forceinline__ A load_a(const bf16 *s, int stride, int lane) {
    A a;
    uint32_t at = shared_address(s + (lane & 15) * stride + (lane >> 4) * 8);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(a.x[0]), "=r"(a.x[1]), "=r"(a.x[2]), "=r"(a.x[3]) : "r"(at));
    return a;
  }
  // The same, for the k order of load_b_kn.
  static __device__ __forceinline__ A load_a_kn(const bf16 *s, int stride, int lane) {
    return load_a(s, stride, lane);
  }
  // Two neighbouring n-tiles of a matrix that lies as [n][k].
  static __device__ __forceinline__ void load_b_nk(B b[2], const bf16 *s, int stride, int lane) {
    uint32_t at = shared_address(s + ((lane & 7) + (lane >> 4) * 8) * stride + ((lane >> 3) & 1) * 8);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(b[0].x[0]), "=r"(b[0].x[1]), "=r"(b[1].x[0]), "=r"(b[1].x[1]) : "r"(at));
  }
  // The same of one that lies as [k][n].
  static __device__ __forceinline__ void load_b_kn(B b[2], const bf16 *s, int stride, int lane) {
    uint32_t at = shared_address(s + (lane & 15) * stride + (lane >> 4) * 8);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(b[0].x[0]), "=r"(b[0].x[1]), "=r"(b[1].x[0]), "=r"(b[1].x[1]) : "r"(at));
  }
  static __device__ __forceinline__ uint32_t pack(float x, float y) {
    __nv_bfloat162 both = __floats2bfloat162_rn(x, y);
    return *reinterpret_cast<uint32_t *>(&both);
  }
  // K columns of accumulators as an operand, for the k order of load_b_kn.
  static __device__ __forceinline__ A from_c(const float (*c)[4]) {
    return A{{pack(c[0][0], c[0][1]), pack(c[0][2], c[0][3]), pack(c[1][0], c[1][1]),
              pack(c[1][2], c[1][3])}};
  }
  // Of a function of row and k, for the k order of load_b_kn.
  template <typename F> static __device__ __forceinline__ A gather(int lane, F f) {
    int g = lane >> 2, t = 2 * (lane & 3);
    return A{{pack(f(g, t), f(g, t + 1)), pack(f(g + 8, t), f(g + 8, t + 1)),
              pack(f(g, t + 8), f(g, t + 9)), pack(f(g + 8, t + 8), f(g + 8, t + 9))}};
  }
  static __device__ __forceinline__ void mma(float c[4], const A &a, const B &b) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, "
                 "{%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a.x[0]), "r"(a.x[1]), "r"(a.x[2]), "r"(a.x[3]), "r"(b.x[0]), "r"(b.x[1]));
  }
};

template <> struct Core<float> {
  static constexpr int K = 8;
  static constexpr int PAD = 4;
  // Large and small parts.
  struct A { uint32_t x[4], y[4]; };
  struct B { uint32_t x[2], y[2]; };

  static __device__ __forceinline__ void split(float v, uint32_t &large, uint32_t &small) {
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(large) : "f"(v));
    float rest = v - __uint_as_float(large);
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(small) : "f"(rest));
  }
  static __device__ __forceinline__ A load_a(const float *s, int stride, int lane) {
    const float *p = s + (lane >> 2) * stride + (lane & 3);
    A a;
    split(p[0], a.x[0], a.y[0]);
    split(p[8 * stride], a.x[1], a.y[1]);
    split(p[4], a.x[2], a.y[2]);
    split(p[8 * stride + 4], a.x[3], a.y[3]);
    return a;
  }
  static __device__ __forceinline__ A load_a_kn(const float *s, int stride, int lane) {
    const float *p = s + (lane >> 2) * stride + 2 * (lane & 3);
    A a;
    split(p[0], a.x[0], a.y[0]);
    split(p[8 * stride], a.x[1], a.y[1]);
    split(p[1], a.x[2], a.y[2]);
    split(p[8 * stride + 1], a.x[3], a.y[3]);
    return a;
  }
  static __device__ __forceinline__ void load_b_nk(B b[2], const float *s, int stride, int lane) {
#pragma unroll
    for (int i = 0; i < 2; i++) {
      const float *p = s + (i * 8 + (lane >> 2)) * stride + (lane & 3);
      split(p[0], b[i].x[0], b[i].y[0]);
      split(p[4], b[i].x[1], b[i].y[1]);
    }
  }
  // k = member and member + 4 are rows 2 member and 2 member + 1, as accumulators have them.
  static __device__ __forceinline__ void load_b_kn(B b[2], const float *s, int stride, int lane) {
#pragma unroll
    for (int i = 0; i < 2; i++) {
      const float *p = s + (2 * (lane & 3)) * stride + i * 8 + (lane >> 2);
      split(p[0], b[i].x[0], b[i].y[0]);
      split(p[stride], b[i].x[1], b[i].y[1]);
    }
  }
  static __device__ __forceinline__ A from_c(const float (*c)[4]) {
    A a;
    split(c[0][0], a.x[0], a.y[0]);
    split(c[0][2], a.x[1], a.y[1]);
    split(c[0][1], a.x[2], a.y[2]);
    split(c[0][3], a.x[3], a.y[3]);
    return a;
  }
  template <typename F> static __device__ __forceinline__ A gather(int lane, F f) {
    int g = lane >> 2, t = 2 * (lane & 3);
    A a;
    split(f(g, t), a.x[0], a.y[0]);
    split(f(g + 8, t), a.x[1], a.y[1]);
    split(f(g, t + 1), a.x[2], a.y[2]);
    split(f(g + 8, t + 1), a.x[3], a.y[3]);
    return a;
  }
  static __device__ __forceinline__ void product(float c[4], const uint32_t a[4], const uint32_t b[2]) {
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, "
                 "{%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  }
  static __device__ __forceinline__ void mma(float c[4], const A &a, const B &b) {
    product(c, a.y, b.x);
    product(c, a.x, b.y);
    product(c, a.x, b.x);
  }
};

// 16 bytes on their way to shared memory, or zeros.
__device__ __forceinline__ void fetch(void *to, const void *from, bool there) {
  int bytes = there ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from),
               "r"(bytes));
}
__device__ __forceinline__ void fetched_all() { asm volatile("cp.async.commit_group;"); }
template <int LEFT> __device__ __forceinline__ void wait_fetched() {
  asm volatile("cp.async.wait_group %0;" ::"n"(LEFT));
}

// What the tensor cores, the copies around them and addresses need beyond CUDA C++: a few PTX instructions of compute
// capability 8.0, by names of our own. The emulator has its own version of each.
#pragma once

#ifndef SED_EMULATOR
// `from` (16 bytes of global memory) goes to shared memory, zeros where `inside` is false; it is there after a
// `wait_copies` for the group that the next `commit_copies` closes, and for other threads after a barrier behind that.
__device__ inline void copy_async(void* to, const void* from, bool inside) {
  const unsigned address = (unsigned)__cvta_generic_to_shared(to);
  const int bytes = inside ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from), "r"(bytes) : "memory");
}
__device__ inline void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits for all groups but the last `LEFT`.
template <int LEFT>
__device__ inline void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(LEFT) : "memory");
}

// acc += a * b for a warp: `a` 16 x 16, `b` 16 x 8, `acc` 16 x 8 in f32. With row g = lane / 4 and column
// t = 2 * (lane % 4), a lane holds two neighbouring values in each of a = (g, t), (g + 8, t), (g, t + 8),
// (g + 8, t + 8), of b's column g in rows t and t + 8, and acc = (g, t), (g, t + 1), (g + 8, t), (g + 8, t + 1).
#define SED_MULTIPLY_TILE(type, name)                                                                        \
  __device__ inline void multiply_tile(float (&acc)[4], const unsigned (&a)[4], const unsigned (&b)[2], type) { \
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." name "." name                                      \
                 ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"                      \
                 : "+f"(acc[0]), "+f"(acc[1]), "+f"(acc[2]), "+f"(acc[3])                                    \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));                        \
  }
SED_MULTIPLY_TILE(__nv_bfloat16, "bf16")
SED_MULTIPLY_TILE(__half, "f16")
#undef SED_MULTIPLY_TILE

// Four 8 x 8 matrices from shared memory, each lane's part as `multiply_tile` wants it: `row` of lane l is row l % 8
// (16 bytes) of matrix l / 8. With rows 0..15 of a 16 x 16 tile in lanes 0..15 and their second halves in lanes
// 16..31, `to` is factor `a`; rows of `b` [outputs, k] make its factor.
template <typename T>
__device__ inline void load_matrices(unsigned (&to)[4], const T* row) {
  const unsigned address = (unsigned)__cvta_generic_to_shared(row);
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(address)
               : "memory");
}

// threadIdx.x and blockIdx.x, read again: what is made of them behind a loop does not stay in registers during the
// loop.
__device__ inline int thread_again() {
  int v;
  asm volatile("mov.u32 %0, %%tid.x;" : "=r"(v));
  return v;
}
__device__ inline int block_again() {
  int v;
  asm volatile("mov.u32 %0, %%ctaid.x;" : "=r"(v));
  return v;
}

// a * b in 64 bits. Added to an address it is one instruction; of products that the compiler sees through it makes
// chains of sums of 64 bits, two instructions each.
__device__ inline unsigned long long wide_product(unsigned a, unsigned b) {
  unsigned long long product;
  asm("mul.wide.u32 %0, %1, %2;" : "=l"(product) : "r"(a), "r"(b));
  return product;
}
// Global memory `bytes` behind `at`. The compiler does not take the sum apart again, which it does to share parts of
// several addresses at two more instructions each.
__device__ inline char* moved(void* at, unsigned long long bytes) {
  unsigned long long sum;
  asm("add.u64 %0, %1, %2;" : "=l"(sum) : "l"(__cvta_generic_to_global(at)), "l"(bytes));
  return static_cast<char*>(__cvta_global_to_generic(sum));
}

// max(v, 0) of two values, rounded and packed into 32 bits, the first in the low half; a NaN stays one, and f16's
// range is kept as by `from_float`.
__device__ inline unsigned pack_relu(float low, float high, __nv_bfloat16) {
  unsigned packed;
  asm("cvt.rn.relu.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
}
__device__ inline unsigned pack_relu(float low, float high, __half) {
  unsigned packed;
  // Not `fminf`, which makes 65504 of a NaN.
  const float first = low > 65504.0f ? 65504.0f : low, second = high > 65504.0f ? 65504.0f : high;
  asm("cvt.rn.relu.f16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(second), "f"(first));
  return packed;
}
// 2^v and 1 / v within 2 units in the last place, one instruction each; denormal numbers count as 0.
__device__ inline float fast_exp2(float v) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(v));
  return y;
}
__device__ inline float fast_reciprocal(float v) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(v));
  return y;
}
#endif

// Two values of a 16-bit format in 32 bits, the first in the lower half, rounded as `from_float` does.
template <typename T>
struct Packed;
#ifdef SED_EMULATOR
template <typename T>
struct Packed {
  static unsigned of(float low, float high) {
    const T values[2] = {from_float<T>(low), from_float<T>(high)};
    unsigned bits;
    memcpy(&bits, values, 4);
    return bits;
  }
  static float low(unsigned bits) { return half_of(bits, 0, T()); }
  static float high(unsigned bits) { return half_of(bits, 1, T()); }
};
#else
template <>
struct Packed<__nv_bfloat16> {
  __device__ static unsigned of(float low, float high) {
    const __nv_bfloat162 both = __floats2bfloat162_rn(low, high);
    return *reinterpret_cast<const unsigned*>(&both);
  }
  __device__ static float low(unsigned bits) { return __uint_as_float(bits << 16); }
  __device__ static float high(unsigned bits) { return __uint_as_float(bits & 0xffff0000u); }
};
template <>
struct Packed<__half> {
  __device__ static unsigned of(float low, float high) {
    const __half2 most = __float2half2_rn(65504.0f), least = __float2half2_rn(-65504.0f);
    const __half2 both = __hmax2_nan(__hmin2_nan(__floats2half2_rn(low, high), most), least);
    return *reinterpret_cast<const unsigned*>(&both);
  }
  __device__ static float low(unsigned bits) { return __low2float(*reinterpret_cast<const __half2*>(&bits)); }
  __device__ static float high(unsigned bits) { return __high2float(*reinterpret_cast<const __half2*>(&bits)); }
};
#endif

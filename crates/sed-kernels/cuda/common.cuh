// Shared by all kernels: storage types, reductions, and how a kernel gets its name.
//
// Tensors are contiguous and channels-last. A kernel exists for every storage type (f32, bf16, f16);
// sums are f32 whatever the storage. Vectors of weights (bias, norm, scale) are always f32.
#pragma once

#ifdef SED_EMULATOR
#include "emulator/emulator.h"
#else
#include <cuda_bf16.h>
#include <cuda_fp16.h>

// Nothing to register: the driver finds kernels by name.
#define SED_REGISTER(name)
// `count` values shared by the block, aligned for accesses of 16 bytes; uninitialised.
#define SED_SHARED(type, name, count) __shared__ __align__(16) type name[count]
// All of the launch's dynamic shared memory as values of one type.
#define SED_DYNAMIC_SHARED(type, name)                                                                       \
  extern __shared__ __align__(16) unsigned char sed_dynamic_shared[];                                        \
  type* name = reinterpret_cast<type*>(sed_dynamic_shared)
#endif

// Exports template kernel `name<T>` as `name_f32`, `name_bf16` and `name_f16`. The bounded ones are for blocks of up to
// `threads` threads: the compiler keeps to the registers that so many have, so that every such launch starts. Blocks of 256
// threads, the most that all others have, start with any number of registers.
#define SED_KERNEL_AS(qualifier, name, suffix, type, parameters, arguments)                                  \
  extern "C" __global__ void qualifier name##_##suffix parameters(type) { name<type> arguments; }            \
  SED_REGISTER(name##_##suffix)
#define SED_KERNEL_OF(name, suffix, type, parameters, arguments)                                             \
  SED_KERNEL_AS(, name, suffix, type, parameters, arguments)
#define SED_KERNEL(name, parameters, arguments)                                                              \
  SED_KERNEL_OF(name, f32, float, parameters, arguments)                                                     \
  SED_KERNEL_OF(name, bf16, __nv_bfloat16, parameters, arguments)                                            \
  SED_KERNEL_OF(name, f16, __half, parameters, arguments)
#define SED_KERNEL_BOUNDED(name, threads, parameters, arguments)                                             \
  SED_KERNEL_AS(__launch_bounds__(threads), name, f32, float, parameters, arguments)                         \
  SED_KERNEL_AS(__launch_bounds__(threads), name, bf16, __nv_bfloat16, parameters, arguments)                \
  SED_KERNEL_AS(__launch_bounds__(threads), name, f16, __half, parameters, arguments)

constexpr int WARP = 32;
constexpr unsigned ALL_LANES = 0xffffffffu;

__device__ inline float to_float(float v) { return v; }
__device__ inline float to_float(__nv_bfloat16 v) { return __bfloat162float(v); }
__device__ inline float to_float(__half v) { return __half2float(v); }

template <typename T>
__device__ inline T from_float(float v);
template <>
__device__ inline float from_float<float>(float v) {
  return v;
}
template <>
__device__ inline __nv_bfloat16 from_float<__nv_bfloat16>(float v) {
  return __float2bfloat16(v);
}
// Values beyond f16's range become its largest, so that one large value does not turn a norm into NaN; a
// NaN stays one.
template <>
__device__ inline __half from_float<__half>(float v) {
  return __float2half(v > 65504.0f ? 65504.0f : v < -65504.0f ? -65504.0f : v);
}

// The sum over the lanes of a warp, in every lane, always in the same order.
__device__ inline float warp_sum(float v) {
  for (int step = WARP / 2; step > 0; step /= 2) v += __shfl_xor_sync(ALL_LANES, v, step);
  return v;
}
__device__ inline float warp_max(float v) {
  for (int step = WARP / 2; step > 0; step /= 2) v = fmaxf(v, __shfl_xor_sync(ALL_LANES, v, step));
  return v;
}

// Not `fmaxf`, which makes 0 of a NaN: a fault must be seen at the end.
__device__ inline float relu(float v) { return v < 0.0f ? 0.0f : v; }

__device__ inline float logistic(float v) { return 1.0f / (1.0f + expf(-v)); }

// What follows a sum; the numbers are those of `activation` in Rust (cuda/epilogue.rs).
enum Activation { NONE = 0, RELU = 1, GELU = 2 };

__device__ inline float activate(float v, int activation) {
  if (activation == RELU) return relu(v);
  if (activation == GELU) return 0.5f * v * (1.0f + erff(v * 0.70710678f)); // exact form
  return v;
}

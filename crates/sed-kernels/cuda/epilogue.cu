// GELU and a sum behind a matrix product, and other maps of single values.
#include "common.cuh"

// The share of the normal distribution below `x`, as what is stored in 16 bits needs it: within 3e-7 everywhere. A
// polynomial in x^2 - 12.5 times x, fitted for the least largest error over |x| <= 5; beyond, the sum leaves [0, 1] at
// the right end and is cut off. A NaN becomes 0.
__device__ inline float normal_share(float x) {
  const float v = fmaf(x, x, -12.5f);
  float p = 4.18310265e-17f;
  p = fmaf(p, v, -1.38578592e-15f);
  p = fmaf(p, v, 1.84986405e-14f);
  p = fmaf(p, v, -3.60451388e-13f);
  p = fmaf(p, v, 1.07550071e-11f);
  p = fmaf(p, v, -2.34133157e-10f);
  p = fmaf(p, v, 4.29973568e-09f);
  p = fmaf(p, v, -7.6246728e-08f);
  p = fmaf(p, v, 1.28787121e-06f);
  p = fmaf(p, v, -2.0706615e-05f);
  p = fmaf(p, v, 0.000329731352f);
  p = fmaf(p, v, -0.00562370243f);
  p = fmaf(p, v, 0.141363785f);
  return __saturatef(fmaf(p, x, 0.5f));
}

template <typename T>
struct alignas(16) Eight {
  T v[8];
};
// Value `i` of eight. Of a word with two bf16 the upper is a float once the lower is masked: one instruction, where
// the conversion of a single value takes two.
template <typename T>
__device__ inline float value_of(const Eight<T>& x, int i) {
  return to_float(x.v[i]);
}
__device__ inline float value_of(const Eight<__nv_bfloat16>& x, int i) {
  unsigned bits;
  memcpy(&bits, &x.v[i & ~1], sizeof bits);
  bits = i % 2 == 0 ? bits << 16 : bits & 0xffff0000u;
  float v;
  memcpy(&v, &bits, sizeof v);
  return v;
}

// GELU in its exact form. It is nearer to 0 than `v`, so that f16 needs no bounds as `from_float` has.
__device__ inline float gelu_of(float v, float) { return activate(v, GELU); }
__device__ inline __half gelu_of(float v, __half) { return __float2half(v * normal_share(v)); }
__device__ inline __nv_bfloat16 gelu_of(float v, __nv_bfloat16) { return __float2bfloat16(v * normal_share(v)); }

struct Gelu {
  template <typename T>
  __device__ T operator()(float v) const { return gelu_of(v, T()); }
};
struct Relu {
  template <typename T>
  __device__ T operator()(float v) const { return from_float<T>(relu(v)); }
};

// x = f(x) in place: `groups` times eight values, which start at a multiple of 16 bytes, and `rest` more, fewer than
// eight. With `live` (not null) only *live times `each` groups. A thread has a group, or one value of the rest.
// Floor: the values read and written.
template <typename F, typename T>
__device__ inline void activated(const unsigned* live, T* x, int groups, int rest, int each) {
  const F f;
  const int group = blockIdx.x * blockDim.x + threadIdx.x;
  if (live != nullptr) groups = min(groups, (int)*live * each);
  if (group < groups) {
    const Eight<T> from = reinterpret_cast<const Eight<T>*>(x)[group];
    Eight<T> to;
#pragma unroll
    for (int i = 0; i < 8; i++) to.v[i] = f.template operator()<T>(value_of(from, i));
    reinterpret_cast<Eight<T>*>(x)[group] = to;
  } else if (group - groups < rest) {
    T* const one = x + (long long)groups * 8 + (group - groups);
    *one = f.template operator()<T>(to_float(*one));
  }
}
#define PARAMETERS(T) (const unsigned* live, T* x, int groups, int rest, int each)
#define ARGUMENTS (live, x, groups, rest, each)
template <typename T>
__device__ void gelu PARAMETERS(T) {
  activated<Gelu> ARGUMENTS;
}
template <typename T>
__device__ void relu_in_place PARAMETERS(T) {
  activated<Relu> ARGUMENTS;
}
SED_KERNEL(gelu, PARAMETERS, ARGUMENTS)
SED_KERNEL(relu_in_place, PARAMETERS, ARGUMENTS)
#undef PARAMETERS
#undef ARGUMENTS

// x += addend: `groups` times eight values, which start at multiples of 16 bytes in both, and `rest` more. With `live`
// (not null) only the first *live times `each` values count; what is added behind them counts for nothing. A thread has a
// group, or one value of the rest. Floor: both read, one written.
template <typename T>
__device__ void add(const unsigned* live, const T* addend, T* x, int groups, int rest, int each) {
  const int group = blockIdx.x * blockDim.x + threadIdx.x;
  const long long at = group < groups ? group * 8LL : groups * 8LL + (group - groups);
  if (group - groups >= rest || (live != nullptr && at >= (long long)*live * each)) return;
  if (group < groups) {
    Eight<T> sum = reinterpret_cast<const Eight<T>*>(x)[group];
    const Eight<T> more = reinterpret_cast<const Eight<T>*>(addend)[group];
#pragma unroll
    for (int i = 0; i < 8; i++) sum.v[i] = from_float<T>(value_of(sum, i) + value_of(more, i));
    reinterpret_cast<Eight<T>*>(x)[group] = sum;
  } else {
    x[at] = from_float<T>(to_float(x[at]) + to_float(addend[at]));
  }
}
#define PARAMETERS(T) (const unsigned* live, const T* addend, T* x, int groups, int rest, int each)
SED_KERNEL(add, PARAMETERS, (live, addend, x, groups, rest, each))
#undef PARAMETERS

// y = 1 / (1 + e^-x); the values of x that are not finite are added to counts[counter] (`counts` may be null).
// Floor: `values` read and written.
template <typename T>
__device__ void sigmoid(const T* x, T* y, long long values, unsigned* counts, int counter) {
  const long long at = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (at >= values) return;
  const float v = to_float(x[at]);
  y[at] = from_float<T>(logistic(v));
  if (counts != nullptr && !(fabsf(v) < INFINITY)) atomicAdd(counts + counter, 1u);
}
#define PARAMETERS(T) (const T* x, T* y, long long values, unsigned* counts, int counter)
SED_KERNEL(sigmoid, PARAMETERS, (x, y, values, counts, counter))
#undef PARAMETERS

// Scales every row of `x` [rows, columns] to length 1; rows shorter than 1e-12 are divided by that. One warp
// for each row. Floor: `x` read and written.
template <typename T>
__device__ void normalise_rows(const T* x, T* y, long long rows, int columns) {
  const int lane = threadIdx.x % WARP;
  const long long row = (long long)blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP;
  if (row >= rows) return; // whole warps leave
  float squares = 0.0f;
  for (int c = lane; c < columns; c += WARP) {
    const float v = to_float(x[row * columns + c]);
    squares += v * v;
  }
  const float length = sqrtf(warp_sum(squares));
  const float scale = 1.0f / (length < 1e-12f ? 1e-12f : length); // `fmaxf` makes a number of NaN
  for (int c = lane; c < columns; c += WARP) {
    y[row * columns + c] = from_float<T>(to_float(x[row * columns + c]) * scale);
  }
}
#define PARAMETERS(T) (const T* x, T* y, long long rows, int columns)
SED_KERNEL(normalise_rows, PARAMETERS, (x, y, rows, columns))
#undef PARAMETERS

// y[i] = the `width` values at addresses[i], memory of this device: `addresses` [count], `y` [count, width]. Blocks:
// (parts of a row, rows). Floor: count * width values read and written.
template <typename T>
__device__ void stack(const long long* addresses, T* y, long long width) {
  const long long at = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (at < width) y[blockIdx.y * width + at] = reinterpret_cast<const T*>(addresses[blockIdx.y])[at];
}
#define PARAMETERS(T) (const long long* addresses, T* y, long long width)
SED_KERNEL(stack, PARAMETERS, (addresses, y, width))
#undef PARAMETERS

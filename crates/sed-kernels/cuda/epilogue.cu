// The tail of a matrix product, and other maps of single values.
#include "common.cuh"

// y = first + second + scale * activation(x + bias), all [rows, columns]; bias, scale [columns]. Anything but
// `x` may be absent (null). Threads take WIDTH neighbouring columns.
template <int WIDTH, typename T>
__device__ void epilogue_of_width(const T* x, const float* bias, const float* scale, const T* first,
                                  const T* second, T* y, long long values, int columns, int activation) {
  const long long at = ((long long)blockIdx.x * blockDim.x + threadIdx.x) * WIDTH;
  if (at >= values) return;
  const int column = at % columns;
  struct alignas(WIDTH * sizeof(T)) Group {
    T v[WIDTH];
  };
  const Group in = *reinterpret_cast<const Group*>(x + at);
  Group out, one = in, two = in;
  if (first != nullptr) one = *reinterpret_cast<const Group*>(first + at);
  if (second != nullptr) two = *reinterpret_cast<const Group*>(second + at);
#pragma unroll
  for (int i = 0; i < WIDTH; i++) {
    float v = to_float(in.v[i]);
    if (bias != nullptr) v += bias[column + i];
    v = activate(v, activation);
    if (scale != nullptr) v *= scale[column + i];
    if (first != nullptr) v += to_float(one.v[i]);
    if (second != nullptr) v += to_float(two.v[i]);
    out.v[i] = from_float<T>(v);
  }
  *reinterpret_cast<Group*>(y + at) = out;
}

// `epilogue4` is for columns that are a multiple of 4.
// Floor: every tensor given read once, `y` written once.
#define PARAMETERS(T)                                                                                        \
  (const T* x, const float* bias, const float* scale, const T* first, const T* second, T* y,                 \
   long long values, int columns, int activation)
#define ARGUMENTS (x, bias, scale, first, second, y, values, columns, activation)
template <typename T>
__device__ void epilogue PARAMETERS(T) {
  epilogue_of_width<1> ARGUMENTS;
}
template <typename T>
__device__ void epilogue4 PARAMETERS(T) {
  epilogue_of_width<4> ARGUMENTS;
}
SED_KERNEL(epilogue, PARAMETERS, ARGUMENTS)
SED_KERNEL(epilogue4, PARAMETERS, ARGUMENTS)
#undef PARAMETERS
#undef ARGUMENTS

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

// y[i] = x[rows[i]]: `x` [.., width], `rows` [count], `y` [count, width]. Blocks: (parts of a row, rows).
// Floor: count * width values read and written.
template <typename T>
__device__ void gather_rows(const T* x, const unsigned* rows, T* y, long long width) {
  const long long at = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (at < width) y[blockIdx.y * width + at] = x[rows[blockIdx.y] * width + at];
}
#define PARAMETERS(T) (const T* x, const unsigned* rows, T* y, long long width)
SED_KERNEL(gather_rows, PARAMETERS, (x, rows, y, width))
#undef PARAMETERS

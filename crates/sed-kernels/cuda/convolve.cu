// Square convolutions, zero-padded, as products whose left side is gathered on the way into shared memory: no
// patch is ever written to global memory. Plain f32 multiply-adds, so this is bound by the FMA units.
#include "common.cuh"

// Steps of k that are in shared memory together.
constexpr int CONVOLVE_STEPS = 16;
// Added to the rows of the left tile, so that the lanes of a store do not share their banks.
constexpr int CONVOLVE_PAD = 4;

// An input `x` [images, height, width, channels] and its weights [size * size * channels, outputs].
template <typename T>
struct Source {
  const T* x;
  const T* weight;
  int height, width, channels, size;
};

// The output pixels of a block's tile, which are consecutive in [images, height, width].
struct Pixel {
  int image, y, x;
};
__device__ inline Pixel pixel_of(long long index, int height, int width) {
  const int in_image = index % ((long long)height * width);
  return {(int)(index / ((long long)height * width)), in_image / width, in_image % width};
}

// Adds a source's share to a thread's 4 x 4 outputs. `origin[i]` is the input pixel under the first tap for the
// rows that the thread loads; image -1 stands for a row that does not exist.
template <int ROWS, int COLUMNS, int LOADS, typename T>
__device__ void accumulate(float (&acc)[4][4], const Source<T>& source, const Pixel (&origin)[LOADS],
                           float* left, float* right, int first_output, int outputs) {
  constexpr int THREADS = ROWS * COLUMNS / 16;
  constexpr int STRIDE = ROWS + CONVOLVE_PAD;
  const int t = threadIdx.x;
  const int step = t % CONVOLVE_STEPS;
  const int k_end = source.size * source.size * source.channels;
  for (int k0 = 0; k0 < k_end; k0 += CONVOLVE_STEPS) {
    const int k = k0 + step;
    const int tap = k / source.channels, channel = k % source.channels;
    const int ty = tap / source.size, tx = tap % source.size;
#pragma unroll
    for (int i = 0; i < LOADS; i++) {
      const int y = origin[i].y + ty, x = origin[i].x + tx;
      const bool inside = k < k_end && origin[i].image >= 0 && y >= 0 && y < source.height && x >= 0 &&
                          x < source.width;
      const long long at =
          (((long long)origin[i].image * source.height + y) * source.width + x) * source.channels + channel;
      left[step * STRIDE + t / CONVOLVE_STEPS + i * (THREADS / CONVOLVE_STEPS)] =
          inside ? to_float(source.x[at]) : 0.0f;
    }
    for (int i = t; i < CONVOLVE_STEPS * COLUMNS; i += THREADS) {
      const int row = k0 + i / COLUMNS, column = first_output + i % COLUMNS;
      right[i] = row < k_end && column < outputs ? to_float(source.weight[(long long)row * outputs + column]) : 0.0f;
    }
    __syncthreads();
    const float* a = left + t / (COLUMNS / 4) * 4;
    const float* b = right + t % (COLUMNS / 4) * 4;
#pragma unroll
    for (int s = 0; s < CONVOLVE_STEPS; s++) {
      const float4 a4 = *reinterpret_cast<const float4*>(a + s * STRIDE);
      const float4 b4 = *reinterpret_cast<const float4*>(b + s * COLUMNS);
      const float av[4] = {a4.x, a4.y, a4.z, a4.w}, bv[4] = {b4.x, b4.y, b4.z, b4.w};
#pragma unroll
      for (int r = 0; r < 4; r++) {
#pragma unroll
        for (int c = 0; c < 4; c++) acc[r][c] += av[r] * bv[c];
      }
    }
    __syncthreads();
  }
}

// y = activation(conv(x) + conv(x2) + bias + guide[guide_of[image]]), `y` [images, step * height, step * width,
// outputs]. With `step` 1, `x` [images, height, width, channels] is read through an odd `size` in place. With
// `step` 2, output pixels of each of four phases (y % 2, x % 2) have weights of their own, [4, size^2 * channels,
// outputs]: a transposed convolution (size 1) or one folded into the convolution behind it (size 2, the window
// starts at y - 1 + phase). `x2` [images, step * height, step * width, channels2] is read in place through an odd
// `size2`. `bias` [kinds, outputs]: one, or 16 of which a pixel has the one of the edges that it lies on (1 top, 2
// bottom, 4 left, 8 right). `guide` [.., step * height, step * width, outputs], of which `guide_of` names an image's.
// `live` [1]: images that count. `x2`, `bias`, `guide`, `live` may be null. Blocks: (tiles of ROWS pixels of x, tiles
// of COLUMNS outputs, phases). Floor: 2 * size^2 * channels FLOP an output value (and the same of x2).
template <int ROWS, int COLUMNS, typename T>
__device__ void convolve_tile(const T* x, const T* weight, const T* x2, const T* weight2, const float* bias,
                              const T* guide, const unsigned* guide_of, const unsigned* live, T* y, int images,
                              int height, int width, int channels, int size, int channels2, int size2, int outputs,
                              int step, int kinds, int activation) {
  if (live != nullptr && (long long)blockIdx.x * ROWS >= (long long)*live * height * width) return;
  constexpr int THREADS = ROWS * COLUMNS / 16;
  constexpr int LOADS = ROWS * CONVOLVE_STEPS / THREADS;
  SED_SHARED(float, left, CONVOLVE_STEPS * (ROWS + CONVOLVE_PAD));
  SED_SHARED(float, right, CONVOLVE_STEPS * COLUMNS);
  const int phase_y = blockIdx.z / step, phase_x = blockIdx.z % step;
  const long long pixels = (long long)images * height * width;
  const long long first = (long long)blockIdx.x * ROWS;
  const int first_output = blockIdx.y * COLUMNS;
  float acc[4][4] = {};
  Pixel origin[LOADS];
#pragma unroll
  for (int i = 0; i < LOADS; i++) {
    const long long m = first + threadIdx.x / CONVOLVE_STEPS + i * (THREADS / CONVOLVE_STEPS);
    origin[i] = pixel_of(m, height, width);
    origin[i].y += step == 1 ? -(size / 2) : size == 2 ? phase_y - 1 : 0;
    origin[i].x += step == 1 ? -(size / 2) : size == 2 ? phase_x - 1 : 0;
    if (m >= pixels) origin[i].image = -1;
  }
  const T* phase_weight = weight + (long long)blockIdx.z * size * size * channels * outputs;
  accumulate<ROWS, COLUMNS, LOADS, T>(acc, {x, phase_weight, height, width, channels, size}, origin, left, right,
                                      first_output, outputs);
  if (x2 != nullptr) {
#pragma unroll
    for (int i = 0; i < LOADS; i++) {
      const long long m = first + threadIdx.x / CONVOLVE_STEPS + i * (THREADS / CONVOLVE_STEPS);
      origin[i] = pixel_of(m, height, width);
      origin[i].y = origin[i].y * step + phase_y - size2 / 2;
      origin[i].x = origin[i].x * step + phase_x - size2 / 2;
      if (m >= pixels) origin[i].image = -1;
    }
    accumulate<ROWS, COLUMNS, LOADS, T>(acc, {x2, weight2, step * height, step * width, channels2, size2}, origin,
                                        left, right, first_output, outputs);
  }
#pragma unroll
  for (int r = 0; r < 4; r++) {
    const long long m = first + threadIdx.x / (COLUMNS / 4) * 4 + r;
    if (m >= pixels) continue;
    const Pixel p = pixel_of(m, height, width);
    const long long in_image = ((long long)p.y * step + phase_y) * step * width + p.x * step + phase_x;
    const long long size_of_image = (long long)step * height * step * width;
    const int row = p.y * step + phase_y, column = p.x * step + phase_x;
    const int on_edges = (row == 0) | (row == step * height - 1) << 1 | (column == 0) << 2 |
                         (column == step * width - 1) << 3;
    const int kind = kinds > 1 ? on_edges : 0;
#pragma unroll
    for (int c = 0; c < 4; c++) {
      const int o = first_output + threadIdx.x % (COLUMNS / 4) * 4 + c;
      if (o >= outputs) continue;
      float v = acc[r][c];
      if (bias != nullptr) v += bias[kind * outputs + o];
      if (guide != nullptr) v += to_float(guide[(guide_of[p.image] * size_of_image + in_image) * outputs + o]);
      y[(p.image * size_of_image + in_image) * outputs + o] = from_float<T>(activate(v, activation));
    }
  }
}

#define CONVOLVE_PARAMETERS(T)                                                                               \
  (const T* x, const T* weight, const T* x2, const T* weight2, const float* bias, const T* guide,            \
   const unsigned* guide_of, const unsigned* live, T* y, int images, int height, int width, int channels,    \
   int size, int channels2, int size2, int outputs, int step, int kinds, int activation)
#define CONVOLVE_ARGUMENTS                                                                                   \
  (x, weight, x2, weight2, bias, guide, guide_of, live, y, images, height, width, channels, size, channels2, \
   size2, outputs, step, kinds, activation)

// For more than 32, at most 32 and at most 16 outputs: 256, 256 and 128 threads.
template <typename T>
__device__ void convolve64 CONVOLVE_PARAMETERS(T) {
  convolve_tile<64, 64> CONVOLVE_ARGUMENTS;
}
template <typename T>
__device__ void convolve32 CONVOLVE_PARAMETERS(T) {
  convolve_tile<128, 32> CONVOLVE_ARGUMENTS;
}
template <typename T>
__device__ void convolve16 CONVOLVE_PARAMETERS(T) {
  convolve_tile<128, 16> CONVOLVE_ARGUMENTS;
}
SED_KERNEL(convolve64, CONVOLVE_PARAMETERS, CONVOLVE_ARGUMENTS)
SED_KERNEL(convolve32, CONVOLVE_PARAMETERS, CONVOLVE_ARGUMENTS)
SED_KERNEL(convolve16, CONVOLVE_PARAMETERS, CONVOLVE_ARGUMENTS)

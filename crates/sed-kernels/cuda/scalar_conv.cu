// Convolutions to one channel: the decoder's heads.
#include "common.cuh"

// `x` [images, height, width, channels] to `y` [images, height, width] in f32, zero-padded, odd `size`. There
// is one kernel in `kernels` [kinds, size, size, channels], or 16 of them with their `biases` [kinds]: the kernel
// of a pixel is then chosen by the edges it lies on (1 top, 2 bottom, 4 left, 8 right). One warp for each pixel,
// whose lanes share the taps of a kernel row, which are neighbours in memory. Blocks: (pixels, images).
// Floor: 2 * size^2 * channels FLOP a pixel.
template <typename T>
__device__ void scalar_conv(const T* x, const float* kernels, const float* biases, float* y, int height, int width,
                            int channels, int size, int kinds) {
  const int lane = threadIdx.x % WARP;
  const int pixel = blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP;
  if (pixel >= height * width) return; // whole warps leave
  const int row = pixel / width, column = pixel % width;
  int kind = 0;
  if (kinds > 1) {
    kind = (row == 0) | (row == height - 1) << 1 | (column == 0) << 2 | (column == width - 1) << 3;
  }
  const float* kernel = kernels + (long long)kind * size * size * channels;
  const int radius = size / 2;
  const int first = max(0, radius - column), end = min(size, width + radius - column);
  const T* image = x + (long long)blockIdx.y * height * width * channels;
  float sum = 0.0f;
  for (int ky = max(0, radius - row); ky < min(size, height + radius - row); ky++) {
    const T* from = image + ((long long)(row + ky - radius) * width + column + first - radius) * channels;
    const float* taps = kernel + (ky * size + first) * channels;
    for (int i = lane; i < (end - first) * channels; i += WARP) sum += to_float(from[i]) * taps[i];
  }
  sum = warp_sum(sum);
  if (lane == 0) y[(long long)blockIdx.y * height * width + pixel] = sum + biases[kind];
}

#define PARAMETERS(T)                                                                                        \
  (const T* x, const float* kernels, const float* biases, float* y, int height, int width, int channels,     \
   int size, int kinds)
SED_KERNEL(scalar_conv, PARAMETERS, (x, kernels, biases, y, height, width, channels, size, kinds))
#undef PARAMETERS

// As `scalar_conv` with a single kernel, for channels in multiples of 8: a thread for each pixel, which reads 8
// channels at a time; the kernel is in dynamic shared memory.
template <typename T>
__device__ void scalar_conv_small(const T* x, const float* kernel, const float* bias, float* y, int height, int width,
                                  int channels, int size) {
  SED_DYNAMIC_SHARED(float, taps);
  for (int i = threadIdx.x; i < size * size * channels; i += blockDim.x) taps[i] = kernel[i];
  __syncthreads();
  const int pixel = blockIdx.x * blockDim.x + threadIdx.x;
  if (pixel >= height * width) return;
  struct alignas(16) Group {
    T v[8];
  };
  const int row = pixel / width, column = pixel % width, radius = size / 2;
  const T* image = x + (long long)blockIdx.y * height * width * channels;
  float sum = *bias;
  for (int ky = max(0, radius - row); ky < min(size, height + radius - row); ky++) {
    for (int kx = max(0, radius - column); kx < min(size, width + radius - column); kx++) {
      const T* from = image + ((long long)(row + ky - radius) * width + column + kx - radius) * channels;
      const float* tap = taps + (ky * size + kx) * channels;
      for (int c = 0; c < channels; c += 8) {
        const Group group = *reinterpret_cast<const Group*>(from + c);
#pragma unroll
        for (int i = 0; i < 8; i++) sum += to_float(group.v[i]) * tap[c + i];
      }
    }
  }
  y[(long long)blockIdx.y * height * width + pixel] = sum;
}

#define PARAMETERS(T)                                                                                        \
  (const T* x, const float* kernel, const float* bias, float* y, int height, int width, int channels, int size)
SED_KERNEL(scalar_conv_small, PARAMETERS, (x, kernel, bias, y, height, width, channels, size))
#undef PARAMETERS

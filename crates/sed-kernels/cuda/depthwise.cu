// Depthwise convolution, stride 1, zero padding, and the layer norm behind it.
#include "common.cuh"

// Output pixels of a block: neighbours in one row, so that a loaded value serves several of them.
constexpr int DEPTHWISE_PIXELS = 8;

// One channel of DEPTHWISE_PIXELS pixels from column `first` on; `x` starts the image's channel 0.
// `weight` is [size, size, channels].
template <int SIZE, typename T>
__device__ void depthwise_channel(const T* x, const float* weight, float bias, float* sums, int channel, int row,
                                  int first, int height, int width, int channels) {
  constexpr int RADIUS = SIZE / 2;
  constexpr int SPAN = DEPTHWISE_PIXELS + SIZE - 1;
#pragma unroll
  for (int i = 0; i < DEPTHWISE_PIXELS; i++) sums[i] = bias;
  for (int ky = 0; ky < SIZE; ky++) {
    const int y = row + ky - RADIUS;
    if (y < 0 || y >= height) continue;
    const T* line = x + (long long)y * width * channels + channel;
    float values[SPAN];
#pragma unroll
    for (int i = 0; i < SPAN; i++) {
      const int column = first + i - RADIUS;
      values[i] = column >= 0 && column < width ? to_float(line[(long long)column * channels]) : 0.0f;
    }
#pragma unroll
    for (int kx = 0; kx < SIZE; kx++) {
      const float w = weight[(ky * SIZE + kx) * channels + channel];
#pragma unroll
      for (int i = 0; i < DEPTHWISE_PIXELS; i++) sums[i] += values[i + kx] * w;
    }
  }
}

// `x` and `y` [images, height, width, channels]; `weight` [SIZE, SIZE, channels]. With `norm_weight`, every
// pixel is normalised over its channels afterwards; dynamic shared memory then holds DEPTHWISE_PIXELS *
// channels floats. Blocks: (column groups, rows, images); threads run over channels.
// Floor: the image read and written once, 2 * SIZE^2 FLOP a value.
template <int SIZE, typename T>
__device__ void depthwise_of_size(const T* x, const float* weight, const float* bias, const float* norm_weight,
                                  const float* norm_bias, T* y, int height, int width, int channels, float eps) {
  SED_DYNAMIC_SHARED(float, tile);
  const int first = blockIdx.x * DEPTHWISE_PIXELS;
  const int row = blockIdx.y;
  const int pixels = min(DEPTHWISE_PIXELS, width - first);
  const long long image = (long long)blockIdx.z * height * width * channels;
  T* out = y + image + ((long long)row * width + first) * channels;
  for (int c = threadIdx.x; c < channels; c += blockDim.x) {
    float sums[DEPTHWISE_PIXELS];
    depthwise_channel<SIZE>(x + image, weight, bias[c], sums, c, row, first, height, width, channels);
#pragma unroll
    for (int i = 0; i < DEPTHWISE_PIXELS; i++) {
      if (norm_weight != nullptr) {
        tile[i * channels + c] = sums[i];
      } else if (i < pixels) {
        out[(long long)i * channels + c] = from_float<T>(sums[i]);
      }
    }
  }
  if (norm_weight == nullptr) return; // the whole grid
  __syncthreads();
  const int lane = threadIdx.x % WARP;
  for (int i = threadIdx.x / WARP; i < pixels; i += blockDim.x / WARP) {
    const float* values = tile + i * channels;
    float sum = 0.0f;
    for (int c = lane; c < channels; c += WARP) sum += values[c];
    const float mean = warp_sum(sum) / channels;
    float squares = 0.0f;
    for (int c = lane; c < channels; c += WARP) {
      const float d = values[c] - mean;
      squares += d * d;
    }
    const float scale = 1.0f / sqrtf(warp_sum(squares) / channels + eps);
    for (int c = lane; c < channels; c += WARP) {
      out[(long long)i * channels + c] =
          from_float<T>((values[c] - mean) * scale * norm_weight[c] + norm_bias[c]);
    }
  }
}

#define PARAMETERS(T)                                                                                        \
  (const T* x, const float* weight, const float* bias, const float* norm_weight, const float* norm_bias,     \
   T* y, int height, int width, int channels, float eps)
#define ARGUMENTS (x, weight, bias, norm_weight, norm_bias, y, height, width, channels, eps)
template <typename T>
__device__ void depthwise3 PARAMETERS(T) {
  depthwise_of_size<3> ARGUMENTS;
}
template <typename T>
__device__ void depthwise5 PARAMETERS(T) {
  depthwise_of_size<5> ARGUMENTS;
}
template <typename T>
__device__ void depthwise7 PARAMETERS(T) {
  depthwise_of_size<7> ARGUMENTS;
}
template <typename T>
__device__ void depthwise9 PARAMETERS(T) {
  depthwise_of_size<9> ARGUMENTS;
}
SED_KERNEL(depthwise3, PARAMETERS, ARGUMENTS)
SED_KERNEL(depthwise5, PARAMETERS, ARGUMENTS)
SED_KERNEL(depthwise7, PARAMETERS, ARGUMENTS)
SED_KERNEL(depthwise9, PARAMETERS, ARGUMENTS)
#undef PARAMETERS
#undef ARGUMENTS

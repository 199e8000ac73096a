// Group norm in three steps: moments of parts of an image (which convolutions on tensor cores take themselves), the
// affine map that they amount to, and applying it (which their successors do themselves). `live` [1] is the number of
// images that count, null for all.
#include "common.cuh"

// Sum over the block, in every thread; `work` holds a value for each warp.
__device__ inline float block_sum(float v, float* work) {
  v = warp_sum(v);
  if (threadIdx.x % WARP == 0) work[threadIdx.x / WARP] = v;
  __syncthreads();
  float sum = 0.0f;
  for (int i = 0; i < (int)blockDim.x / WARP; i++) sum += work[i];
  __syncthreads();
  return sum;
}

// Neighbouring channels that a thread takes at a time; `V` divides the channels of a group.
template <int V, typename T>
struct alignas(V * sizeof(T) < 16 ? V * sizeof(T) : 16) Channels {
  T v[V];
};

// Values, mean and sum of squared deviations of a part of a group, in two passes: `x` [images, pixels, channels],
// `moments` [images, groups, parts, 3]. A part is `part` pixels (the last may be shorter).
// Blocks: (parts, groups, images). Floor: `x` read once (the second pass finds it in the cache).
template <int V, typename T>
__device__ void moments_by(const T* x, const unsigned* live, float* moments, int pixels, int channels, int part) {
  if (live != nullptr && blockIdx.z >= *live) return;
  SED_SHARED(float, work, WARP);
  const int width = channels / gridDim.y, steps = width / V;
  const int first = blockIdx.x * part;
  const int count = min(part, pixels - first) * steps;
  const T* from = x + ((long long)blockIdx.z * pixels + first) * channels + blockIdx.y * width;
  auto read = [&](int i) {
    return *reinterpret_cast<const Channels<V, T>*>(from + (long long)(i / steps) * channels + i % steps * V);
  };
  float sum = 0.0f;
  for (int i = threadIdx.x; i < count; i += blockDim.x) {
    const Channels<V, T> values = read(i);
#pragma unroll
    for (int c = 0; c < V; c++) sum += to_float(values.v[c]);
  }
  const float mean = block_sum(sum, work) / (count * V);
  float squares = 0.0f;
  for (int i = threadIdx.x; i < count; i += blockDim.x) {
    const Channels<V, T> values = read(i);
#pragma unroll
    for (int c = 0; c < V; c++) {
      const float d = to_float(values.v[c]) - mean;
      squares += d * d;
    }
  }
  squares = block_sum(squares, work);
  if (threadIdx.x == 0) {
    float* to = moments + (((long long)blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x) * 3;
    to[0] = (float)(count * V);
    to[1] = mean;
    to[2] = squares;
  }
}
#define PARAMETERS(T) (const T* x, const unsigned* live, float* moments, int pixels, int channels, int part)
#define ARGUMENTS (x, live, moments, pixels, channels, part)
template <typename T>
__device__ void group_norm_moments PARAMETERS(T) {
  moments_by<1> ARGUMENTS;
}
// For groups whose channels are a multiple of 8.
template <typename T>
__device__ void group_norm_moments8 PARAMETERS(T) {
  moments_by<8> ARGUMENTS;
}
SED_KERNEL(group_norm_moments, PARAMETERS, ARGUMENTS)
SED_KERNEL(group_norm_moments8, PARAMETERS, ARGUMENTS)
#undef PARAMETERS
#undef ARGUMENTS

// The affine map of a group: `affine` [images, 2, channels] with scales weight / sqrt(variance + eps) and shifts
// bias - mean * scale, from `moments` [images, groups, parts, 3], whose sums have the same order whatever else is in
// the launch. Blocks: (groups, images). Floor: `moments` read.
template <typename T>
__device__ void group_norm_join(const float* moments, const float* weight, const float* bias, const unsigned* live,
                                T* affine, int parts, int channels, float eps) {
  if (live != nullptr && blockIdx.y >= *live) return;
  SED_SHARED(float, work, WARP);
  const int width = channels / gridDim.x;
  const float* from = moments + ((long long)blockIdx.y * gridDim.x + blockIdx.x) * parts * 3;
  float count = 0.0f, sum = 0.0f, squares = 0.0f;
  for (int i = threadIdx.x; i < parts; i += blockDim.x) {
    count += from[3 * i];
    sum += from[3 * i] * from[3 * i + 1];
  }
  count = block_sum(count, work);
  const float mean = block_sum(sum, work) / count;
  for (int i = threadIdx.x; i < parts; i += blockDim.x) {
    const float d = from[3 * i + 1] - mean;
    squares += from[3 * i + 2] + from[3 * i] * d * d;
  }
  const float inverse = 1.0f / sqrtf(block_sum(squares, work) / count + eps);
  T* to = affine + (long long)blockIdx.y * 2 * channels;
  for (int i = threadIdx.x; i < width; i += blockDim.x) {
    const int channel = blockIdx.x * width + i;
    const float scale = weight[channel] * inverse;
    to[channel] = scale;
    to[channels + channel] = bias[channel] - mean * scale;
  }
}
#define PARAMETERS(T)                                                                                        \
  (const float* moments, const float* weight, const float* bias, const unsigned* live, T* affine, int parts, \
   int channels, float eps)
#define ARGUMENTS (moments, weight, bias, live, affine, parts, channels, eps)
SED_KERNEL_OF(group_norm_join, f32, float, PARAMETERS, ARGUMENTS)
#undef PARAMETERS
#undef ARGUMENTS

// y = max(scale * x + shift, 0) with the `affine` map [images, 2, channels]; `x`, `y` [images, pixels, channels].
// Blocks: (parts of an image, 1, images). Floor: `x` read, `y` written.
template <int V, typename T>
__device__ void norm_relu_by(const T* x, const float* affine, const unsigned* live, T* y, int pixels, int channels,
                             int part) {
  if (live != nullptr && blockIdx.z >= *live) return;
  const int steps = channels / V, first = blockIdx.x * part;
  const int count = min(part, pixels - first) * steps;
  const long long base = ((long long)blockIdx.z * pixels + first) * channels;
  const float* scale = affine + (long long)blockIdx.z * 2 * channels;
  for (int i = threadIdx.x; i < count; i += blockDim.x) {
    const int channel = i % steps * V;
    const long long at = base + (long long)i * V;
    const Channels<V, T> values = *reinterpret_cast<const Channels<V, T>*>(x + at);
    Channels<V, T> out;
#pragma unroll
    for (int c = 0; c < V; c++) {
      out.v[c] = from_float<T>(relu(to_float(values.v[c]) * scale[channel + c] + scale[channels + channel + c]));
    }
    *reinterpret_cast<Channels<V, T>*>(y + at) = out;
  }
}
#define PARAMETERS(T)                                                                                        \
  (const T* x, const float* affine, const unsigned* live, T* y, int pixels, int channels, int part)
#define ARGUMENTS (x, affine, live, y, pixels, channels, part)
template <typename T>
__device__ void group_norm_relu PARAMETERS(T) {
  norm_relu_by<1> ARGUMENTS;
}
template <typename T>
__device__ void group_norm_relu8 PARAMETERS(T) {
  norm_relu_by<8> ARGUMENTS;
}
SED_KERNEL(group_norm_relu, PARAMETERS, ARGUMENTS)
SED_KERNEL(group_norm_relu8, PARAMETERS, ARGUMENTS)
#undef PARAMETERS
#undef ARGUMENTS

// Group norm in three steps: moments of parts of an image, the affine map that they amount to, and applying it.
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

// Mean and sum of squared deviations of a part of a group, in two passes: `x` [images, pixels, channels],
// `moments` [images, groups, parts, 2]. A part is `part` pixels (the last may be shorter).
// Blocks: (parts, groups, images). Floor: `x` read once (the second pass finds it in the cache).
template <int V, typename T>
__device__ void moments_by(const T* x, float* moments, int pixels, int channels, int part) {
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
    float* to = moments + (((long long)blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x) * 2;
    to[0] = mean;
    to[1] = squares;
  }
}
#define PARAMETERS(T) (const T* x, float* moments, int pixels, int channels, int part)
#define ARGUMENTS (x, moments, pixels, channels, part)
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

// y = max((x - mean) / sqrt(variance + eps) * weight + bias, 0) from the moments of all parts, which are joined
// in order by every block for itself (Chan, Golub and LeVeque). Blocks: (parts of an image, groups, images).
// Floor: `x` read, `y` written.
template <int V, typename T>
__device__ void norm_relu_by(const T* x, const float* moments, const float* weight, const float* bias, T* y,
                             int pixels, int channels, int part, float eps) {
  SED_SHARED(float, joined, 2);
  const int width = channels / gridDim.y, steps = width / V;
  const int parts = (pixels + part - 1) / part;
  if (threadIdx.x == 0) {
    const float* from = moments + ((long long)blockIdx.z * gridDim.y + blockIdx.y) * parts * 2;
    float mean = 0.0f, squares = 0.0f, total = 0.0f;
    for (int i = 0; i < parts; i++) {
      const float count = (float)(min(part, pixels - i * part) * width);
      const float delta = from[2 * i] - mean;
      const float share = count / (total + count);
      squares += from[2 * i + 1] + delta * delta * total * share;
      mean += delta * share;
      total += count;
    }
    joined[0] = mean;
    joined[1] = 1.0f / sqrtf(squares / total + eps);
  }
  __syncthreads();
  const float mean = joined[0], scale = joined[1];
  const int first = blockIdx.x * part;
  const int count = min(part, pixels - first) * steps;
  const long long base = ((long long)blockIdx.z * pixels + first) * channels + blockIdx.y * width;
  for (int i = threadIdx.x; i < count; i += blockDim.x) {
    const int in_group = i % steps * V, channel = blockIdx.y * width + in_group;
    const long long at = base + (long long)(i / steps) * channels + in_group;
    const Channels<V, T> values = *reinterpret_cast<const Channels<V, T>*>(x + at);
    Channels<V, T> out;
#pragma unroll
    for (int c = 0; c < V; c++) {
      const float v = (to_float(values.v[c]) - mean) * scale * weight[channel + c] + bias[channel + c];
      out.v[c] = from_float<T>(relu(v));
    }
    *reinterpret_cast<Channels<V, T>*>(y + at) = out;
  }
}
#define PARAMETERS(T)                                                                                        \
  (const T* x, const float* moments, const float* weight, const float* bias, T* y, int pixels, int channels, \
   int part, float eps)
#define ARGUMENTS (x, moments, weight, bias, y, pixels, channels, part, eps)
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

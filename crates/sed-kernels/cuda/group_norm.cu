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

// Mean and sum of squared deviations of a part of a group, in two passes: `x` [images, pixels, channels],
// `moments` [images, groups, parts, 2]. A part is `part` pixels (the last may be shorter).
// Blocks: (parts, groups, images). Floor: `x` read once (the second pass finds it in the cache).
template <typename T>
__device__ void group_norm_moments(const T* x, float* moments, int pixels, int channels, int part) {
  SED_SHARED(float, work, WARP);
  const int width = channels / gridDim.y;
  const int first = blockIdx.x * part;
  const int count = min(part, pixels - first) * width;
  const T* from = x + ((long long)blockIdx.z * pixels + first) * channels + blockIdx.y * width;
  float sum = 0.0f;
  for (int i = threadIdx.x; i < count; i += blockDim.x) {
    sum += to_float(from[(long long)(i / width) * channels + i % width]);
  }
  const float mean = block_sum(sum, work) / count;
  float squares = 0.0f;
  for (int i = threadIdx.x; i < count; i += blockDim.x) {
    const float d = to_float(from[(long long)(i / width) * channels + i % width]) - mean;
    squares += d * d;
  }
  squares = block_sum(squares, work);
  if (threadIdx.x == 0) {
    float* to = moments + (((long long)blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x) * 2;
    to[0] = mean;
    to[1] = squares;
  }
}
#define PARAMETERS(T) (const T* x, float* moments, int pixels, int channels, int part)
SED_KERNEL(group_norm_moments, PARAMETERS, (x, moments, pixels, channels, part))
#undef PARAMETERS

// y = max((x - mean) / sqrt(variance + eps) * weight + bias, 0) from the moments of all parts, which are joined
// in order by every block for itself (Chan, Golub and LeVeque). Blocks: (parts of an image, groups, images).
// Floor: `x` read, `y` written.
template <typename T>
__device__ void group_norm_relu(const T* x, const float* moments, const float* weight, const float* bias, T* y,
                                int pixels, int channels, int part, float eps) {
  SED_SHARED(float, joined, 2);
  const int width = channels / gridDim.y;
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
  const int count = min(part, pixels - first) * width;
  const long long base = ((long long)blockIdx.z * pixels + first) * channels + blockIdx.y * width;
  for (int i = threadIdx.x; i < count; i += blockDim.x) {
    const int c = blockIdx.y * width + i % width;
    const long long at = base + (long long)(i / width) * channels + i % width;
    y[at] = from_float<T>(fmaxf((to_float(x[at]) - mean) * scale * weight[c] + bias[c], 0.0f));
  }
}
#define PARAMETERS(T)                                                                                        \
  (const T* x, const float* moments, const float* weight, const float* bias, T* y, int pixels, int channels, \
   int part, float eps)
SED_KERNEL(group_norm_relu, PARAMETERS, (x, moments, weight, bias, y, pixels, channels, part, eps))
#undef PARAMETERS

// Class attention: linear attention over the categories of an image, for every pixel on its own.
//
// With K' = elu(K) + 1 and Q' = elu(Q) + 1, head by head: sums = (sum K' V^T, sum K') over the pairs of an image,
// attention = Q' . sum(K' V^T) / (Q' . sum(K') + 1e-6). Sums are f32 and go over the pairs in order, so an image
// that comes in parts gets the very same ones.
#include "common.cuh"

// Pairs whose rows are in shared memory together.
constexpr int ATTENTION_PAIRS = 4;

__device__ inline float elu_plus_one(float v) { return v > 0.0f ? v + 1.0f : expf(v); }

// Adds the pairs of every image to its sums: `qkv` [pairs, pixels, 3 * channels] (query, key, value), `bias`
// [3 * channels] still to be added to it, `offsets` [images + 1] says which pairs belong to which image;
// `before` and `after` [images, pixels, depth + 1, channels] with depth = channels / heads: row c holds
// K'[c] * V[e] of every head's value e, the last row K'. `before` may be null. Blocks: (pixels, images), a thread
// for each channel; D >= depth values stay in a thread's registers.
// Floor: keys and values read; 2 * depth FLOP a value.
template <int D, typename T>
__device__ void attention_sums_of(const T* qkv, const float* bias, const unsigned* offsets, const float* before,
                                  float* after, int pixels, int channels, int depth) {
  SED_DYNAMIC_SHARED(float, keys); // [ATTENTION_PAIRS, channels]
  const int t = threadIdx.x;
  const bool active = t < channels;
  const int head = t / depth * depth;
  const long long at = ((long long)blockIdx.y * pixels + blockIdx.x) * (depth + 1) * channels + t;
  float products[D];
#pragma unroll
  for (int c = 0; c < D; c++) {
    products[c] = active && c < depth && before != nullptr ? before[at + (long long)c * channels] : 0.0f;
  }
  float key_sum = active && before != nullptr ? before[at + (long long)depth * channels] : 0.0f;
  const int end = offsets[blockIdx.y + 1];
  for (int first = offsets[blockIdx.y]; first < end; first += ATTENTION_PAIRS) {
    const int count = min(ATTENTION_PAIRS, end - first);
    float values[ATTENTION_PAIRS];
#pragma unroll
    for (int i = 0; i < ATTENTION_PAIRS; i++) {
      values[i] = 0.0f;
      if (active && i < count) {
        const T* row = qkv + ((long long)(first + i) * pixels + blockIdx.x) * 3 * channels;
        keys[i * channels + t] = elu_plus_one(to_float(row[channels + t]) + bias[channels + t]);
        values[i] = to_float(row[2 * channels + t]) + bias[2 * channels + t];
      }
    }
    __syncthreads();
    if (active) {
#pragma unroll
      for (int i = 0; i < ATTENTION_PAIRS; i++) {
        if (i < count) {
          const float* key = keys + i * channels;
          key_sum += key[t];
#pragma unroll
          for (int c = 0; c < D; c++) {
            if (c < depth) products[c] += key[head + c] * values[i];
          }
        }
      }
    }
    __syncthreads();
  }
  if (!active) return;
#pragma unroll
  for (int c = 0; c < D; c++) {
    if (c < depth) after[at + (long long)c * channels] = products[c];
  }
  after[at + (long long)depth * channels] = key_sum;
}

// y = x + attention, `x` and `y` [pairs, pixels, channels], from the sums of each image; the rest as above.
// Floor: queries and `x` read, `y` written; 2 * depth FLOP a value.
template <int D, typename T>
__device__ void attention_apply_of(const T* qkv, const float* bias, const unsigned* offsets, const float* sums,
                                   const T* x, T* y, int pixels, int channels, int depth) {
  SED_DYNAMIC_SHARED(float, shared); // key sums, then queries [ATTENTION_PAIRS, channels]
  float* key_sums = shared;
  float* queries = shared + channels;
  const int t = threadIdx.x;
  const bool active = t < channels;
  const int head = t / depth * depth;
  const long long at = ((long long)blockIdx.y * pixels + blockIdx.x) * (depth + 1) * channels + t;
  float products[D];
#pragma unroll
  for (int c = 0; c < D; c++) {
    products[c] = active && c < depth ? sums[at + (long long)c * channels] : 0.0f;
  }
  if (active) key_sums[t] = sums[at + (long long)depth * channels];
  const int end = offsets[blockIdx.y + 1];
  for (int first = offsets[blockIdx.y]; first < end; first += ATTENTION_PAIRS) {
    const int count = min(ATTENTION_PAIRS, end - first);
    for (int i = 0; active && i < count; i++) {
      const T* row = qkv + ((long long)(first + i) * pixels + blockIdx.x) * 3 * channels;
      queries[i * channels + t] = elu_plus_one(to_float(row[t]) + bias[t]);
    }
    __syncthreads();
    for (int i = 0; active && i < count; i++) {
      const float* query = queries + i * channels + head;
      float sum = 0.0f, norm = 0.0f;
#pragma unroll
      for (int c = 0; c < D; c++) {
        if (c < depth) {
          sum += query[c] * products[c];
          norm += query[c] * key_sums[head + c];
        }
      }
      const long long to = ((long long)(first + i) * pixels + blockIdx.x) * channels + t;
      y[to] = from_float<T>(to_float(x[to]) + sum / (norm + 1e-6f));
    }
    __syncthreads();
  }
}

#define SUMS(T)                                                                                              \
  (const T* qkv, const float* bias, const unsigned* offsets, const float* before, float* after, int pixels,  \
   int channels, int depth)
#define SUMS_ARGUMENTS (qkv, bias, offsets, before, after, pixels, channels, depth)
#define APPLY(T)                                                                                             \
  (const T* qkv, const float* bias, const unsigned* offsets, const float* sums, const T* x, T* y,            \
   int pixels, int channels, int depth)
#define APPLY_ARGUMENTS (qkv, bias, offsets, sums, x, y, pixels, channels, depth)
// Kernels for heads of at most D channels, whose blocks have a thread for each of all channels. Those that need more than the
// 64 registers that each of 1024 threads has are bounded to fewer channels (`most_channels` in Rust).
#define ATTENTION(D, KERNEL)                                                                                 \
  template <typename T>                                                                                      \
  __device__ void attention_sums##D SUMS(T) {                                                                \
    attention_sums_of<D> SUMS_ARGUMENTS;                                                                     \
  }                                                                                                          \
  template <typename T>                                                                                      \
  __device__ void attention_apply##D APPLY(T) {                                                              \
    attention_apply_of<D> APPLY_ARGUMENTS;                                                                   \
  }                                                                                                          \
  KERNEL(attention_sums##D, SUMS, SUMS_ARGUMENTS)                                                            \
  KERNEL(attention_apply##D, APPLY, APPLY_ARGUMENTS)
#define OF_768(name, parameters, arguments) SED_KERNEL_BOUNDED(name, 768, parameters, arguments)
#define OF_512(name, parameters, arguments) SED_KERNEL_BOUNDED(name, 512, parameters, arguments)
ATTENTION(8, SED_KERNEL)
ATTENTION(16, SED_KERNEL)
ATTENTION(32, OF_768)
ATTENTION(64, OF_512)
#undef SUMS
#undef SUMS_ARGUMENTS
#undef APPLY
#undef APPLY_ARGUMENTS
#undef ATTENTION
#undef OF_768
#undef OF_512

// Class attention: linear attention over the categories of an image, for every pixel on its own.
//
// With K' = elu(K) + 1 and Q' = elu(Q) + 1, head by head: sums = (sum K' V^T, sum K') over the pairs of an image,
// attention = Q' . sum(K' V^T) / (Q' . sum(K') + 1e-6). Sums are f32 and go over the pairs in order, so an image
// that comes in parts gets the very same ones.
//
// `qkv` [pairs, pixels, 3 * channels] (query, key, value); `offsets` [images + 1] says which pairs belong to which
// image; sums [images, pixels, depth + 1, channels] with depth = channels / heads: row c holds K'[c] * V[e] of every
// head's value e, the last row K'.
#include "common.cuh"
#include "tensor_core.cuh"

// Pairs whose rows are read together.
constexpr int ATTENTION_PAIRS = 4;
// Warps of a block, few: maps of coarse levels have few blocks. No warp waits for another.
constexpr int ATTENTION_WARPS = 2;
// Channels of a warp, two neighbours for each lane: whole heads of one pixel or of several.
constexpr int ATTENTION_CHANNELS = 2 * WARP;

template <typename T>
struct alignas(2 * sizeof(T)) Two {
  T v[2];
};

template <typename T>
__device__ inline float elu_plus_one(float v) {
  return v > 0.0f ? v + 1.0f : fast_exp2(v * 1.442695041f);
}
template <>
__device__ inline float elu_plus_one<float>(float v) {
  return v > 0.0f ? v + 1.0f : expf(v);
}
template <typename T>
__device__ inline float reciprocal(float v) {
  return fast_reciprocal(v);
}
template <>
__device__ inline float reciprocal<float>(float v) {
  return 1.0f / v;
}

// The channels of a lane.
struct Place {
  int pixel, channel;
  bool active;
  __device__ Place(int pixels, int channels) {
    const int at = blockIdx.x * (ATTENTION_WARPS * ATTENTION_CHANNELS) + threadIdx.x * 2;
    active = at < pixels * channels;
    pixel = at / channels;
    channel = at - pixel * channels;
  }
  // Its place in the sums of this block's image.
  __device__ long long in_sums(int pixels, int channels, int depth) const {
    return ((long long)blockIdx.y * pixels + pixel) * (depth + 1) * channels + channel;
  }
};

// Values of `count` pairs, at most ATTENTION_PAIRS, `stride` apart from one to the next; zeros where there are none.
template <typename T>
__device__ inline void read_pairs(const T* from, int stride, int count, Two<T> (&values)[ATTENTION_PAIRS]) {
#pragma unroll
  for (int i = 0; i < ATTENTION_PAIRS; i++) {
    values[i] = {};
    if (i < count) values[i] = *reinterpret_cast<const Two<T>*>(from + i * (long long)stride);
  }
}

// Adds the pairs of every image to its sums `before` (may be null) and writes them to `after`. Blocks: (parts of
// pixels * channels, images). For heads of D channels.
// Floor: keys and values read; 2 * D FLOP a value.
template <int D, typename T>
__device__ void attention_sums_of(const T* qkv, const unsigned* offsets, const float* before, float* after,
                                  int pixels, int channels) {
  SED_SHARED(float, shared, ATTENTION_WARPS * ATTENTION_PAIRS * ATTENTION_CHANNELS);
  const int lane = threadIdx.x % WARP;
  float* keys = shared + threadIdx.x / WARP * (ATTENTION_PAIRS * ATTENTION_CHANNELS);
  const float* head = keys + lane * 2 / D * D;
  const Place place(pixels, channels);
  const long long at = place.in_sums(pixels, channels, D);
  float products[D + 1][2] = {};
  if (place.active && before != nullptr) {
#pragma unroll
    for (int c = 0; c <= D; c++) {
      const Two<float> sum = *reinterpret_cast<const Two<float>*>(before + at + c * channels);
      products[c][0] = sum.v[0];
      products[c][1] = sum.v[1];
    }
  }
  const int first = offsets[blockIdx.y], stride = pixels * 3 * channels;
  int left = offsets[blockIdx.y + 1] - first;
  const T* from = qkv + (long long)first * stride + place.pixel * 3 * channels + channels + place.channel;
  for (; left > 0; left -= ATTENTION_PAIRS, from += ATTENTION_PAIRS * (long long)stride) {
    Two<T> key[ATTENTION_PAIRS], value[ATTENTION_PAIRS];
    read_pairs(from, stride, place.active ? left : 0, key);
    read_pairs(from + channels, stride, place.active ? left : 0, value);
#pragma unroll
    for (int i = 0; i < ATTENTION_PAIRS; i++) {
      Two<float> own;
#pragma unroll
      for (int e = 0; e < 2; e++) {
        own.v[e] = elu_plus_one<T>(to_float(key[i].v[e]));
        if (i < left) products[D][e] += own.v[e];
      }
      *reinterpret_cast<Two<float>*>(keys + i * ATTENTION_CHANNELS + lane * 2) = own;
    }
    __syncwarp();
#pragma unroll
    for (int i = 0; i < ATTENTION_PAIRS; i++) {
      if (i >= left) break;
      const float v[2] = {to_float(value[i].v[0]), to_float(value[i].v[1])};
#pragma unroll
      for (int c = 0; c < D; c += 4) {
        const float4 k = *reinterpret_cast<const float4*>(head + i * ATTENTION_CHANNELS + c);
#pragma unroll
        for (int e = 0; e < 2; e++) {
          products[c][e] += k.x * v[e];
          products[c + 1][e] += k.y * v[e];
          products[c + 2][e] += k.z * v[e];
          products[c + 3][e] += k.w * v[e];
        }
      }
    }
    __syncwarp(); // the keys are read
  }
  if (!place.active) return;
#pragma unroll
  for (int c = 0; c <= D; c++) {
    *reinterpret_cast<Two<float>*>(after + at + c * channels) = {products[c][0], products[c][1]};
  }
}

// y = x + attention, `x` and `y` [pairs, pixels, channels], from the sums of each image; the rest as above.
// Floor: queries and `x` read, `y` written; 2 * D FLOP a value.
template <int D, typename T>
__device__ void attention_apply_of(const T* qkv, const unsigned* offsets, const float* sums, const T* x, T* y,
                                   int pixels, int channels) {
  SED_SHARED(float, shared, ATTENTION_WARPS * ATTENTION_PAIRS * ATTENTION_CHANNELS);
  const int lane = threadIdx.x % WARP;
  float* queries = shared + threadIdx.x / WARP * (ATTENTION_PAIRS * ATTENTION_CHANNELS);
  const float* head = queries + lane * 2 / D * D;
  const Place place(pixels, channels);
  float products[D + 1][2] = {};
  if (place.active) {
    const float* from = sums + place.in_sums(pixels, channels, D);
#pragma unroll
    for (int c = 0; c <= D; c++) {
      const Two<float> sum = *reinterpret_cast<const Two<float>*>(from + c * channels);
      products[c][0] = sum.v[0];
      products[c][1] = sum.v[1];
    }
  }
  const int first = offsets[blockIdx.y], stride = pixels * channels;
  int left = offsets[blockIdx.y + 1] - first;
  const T* from = qkv + (long long)first * 3 * stride + place.pixel * 3 * channels + place.channel;
  long long to = (long long)first * stride + place.pixel * channels + place.channel;
  for (; left > 0; left -= ATTENTION_PAIRS) {
    Two<T> query[ATTENTION_PAIRS], residual[ATTENTION_PAIRS];
    read_pairs(from, 3 * stride, place.active ? left : 0, query);
    read_pairs(x + to, stride, place.active ? left : 0, residual);
    float norm[ATTENTION_PAIRS];
#pragma unroll
    for (int i = 0; i < ATTENTION_PAIRS; i++) {
      const Two<float> own = {elu_plus_one<T>(to_float(query[i].v[0])), elu_plus_one<T>(to_float(query[i].v[1]))};
      *reinterpret_cast<Two<float>*>(queries + i * ATTENTION_CHANNELS + lane * 2) = own;
      norm[i] = own.v[0] * products[D][0] + own.v[1] * products[D][1];
#pragma unroll
      for (int step = D / 4; step > 0; step /= 2) norm[i] += __shfl_xor_sync(ALL_LANES, norm[i], step);
    }
    __syncwarp();
#pragma unroll
    for (int i = 0; i < ATTENTION_PAIRS; i++) {
      if (i >= left) break;
      float sum[2] = {};
#pragma unroll
      for (int c = 0; c < D; c += 4) {
        const float4 q = *reinterpret_cast<const float4*>(head + i * ATTENTION_CHANNELS + c);
#pragma unroll
        for (int e = 0; e < 2; e++) {
          sum[e] += q.x * products[c][e];
          sum[e] += q.y * products[c + 1][e];
          sum[e] += q.z * products[c + 2][e];
          sum[e] += q.w * products[c + 3][e];
        }
      }
      const float scale = reciprocal<T>(norm[i] + 1e-6f);
      Two<T> out;
#pragma unroll
      for (int e = 0; e < 2; e++) out.v[e] = from_float<T>(to_float(residual[i].v[e]) + sum[e] * scale);
      if (place.active) *reinterpret_cast<Two<T>*>(y + to + i * (long long)stride) = out;
    }
    __syncwarp(); // the queries are read
    from += ATTENTION_PAIRS * 3 * (long long)stride;
    to += ATTENTION_PAIRS * (long long)stride;
  }
}

// The sums for heads of any `depth` up to 64. Blocks: (pixels, images), a thread for each channel, 512 at most.
// Floor: as above.
template <typename T>
__device__ void attention_sums_any(const T* qkv, const unsigned* offsets, const float* before, float* after,
                                   int pixels, int channels, int depth) {
  SED_DYNAMIC_SHARED(float, keys); // [channels]
  const int t = threadIdx.x;
  const bool active = t < channels;
  const int head = t / depth * depth;
  const long long at = ((long long)blockIdx.y * pixels + blockIdx.x) * (depth + 1) * channels + t;
  float products[64], key_sum = active && before != nullptr ? before[at + (long long)depth * channels] : 0.0f;
#pragma unroll
  for (int c = 0; c < 64; c++) {
    products[c] = active && c < depth && before != nullptr ? before[at + (long long)c * channels] : 0.0f;
  }
  for (unsigned pair = offsets[blockIdx.y]; pair < offsets[blockIdx.y + 1]; pair++) {
    const T* row = qkv + ((long long)pair * pixels + blockIdx.x) * 3 * channels;
    const float key = active ? elu_plus_one<T>(to_float(row[channels + t])) : 0.0f;
    const float value = active ? to_float(row[2 * channels + t]) : 0.0f;
    if (active) keys[t] = key;
    key_sum += key;
    __syncthreads();
#pragma unroll
    for (int c = 0; c < 64; c++) {
      if (active && c < depth) products[c] += keys[head + c] * value;
    }
    __syncthreads();
  }
  if (!active) return;
#pragma unroll
  for (int c = 0; c < 64; c++) {
    if (c < depth) after[at + (long long)c * channels] = products[c];
  }
  after[at + (long long)depth * channels] = key_sum;
}

// y = x + attention for heads of any `depth` up to 64. Blocks as those of attention_sums_any. Floor: as above.
template <typename T>
__device__ void attention_apply_any(const T* qkv, const unsigned* offsets, const float* sums, const T* x, T* y,
                                    int pixels, int channels, int depth) {
  SED_DYNAMIC_SHARED(float, shared); // key sums, then queries, [channels] each
  float* queries = shared + channels;
  const int t = threadIdx.x;
  const bool active = t < channels;
  const int head = t / depth * depth;
  const long long at = ((long long)blockIdx.y * pixels + blockIdx.x) * (depth + 1) * channels + t;
  float products[64];
#pragma unroll
  for (int c = 0; c < 64; c++) {
    products[c] = active && c < depth ? sums[at + (long long)c * channels] : 0.0f;
  }
  if (active) shared[t] = sums[at + (long long)depth * channels];
  for (unsigned pair = offsets[blockIdx.y]; pair < offsets[blockIdx.y + 1]; pair++) {
    const long long row = (long long)pair * pixels + blockIdx.x, to = row * channels + t;
    if (active) queries[t] = elu_plus_one<T>(to_float(qkv[row * 3 * channels + t]));
    __syncthreads();
    float sum = 0.0f, norm = 0.0f;
#pragma unroll
    for (int c = 0; c < 64; c++) {
      if (active && c < depth) {
        sum += queries[head + c] * products[c];
        norm += queries[head + c] * shared[head + c];
      }
    }
    if (active) y[to] = from_float<T>(to_float(x[to]) + sum * reciprocal<T>(norm + 1e-6f));
    __syncthreads();
  }
}

#define SUMS(T) (const T* qkv, const unsigned* offsets, const float* before, float* after, int pixels, int channels)
#define SUMS_ARGUMENTS (qkv, offsets, before, after, pixels, channels)
#define APPLY(T)                                                                                             \
  (const T* qkv, const unsigned* offsets, const float* sums, const T* x, T* y, int pixels, int channels)
#define APPLY_ARGUMENTS (qkv, offsets, sums, x, y, pixels, channels)
#define ATTENTION(D)                                                                                         \
  template <typename T>                                                                                      \
  __device__ void attention_sums##D SUMS(T) {                                                                \
    attention_sums_of<D> SUMS_ARGUMENTS;                                                                     \
  }                                                                                                          \
  template <typename T>                                                                                      \
  __device__ void attention_apply##D APPLY(T) {                                                              \
    attention_apply_of<D> APPLY_ARGUMENTS;                                                                   \
  }                                                                                                          \
  SED_KERNEL(attention_sums##D, SUMS, SUMS_ARGUMENTS)                                                        \
  SED_KERNEL(attention_apply##D, APPLY, APPLY_ARGUMENTS)
ATTENTION(4)
ATTENTION(8)
ATTENTION(16)
ATTENTION(32)
#undef SUMS
#undef SUMS_ARGUMENTS
#undef APPLY
#undef APPLY_ARGUMENTS
#undef ATTENTION

#define SUMS_ANY(T)                                                                                          \
  (const T* qkv, const unsigned* offsets, const float* before, float* after, int pixels, int channels, int depth)
#define APPLY_ANY(T)                                                                                         \
  (const T* qkv, const unsigned* offsets, const float* sums, const T* x, T* y, int pixels, int channels,     \
   int depth)
SED_KERNEL_BOUNDED(attention_sums_any, 512, SUMS_ANY, (qkv, offsets, before, after, pixels, channels, depth))
SED_KERNEL_BOUNDED(attention_apply_any, 512, APPLY_ANY, (qkv, offsets, sums, x, y, pixels, channels, depth))
#undef SUMS_ANY
#undef APPLY_ANY

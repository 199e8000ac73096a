// Attention of tokens over their own prefixes, for texts that share prefixes.
#include "common.cuh"

// y = softmax(q . k / sqrt(depth)) . v, head by head, over the keys that a row's chain names. `queries` and `y`
// [rows, width]; `shared` [shared_rows, 2 * width] and `own` [.., 2 * width] hold keys beside values and are
// numbered one after the other; the keys of row r are `keys[starts[r] .. starts[r + 1]]`, at most `longest`. One
// warp for each (row, head); dynamic shared memory holds `longest` scores for each warp.
// Floor: keys and values read once for each (row, key) pair (mostly from the cache); 4 * width FLOP a pair.
template <typename T>
__device__ void prefix_attention(const T* queries, const T* shared, const T* own, const unsigned* starts,
                                 const unsigned* keys, T* y, int rows, int width, int heads, int shared_rows,
                                 int longest) {
  SED_DYNAMIC_SHARED(float, all_scores);
  const int lane = threadIdx.x % WARP;
  const int warp = threadIdx.x / WARP;
  const long long job = (long long)blockIdx.x * (blockDim.x / WARP) + warp;
  if (job >= (long long)rows * heads) return; // whole warps leave
  const int row = job / heads, depth = width / heads, head = job % heads * depth;
  float* scores = all_scores + warp * longest;
  const unsigned* chain = keys + starts[row];
  const int count = starts[row + 1] - starts[row];
  const float scale = 1.0f / sqrtf((float)depth);
  const T* query = queries + (long long)row * width + head;
  float largest = -INFINITY;
  for (int i = 0; i < count; i++) {
    const int key = chain[i];
    const T* at = key < shared_rows ? shared + (long long)key * 2 * width
                                    : own + (long long)(key - shared_rows) * 2 * width;
    float sum = 0.0f;
    for (int d = lane; d < depth; d += WARP) sum += to_float(query[d]) * to_float(at[head + d]);
    const float score = warp_sum(sum) * scale;
    largest = fmaxf(largest, score);
    if (lane == 0) scores[i] = score;
  }
  __syncwarp();
  float sum = 0.0f;
  for (int i = lane; i < count; i += WARP) {
    const float e = expf(scores[i] - largest);
    scores[i] = e;
    sum += e;
  }
  const float inverse = 1.0f / warp_sum(sum); // also a barrier, but scores are read by other lanes:
  __syncwarp();
  for (int d = lane; d < depth; d += WARP) {
    float value = 0.0f;
    for (int i = 0; i < count; i++) {
      const int key = chain[i];
      const T* at = key < shared_rows ? shared + (long long)key * 2 * width
                                      : own + (long long)(key - shared_rows) * 2 * width;
      value += scores[i] * to_float(at[width + head + d]);
    }
    y[(long long)row * width + head + d] = from_float<T>(value * inverse);
  }
}

#define PARAMETERS(T)                                                                                        \
  (const T* queries, const T* shared, const T* own, const unsigned* starts, const unsigned* keys, T* y,      \
   int rows, int width, int heads, int shared_rows, int longest)
SED_KERNEL(prefix_attention, PARAMETERS,
           (queries, shared, own, starts, keys, y, rows, width, heads, shared_rows, longest))
#undef PARAMETERS

// From score maps to the category of every output pixel, without holding categories x height x width.
#include "common.cuh"

// The two inputs around an output coordinate, with their weights.
struct Sample {
  int low, high;
  float low_weight, high_weight;
};

// torch's `area_pixel_compute_source_index`. Rounded as the CPU does, step by step, so that both choose alike.
__device__ inline Sample sample(int index, int outputs, int inputs) {
  const float scale = __fdiv_rn((float)inputs, (float)outputs);
  const float source = fmaxf(__fadd_rn(__fmul_rn(scale, __fadd_rn((float)index, 0.5f)), -0.5f), 0.0f);
  const int low = min((int)source, inputs - 1);
  const float high_weight = __fadd_rn(source, -(float)low);
  return {low, min(low + 1, inputs - 1), __fadd_rn(1.0f, -high_weight), high_weight};
}
__device__ inline float blend(float a, float b, float low, float high) {
  return __fadd_rn(__fmul_rn(low, a), __fmul_rn(high, b));
}

// Settings of each map, and planes of each pixel [height, width]; without planes `scores` is null. `scores`
// is the best score, `runner_up` the best map of another label, the lowest of equals, or 65535 where there is
// none or it is a contrast word's, whose threshold is infinite; `margins` is the best score less the
// runner-up's.
struct Ranked {
  const float* thresholds; // [maps]
  const unsigned* labels;  // [maps]
  __half* scores;
  short* runner_up;
  __half* margins;
};

// `scores` [maps, rows, columns] (0 to 1), of which the first `high` rows and `wide` columns count,
// bilinearly (`align_corners=False`) to [height, width]: `indices` is the best map, the lowest of equals, or
// 65535 below its threshold: `threshold`, or with `RANKED` the map's own. `pixels` [maps] counts each map's
// pixels, those of a contrast word although `indices` is 65535 there, `sums` [maps] their scores in units of
// 2^-32, which makes the sum independent of its order. Both start as zeros. With `shared_counts` != 0, a
// block adds up in dynamic shared memory (12 bytes a map) first. A thread for each output pixel.
template <typename T, bool RANKED>
__device__ inline void upsample(const T* scores, short* indices, unsigned* pixels, long long* sums, int maps,
                                int rows, int columns, int high, int wide, int height, int width,
                                float threshold, int shared_counts, const Ranked& ranked) {
  SED_DYNAMIC_SHARED(unsigned long long, shared_sums);
  unsigned long long* block_sums = shared_sums;
  unsigned* block_pixels = reinterpret_cast<unsigned*>(shared_sums + maps);
  if (shared_counts != 0) {
    for (int i = threadIdx.x; i < maps; i += blockDim.x) {
      block_sums[i] = 0;
      block_pixels[i] = 0;
    }
    __syncthreads();
  }
  const long long at = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (at < (long long)height * width) {
    const Sample v = sample(at / width, height, high), h = sample(at % width, width, wide);
    int best = -1, second = -1;
    float best_score = -INFINITY, second_score = -INFINITY;
    unsigned best_label = 0;
    for (int map = 0; map < maps; map++) {
      const T* top = scores + ((long long)map * rows + v.low) * columns;
      const T* bottom = scores + ((long long)map * rows + v.high) * columns;
      const float upper = blend(to_float(top[h.low]), to_float(top[h.high]), h.low_weight, h.high_weight);
      const float lower = blend(to_float(bottom[h.low]), to_float(bottom[h.high]), h.low_weight, h.high_weight);
      const float score = blend(upper, lower, v.low_weight, v.high_weight);
      if (RANKED) {
        // Of the first map it does not matter: there is no winner yet.
        const bool rival = ranked.labels[map] != best_label;
        if (score > best_score) {
          if (rival) {
            second_score = best_score;
            second = best;
          }
          best_label = ranked.labels[map];
        } else if (rival && score > second_score) {
          second_score = score;
          second = map;
        }
      }
      if (score > best_score) {
        best_score = score;
        best = map;
      }
    }
    const float least = RANKED && best >= 0 ? ranked.thresholds[best] : threshold;
    const bool keep = best >= 0 && best_score >= least;
    indices[at] = (short)(keep ? best : 65535);
    if (keep || (RANKED && best >= 0 && least == INFINITY)) {
      const float score = fminf(fmaxf(best_score, 0.0f), 1.0f);
      const unsigned long long fixed = (unsigned long long)(score * 4294967296.0f);
      atomicAdd(shared_counts != 0 ? block_pixels + best : pixels + best, 1u);
      atomicAdd(shared_counts != 0 ? block_sums + best : reinterpret_cast<unsigned long long*>(sums) + best, fixed);
    }
    if (RANKED && ranked.scores != nullptr) {
      const bool asked = second >= 0 && ranked.thresholds[second] != INFINITY;
      const float score = fmaxf(best_score, 0.0f); // of no map: minus infinity
      ranked.scores[at] = from_float<__half>(score);
      ranked.runner_up[at] = (short)(asked ? second : 65535);
      ranked.margins[at] = from_float<__half>(asked ? __fadd_rn(score, -second_score) : score);
    }
  }
  if (shared_counts == 0) return; // the whole grid
  __syncthreads();
  for (int i = threadIdx.x; i < maps; i += blockDim.x) {
    if (block_pixels[i] != 0) {
      atomicAdd(pixels + i, block_pixels[i]);
      atomicAdd(reinterpret_cast<unsigned long long*>(sums) + i, block_sums[i]);
    }
  }
}

// Winners alone, of maps with one threshold.
// Floor: the scores read once, `indices` written; 6 FLOP for each (map, output pixel).
template <typename T>
__device__ void upsample_argmax(const T* scores, short* indices, unsigned* pixels, long long* sums, int maps,
                                int rows, int columns, int high, int wide, int height, int width,
                                float threshold, int shared_counts) {
  upsample<T, false>(scores, indices, pixels, sums, maps, rows, columns, high, wide, height, width, threshold,
                     shared_counts, {});
}

#define PARAMETERS(T)                                                                                        \
  (const T* scores, short* indices, unsigned* pixels, long long* sums, int maps, int rows, int columns,      \
   int high, int wide, int height, int width, float threshold, int shared_counts)
SED_KERNEL(upsample_argmax, PARAMETERS,
           (scores, indices, pixels, sums, maps, rows, columns, high, wide, height, width, threshold,
            shared_counts))
#undef PARAMETERS

// Winners and second places of maps with labels and thresholds of their own; the planes may be null.
// Floor: as above, and three planes written.
template <typename T>
__device__ void upsample_argmax_ranked(const T* scores, short* indices, unsigned* pixels, long long* sums,
                                       int maps, int rows, int columns, int high, int wide, int height,
                                       int width, int shared_counts, const float* thresholds,
                                       const unsigned* labels, __half* score_plane, short* runner_up,
                                       __half* margins) {
  upsample<T, true>(scores, indices, pixels, sums, maps, rows, columns, high, wide, height, width, 0.0f,
                    shared_counts, {thresholds, labels, score_plane, runner_up, margins});
}

#define PARAMETERS(T)                                                                                        \
  (const T* scores, short* indices, unsigned* pixels, long long* sums, int maps, int rows, int columns,      \
   int high, int wide, int height, int width, int shared_counts, const float* thresholds,                    \
   const unsigned* labels, __half* score_plane, short* runner_up, __half* margins)
SED_KERNEL(upsample_argmax_ranked, PARAMETERS,
           (scores, indices, pixels, sums, maps, rows, columns, high, wide, height, width, shared_counts,
            thresholds, labels, score_plane, runner_up, margins))
#undef PARAMETERS

// The parameters that all convolutions take; convolve.cu says what they mean.
#pragma once

#define CONVOLVE_PARAMETERS(T)                                                                               \
  (const T* x, const T* weight, const T* x2, const T* weight2, const float* bias, const T* guide,            \
   const unsigned* guide_of, T* y, int images, int height, int width, int channels, int size,                \
   int channels2, int size2, int outputs, int step, int activation)
#define CONVOLVE_ARGUMENTS                                                                                   \
  (x, weight, x2, weight2, bias, guide, guide_of, y, images, height, width, channels, size, channels2,       \
   size2, outputs, step, activation)

//! Tensor operations that candle lacks or does slowly, for the CPU and for CUDA.

"""Instruction counts of the CUDA kernels, from their machine code alone: no GPU is needed."""

// Kernels with the mistakes that the emulator is there to find; its tests run them (src/cuda/emulator.rs).

__global__ void fault_write_behind_f32(float* y, int count) {
  if (threadIdx.x == 0) y[count] = 1.0f;
}
SED_REGISTER(fault_write_behind_f32)

__global__ void fault_write_input_f32(const float* x, float* y) {
  y[threadIdx.x] = x[threadIdx.x];
  const_cast<float*>(x)[threadIdx.x] += 1.0f;
}
SED_REGISTER(fault_write_input_f32)

__global__ void fault_barrier_f32(float* y) {
  if (threadIdx.x < 32) __syncthreads();
  y[threadIdx.x] = 0.0f;
}
SED_REGISTER(fault_barrier_f32)

__global__ void fault_lanes_f32(float* y) {
  float v = 1.0f;
  if (threadIdx.x % 32 < 16) v = __shfl_xor_sync(ALL_LANES, v, 1);
  y[threadIdx.x] = v;
}
SED_REGISTER(fault_lanes_f32)

__global__ void fault_write_behind_shared_f32(float* y) {
  SED_SHARED(float, values, 4);
  if (threadIdx.x == 0) values[4] = 1.0f;
  y[threadIdx.x] = 0.0f;
}
SED_REGISTER(fault_write_behind_shared_f32)

// Without the barrier between them, a thread reads what its neighbour has not written: NaN.
__global__ void fault_no_barrier_f32(float* y) {
  SED_SHARED(float, values, 64);
  values[threadIdx.x] = 1.0f;
  y[blockIdx.x * blockDim.x + threadIdx.x] = values[threadIdx.x ^ 32];
}
SED_REGISTER(fault_no_barrier_f32)

// The copy is closed but not waited for: its place still holds NaN.
__global__ void fault_no_wait_f32(const float* x, float* y) {
  SED_SHARED(float, values, 64 * 4);
  copy_async(values + threadIdx.x * 4, x, true);
  commit_copies();
  y[blockIdx.x * blockDim.x + threadIdx.x] = values[threadIdx.x * 4];
}
SED_REGISTER(fault_no_wait_f32)

// What the checks share: declarations of the driver's functions as cudarc calls them, and assertions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

extern "C" {
int cuInit(unsigned);
int cuDriverGetVersion(int*);
int cuDeviceGetCount(int*);
int cuDeviceGetName(char*, int, int);
int cuDeviceGetAttribute(int*, int, int);
int cuDevicePrimaryCtxRetain(void**, int);
int cuCtxSetCurrent(void*);
int cuCtxSynchronize();
int cuMemAlloc_v2(uint64_t*, size_t);
int cuMemFree_v2(uint64_t);
int cuMemAllocAsync(uint64_t*, size_t, void*);
int cuMemFreeAsync(uint64_t, void*);
int cuMemGetInfo_v2(size_t*, size_t*);
int cuMemHostAlloc(void**, size_t, unsigned);
int cuMemFreeHost(void*);
int cuDeviceGetDefaultMemPool(void**, int);
int cuMemPoolSetAttribute(void*, int, void*);
int cuMemPoolGetAttribute(void*, int, void*);
int cuMemPoolTrimTo(void*, size_t);
int cuMemcpyHtoDAsync_v2(uint64_t, const void*, size_t, void*);
int cuMemcpyDtoHAsync_v2(void*, uint64_t, size_t, void*);
int cuMemcpyDtoDAsync_v2(uint64_t, uint64_t, size_t, void*);
int cuMemcpyHtoD_v2(uint64_t, const void*, size_t);
int cuMemcpyDtoH_v2(void*, uint64_t, size_t);
int cuMemsetD8Async(uint64_t, unsigned char, size_t, void*);
int cuStreamCreate(void**, unsigned);
int cuStreamDestroy_v2(void*);
int cuStreamSynchronize(void*);
int cuStreamQuery(void*);
int cuStreamWaitEvent(void*, void*, unsigned);
int cuStreamBeginCapture_v2(void*, int);
int cuStreamIsCapturing(void*, int*);
int cuStreamEndCapture(void*, void**);
int cuGraphInstantiateWithFlags(void**, void*, unsigned long long);
int cuGraphLaunch(void*, void*);
int cuGraphDestroy(void*);
int cuGraphExecDestroy(void*);
int cuLaunchHostFunc(void*, void (*)(void*), void*);
int cuEventCreate(void**, unsigned);
int cuEventDestroy_v2(void*);
int cuEventRecord(void*, void*);
int cuEventQuery(void*);
int cuEventSynchronize(void*);
int cuEventElapsedTime_v2(float*, void*, void*);
int cuModuleLoadData(void**, const void*);
int cuModuleGetFunction(void**, void*, const char*);
int cuLaunchKernel(void*, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void*, void**,
                   void**);
void softwareCudaStage(const char*);
void softwareCudaFault(const char*);

int cublasCreate_v2(void**);
int cublasDestroy_v2(void*);
int cublasSetStream_v2(void*, void*);
int cublasGemmStridedBatchedEx(void*, int, int, int, int, int, const void*, const void*, int, int, long long,
                               const void*, int, int, long long, const void*, void*, int, int, long long, int,
                               int, int);

int cublasLtCreate(void**);
int cublasLtMatmulDescCreate(void**, int, int);
int cublasLtMatmulDescSetAttribute(void*, int, const void*, size_t);
int cublasLtMatrixLayoutCreate(void**, int, uint64_t, uint64_t, int64_t);
int cublasLtMatrixLayoutSetAttribute(void*, int, const void*, size_t);
int cublasLtMatmulPreferenceCreate(void**);
int cublasLtMatmulPreferenceSetAttribute(void*, int, const void*, size_t);
int cublasLtMatmulAlgoGetHeuristic(void*, void*, void*, void*, void*, void*, void*, int, void*, int*);
int cublasLtMatmulAlgoCheck(void*, void*, void*, void*, void*, void*, const void*, void*);
int cublasLtMatmulAlgoConfigGetAttribute(const void*, int, void*, size_t, size_t*);
int cublasLtMatmul(void*, void*, const void*, const void*, void*, const void*, void*, const void*,
                   const void*, void*, void*, void*, const void*, void*, size_t, void*);
}

// Ends the program where two values differ.
#define SAME(got, want) same((got), (want), #got, __FILE__, __LINE__)
#define TRUE(condition) same<int>(!!(condition), 1, #condition, __FILE__, __LINE__)
#define OK(call) SAME(call, 0)

template <typename T>
void same(T got, T want, const char* what, const char* file, int line) {
  if (got == want) return;
  fprintf(stderr, "%s:%d: %s is %s, expected %s\n", file, line, what, std::to_string(got).c_str(),
          std::to_string(want).c_str());
  _Exit(1);
}

// Initialises the driver and makes the context of device `number` current.
inline void open_device(int number = 0) {
  void* context;
  OK(cuInit(0));
  OK(cuDevicePrimaryCtxRetain(&context, number));
  OK(cuCtxSetCurrent(context));
}

inline uint64_t allocate(size_t bytes, void* stream = nullptr) {
  uint64_t address = 0;
  OK(cuMemAllocAsync(&address, bytes, stream));
  return address;
}

template <typename T>
uint64_t upload(const std::vector<T>& values) {
  const uint64_t address = allocate(values.size() * sizeof(T));
  OK(cuMemcpyHtoD_v2(address, values.data(), values.size() * sizeof(T)));
  return address;
}

template <typename T>
std::vector<T> download(uint64_t address, size_t count) {
  std::vector<T> values(count);
  OK(cuMemcpyDtoH_v2(values.data(), address, count * sizeof(T)));
  return values;
}

// One of our kernels, through a module that looks like machine code.
inline void* kernel(const char* name) {
  static const uint32_t image[4] = {0xba55ed50, 0, 0, 0};
  void *module, *function;
  OK(cuModuleLoadData(&module, image));
  OK(cuModuleGetFunction(&function, module, name));
  return function;
}

// y = sigmoid(x) of `count` values, none of them counted.
inline int launch_sigmoid(uint64_t x, uint64_t y, long long count, void* stream = nullptr) {
  static void* function = kernel("sigmoid_f32");
  uint64_t counts = 0;
  int counter = 0;
  void* arguments[] = {&x, &y, &count, &counts, &counter};
  return cuLaunchKernel(function, unsigned((count + 255) / 256), 1, 1, 256, 1, 1, 0, stream, arguments,
                        nullptr);
}

inline std::vector<float> random_values(size_t count, uint32_t seed) {
  std::vector<float> values(count);
  for (float& value : values) {
    seed = seed * 1664525u + 1013904223u;
    value = static_cast<float>(seed >> 8) / 8388608.0f - 1.0f;
  }
  return values;
}

// A little of everything, so that the test compares the ledger that it leaves.
#include <dlfcn.h>

#include "check.h"

int main() {
  open_device();
  auto stage = reinterpret_cast<void (*)(const char*)>(dlsym(RTLD_DEFAULT, "softwareCudaStage"));
  TRUE(stage != nullptr);
  void *stream, *blas, *pinned;
  OK(cuStreamCreate(&stream, 1));
  OK(cublasCreate_v2(&blas));
  OK(cublasSetStream_v2(blas, stream));
  OK(cuMemHostAlloc(&pinned, 4096, 0));
  stage("one \"quoted\"");
  const uint64_t x = allocate(4096, stream), y = allocate(2048, stream);
  float values[16] = {};
  OK(cuMemsetD8Async(x, 0, 4096, stream));
  OK(cuMemcpyHtoDAsync_v2(x, values, sizeof values, stream));
  OK(cuMemcpyHtoDAsync_v2(x, pinned, 4096, stream));
  OK(launch_sigmoid(x + 1024, y, 512, stream));
  const float one = 1, none = 0;
  OK(cublasGemmStridedBatchedEx(blas, 1, 0, 4, 8, 2, &one, (void*)x, 14, 2, 0, (void*)x, 14, 2, 0, &none,
                                (void*)y, 14, 4, 0, 1, 68, 0));
  stage("two");
  OK(cuMemcpyDtoDAsync_v2(y, x, 64, stream));
  OK(cuMemcpyDtoHAsync_v2(values, y, sizeof values, stream));
  OK(cuMemcpyDtoHAsync_v2(pinned, y, 64, stream));
  OK(cuStreamSynchronize(stream));
  OK(cuMemFreeAsync(x, stream));
  OK(cuMemFreeAsync(y, stream));
}

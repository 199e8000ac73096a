// Injected faults: one process for each specification. Prints the first error of each kind of call, so that
// the test compares the line.
//
// faults          with SOFTWARE_CUDA_FAULTS, or with SOFTWARE_CUDA_FAULTS_FILE
// faults SPEC     with a fault that is added while the program runs
#include "check.h"

namespace {

// Status of a call in three rounds, as "0,2,0".
std::string rounds(const std::function<int()>& call) {
  std::string text;
  for (int i = 0; i < 3; i++) text += (i ? "," : "") + std::to_string(call());
  return text;
}

} // namespace

int main(int count, char** arguments) {
  int version = 0;
  const std::string versions = rounds([&] { return cuDriverGetVersion(&version); });
  const int initialised = cuInit(0);
  if (initialised != 0) {
    printf("init=%d\n", initialised);
    return 0;
  }
  open_device();
  if (count > 1) softwareCudaFault(arguments[1]);
  void *blas = nullptr, *module = nullptr;
  static const uint32_t image[4] = {0xba55ed50, 0, 0, 0};
  const char* ptx = ".version 9.0\n.target sm_80\n.address_size 64\n";
  const std::string compiled = rounds([&] { return cuModuleLoadData(&module, ptx); });
  const std::string created = rounds([&] { return cublasCreate_v2(&blas); });
  const std::string modules = rounds([&] { return cuModuleLoadData(&module, image); });
  void* function = nullptr;
  if (module) cuModuleGetFunction(&function, module, "sigmoid_f32");
  uint64_t x = 0, y = 0;
  const std::string plain = rounds([&] { return cuMemAlloc_v2(&x, 4096); });
  const std::string pooled = rounds([&] { return cuMemAllocAsync(&y, 4096, nullptr); });
  const std::string sets = rounds([&] { return cuMemsetD8Async(x, 0, 4096, nullptr); });
  const std::string launches = rounds([&] {
    long long n = 64;
    uint64_t counts = 0;
    int counter = 0;
    void* list[] = {&x, &y, &n, &counts, &counter};
    return function ? cuLaunchKernel(function, 1, 1, 1, 64, 1, 1, 0, nullptr, list, nullptr) : -1;
  });
  const std::string products = rounds([&] {
    const float one = 1, none = 0;
    return cublasGemmStridedBatchedEx(blas, 0, 0, 4, 4, 4, &one, (void*)x, 0, 4, 0, (void*)x, 0, 4, 0, &none,
                                      (void*)y, 0, 4, 0, 1, 68, 0);
  });
  const std::string copies = rounds([&] { return cuMemcpyHtoD_v2(x, &x, 8); });
  const std::string syncs = rounds([&] { return cuCtxSynchronize(); });
  printf(
      "version=%s ptx=%s cublas=%s module=%s plain=%s alloc=%s memset=%s launch=%s product=%s copy=%s "
      "sync=%s\n",
      versions.c_str(), compiled.c_str(), created.c_str(), modules.c_str(), plain.c_str(), pooled.c_str(),
      sets.c_str(), launches.c_str(), products.c_str(), copies.c_str(), syncs.c_str());
}

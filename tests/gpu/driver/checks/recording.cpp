// Recording: nothing is computed, memory costs nothing, and the rejection's survivors are scripted
// (SOFTWARE_CUDA_COMPUTE=off, SOFTWARE_CUDA_SURVIVORS=2,1).
#include <sys/resource.h>

#include "check.h"

namespace {

std::vector<uint32_t> reject() {
  static void* function = kernel("top_k_union_f32");
  uint64_t logits = allocate(11 * 64 * 4), offsets = upload(std::vector<uint32_t>{0, 5, 8, 11});
  uint64_t top_k = upload(std::vector<uint32_t>{1, 0, 2}), kept = allocate(44);
  OK(cuMemsetD8Async(kept, 0, 44, nullptr));
  int pixels = 64;
  void* arguments[] = {&logits, &offsets, &top_k, &kept, &pixels};
  OK(cuLaunchKernel(function, 8, 3, 1, 256, 1, 1, 0, nullptr, arguments, nullptr));
  return download<uint32_t>(kept, 11);
}

} // namespace

int main() {
  open_device();
  std::vector<uint64_t> large;
  for (int i = 0; i < 20; i++) large.push_back(allocate(size_t(3) << 30));
  for (const uint64_t address : large) {
    OK(cuMemsetD8Async(address, 1, size_t(3) << 30, nullptr));
    OK(launch_sigmoid(address, large[0], 1 << 28));
    OK(cuMemFreeAsync(address, nullptr));
    if (address == large[0]) large[0] = large[1];
    if (address == large[1]) break;
  }
  TRUE(reject() == (std::vector<uint32_t>{1, 1, 0, 0, 0, 0, 0, 0, 1, 1, 0}));
  TRUE(reject() == (std::vector<uint32_t>{1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0}));
  TRUE(reject() == (std::vector<uint32_t>{1, 1, 0, 0, 0, 0, 0, 0, 1, 1, 0}));
  struct rusage used;
  getrusage(RUSAGE_SELF, &used);
  TRUE(used.ru_maxrss < 200 * 1024); // KiB
}

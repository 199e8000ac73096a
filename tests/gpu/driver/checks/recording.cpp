// Recording: nothing is computed, memory costs nothing, and the rejection's survivors are scripted
// (SOFTWARE_CUDA_COMPUTE=off, SOFTWARE_CUDA_SURVIVORS=2,1).
#include <sys/resource.h>

#include "check.h"

namespace {

// The table of rows, and where the pairs of each image begin.
std::vector<uint32_t> reject() {
  static void* function = kernel("compact_pairs_f32");
  uint64_t offsets = upload(std::vector<uint32_t>{0, 5, 8, 11}), images = allocate(44), survivors = allocate(44);
  uint64_t top_k = upload(std::vector<uint32_t>{1, 0, 2}), marks = allocate(8 * 3 * 4), after = allocate((11 + 4) * 4);
  uint64_t new_offsets = after + 44, new_images = allocate(44), new_survivors = allocate(44), wanted = allocate(4);
  int image_count = 3, parts = 8, words = 3, capacity = 11, grouped = 0;
  void* arguments[] = {&offsets,    &images,        &survivors, &top_k,       &marks, &after, &new_offsets,
                       &new_images, &new_survivors, &wanted,    &image_count, &parts, &words, &capacity,
                       &grouped};
  OK(cuLaunchKernel(function, 1, 1, 1, 1024, 1, 1, 0, nullptr, arguments, nullptr));
  return download<uint32_t>(after, 15);
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
  const std::vector<uint32_t> two = {0, 1, 5, 6, 7, 8, 9, 0, 0, 0, 0, 0, 2, 5, 7};
  const std::vector<uint32_t> one = {0, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0, 1, 4, 5};
  TRUE(reject() == two);
  TRUE(reject() == one);
  TRUE(reject() == two);
  struct rusage used;
  getrusage(RUSAGE_SELF, &used);
  TRUE(used.ru_maxrss < 200 * 1024); // KiB
}

// Recording: nothing is computed, memory costs nothing, and the rejection's survivors are scripted
// (SOFTWARE_CUDA_COMPUTE=off, SOFTWARE_CUDA_SURVIVORS=2,1).
#include <sys/resource.h>

#include "check.h"

namespace {

// Rows, offsets, images, survivors and count of the pairs that are left of 11, in room for 7.
std::vector<uint32_t> reject() {
  static void* function = kernel("compact_pairs_f32");
  uint64_t offsets = upload(std::vector<uint32_t>{0, 5, 8, 11}), images = allocate(44);
  uint64_t survivors = upload(std::vector<uint32_t>{9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0});
  uint64_t top_k = upload(std::vector<uint32_t>{1, 0, 2}), marks = allocate(400), block = allocate(4 * 26);
  OK(cuMemsetD8Async(block, 0, 4 * 26, nullptr));
  uint64_t rows = block, ends = rows + 28, of = ends + 16, left = of + 28, wanted = left + 28;
  int count = 3, parts = 1, words = 1, capacity = 7, grouped = 0;
  void* arguments[] = {&offsets, &images, &survivors, &top_k, &marks, &rows,     &ends,   &of,
                       &left,    &wanted, &count,     &parts, &words, &capacity, &grouped};
  OK(cuLaunchKernel(function, 1, 1, 1, 1024, 1, 1, 4, nullptr, arguments, nullptr));
  return download<uint32_t>(block, 26);
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
  const std::vector<uint32_t> two = {0, 1, 5, 6, 7, 8, 9, 0, 2, 5, 7, 0, 0, 1, 1, 1, 2, 2, 9, 8, 4, 3, 2, 1, 0, 7};
  TRUE(reject() == two);
  TRUE(reject() == (std::vector<uint32_t>{0, 5, 6, 7, 8, 0, 0, 0, 1, 4, 5, 0, 1, 1, 1, 2, 0, 0, 9, 4, 3, 2, 1, 0, 0, 5}));
  TRUE(reject() == two);
  struct rusage used;
  getrusage(RUSAGE_SELF, &used);
  TRUE(used.ru_maxrss < 200 * 1024); // KiB
}

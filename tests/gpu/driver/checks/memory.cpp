// Memory: pools, limits, and every access that a card would report as illegal. Each mistake needs a process
// of its own, since its context is dead afterwards.
//
// memory                what is right
// memory MISTAKE        one of MISTAKES; passes if it is found
#include <map>

#include "check.h"

namespace {

constexpr int INVALID_VALUE = 1, OUT_OF_MEMORY = 2, ILLEGAL_ADDRESS = 700, MISALIGNED = 716,
              LAUNCH_FAILED = 719;
constexpr size_t MIB = size_t(1) << 20;

size_t free_bytes() {
  size_t free, total;
  OK(cuMemGetInfo_v2(&free, &total));
  SAME(total, 64 * MIB);
  return free;
}

uint64_t pool_attribute(int attribute) {
  void* pool;
  uint64_t value;
  OK(cuDeviceGetDefaultMemPool(&pool, 0));
  OK(cuMemPoolGetAttribute(pool, attribute, &value));
  return value;
}

void the_pool_keeps_what_it_is_told_to() {
  constexpr int RESERVED = 5, USED = 7, THRESHOLD = 4;
  void* pool;
  OK(cuDeviceGetDefaultMemPool(&pool, 0));
  uint64_t first = allocate(40 * MIB), second = 0;
  SAME(pool_attribute(USED), uint64_t(40 * MIB));
  SAME(free_bytes(), 24 * MIB);
  SAME(cuMemAllocAsync(&second, 30 * MIB, nullptr), OUT_OF_MEMORY);
  OK(cuMemFreeAsync(first, nullptr));
  SAME(pool_attribute(USED), uint64_t(0));
  // Idle memory of the pool is no memory for others, until a synchronisation ...
  SAME(cuMemAlloc_v2(&second, 30 * MIB), OUT_OF_MEMORY);
  OK(cuCtxSynchronize());
  OK(cuMemAlloc_v2(&second, 30 * MIB));
  OK(cuMemFree_v2(second));
  // ... or, with a threshold, until it is trimmed.
  uint64_t threshold = ~uint64_t(0);
  OK(cuMemPoolSetAttribute(pool, THRESHOLD, &threshold));
  OK(cuMemFreeAsync(allocate(40 * MIB), nullptr));
  OK(cuCtxSynchronize());
  SAME(pool_attribute(RESERVED), uint64_t(40 * MIB));
  SAME(cuMemAlloc_v2(&second, 30 * MIB), OUT_OF_MEMORY);
  OK(cuMemPoolTrimTo(pool, 0));
  SAME(pool_attribute(RESERVED), uint64_t(0));
  OK(cuMemAlloc_v2(&second, 30 * MIB));
  SAME(cuMemAllocAsync(&first, 40 * MIB, nullptr), OUT_OF_MEMORY);
  OK(cuMemFree_v2(second));
}

void memory_starts_as_nan() {
  const uint64_t address = allocate(64);
  TRUE(address % 256 == 0);
  for (const uint32_t bits : download<uint32_t>(address, 16)) SAME(bits, 0xffffffffu);
  const std::vector<float> values = random_values(1000, 1);
  const uint64_t x = upload(values), y = allocate(4000), z = allocate(4000);
  OK(launch_sigmoid(x, y, 1000));
  OK(cuMemcpyDtoDAsync_v2(z, y, 4000, nullptr));
  TRUE(download<float>(z, 1000) == download<float>(y, 1000));
  TRUE(download<float>(x, 1000) == values);
  OK(cuMemsetD8Async(z, 0, 2000, nullptr));
  TRUE(download<float>(z, 1000)[499] == 0.0f &&
       download<float>(z, 1000)[500] == download<float>(y, 1000)[500]);
  SAME(cuMemFreeAsync(y + 256, nullptr), INVALID_VALUE);
  OK(cuMemFreeAsync(y, nullptr));
  SAME(cuMemFreeAsync(y, nullptr), INVALID_VALUE);
  OK(cuCtxSynchronize());
}

// What is wrong, and the error that the next synchronisation reports.
struct Mistake {
  int status;
  std::function<void()> make;
};

const std::map<std::string, Mistake> MISTAKES = {
    {"use_after_free",
     {ILLEGAL_ADDRESS,
      [] {
        const uint64_t x = upload(random_values(64, 1)), y = allocate(256);
        OK(cuMemFreeAsync(x, nullptr));
        OK(launch_sigmoid(x, y, 64));
      }}},
    {"copy_after_free",
     {ILLEGAL_ADDRESS,
      [] {
        const uint64_t x = allocate(256);
        OK(cuMemFreeAsync(x, nullptr));
        OK(cuMemcpyHtoDAsync_v2(x, &x, 8, nullptr));
      }}},
    {"product_of_freed",
     {ILLEGAL_ADDRESS,
      [] {
        void* blas;
        OK(cublasCreate_v2(&blas));
        const uint64_t a = upload(random_values(16, 1)), c = allocate(64);
        const float one = 1, none = 0;
        OK(cuMemFreeAsync(a, nullptr));
        OK(cublasGemmStridedBatchedEx(blas, 0, 0, 4, 4, 4, &one, (void*)a, 0, 4, 0, (void*)a, 0, 4, 0, &none,
                                      (void*)c, 0, 4, 0, 1, 68, 0));
      }}},
    {"product_too_long",
     {ILLEGAL_ADDRESS,
      [] {
        void* blas;
        OK(cublasCreate_v2(&blas));
        const uint64_t a = upload(random_values(16, 1)), c = allocate(60);
        const float one = 1, none = 0;
        OK(cublasGemmStridedBatchedEx(blas, 0, 0, 4, 4, 4, &one, (void*)a, 0, 4, 0, (void*)a, 0, 4, 0, &none,
                                      (void*)c, 0, 4, 0, 1, 68, 0));
      }}},
    {"write_behind",
     {ILLEGAL_ADDRESS,
      [] {
        const uint64_t x = upload(random_values(65, 1)), y = allocate(256);
        OK(launch_sigmoid(x, y, 65)); // one value too many
      }}},
    {"write_behind_beside",
     {ILLEGAL_ADDRESS,
      [] {
        static void* fault = kernel("fault_write_behind_f32");
        uint64_t y = allocate(256);
        int count = 64;
        void* arguments[] = {&y, &count};
        OK(cuLaunchKernel(fault, 1, 1, 1, 32, 1, 1, 0, nullptr, arguments, nullptr));
      }}},
    {"write_to_input",
     {LAUNCH_FAILED,
      [] {
        static void* fault = kernel("fault_write_input_f32");
        uint64_t x = upload(random_values(64, 1)), y = allocate(256);
        void* arguments[] = {&x, &y};
        OK(cuLaunchKernel(fault, 1, 1, 1, 64, 1, 1, 0, nullptr, arguments, nullptr));
      }}},
    {"divergence",
     {LAUNCH_FAILED,
      [] {
        static void* fault = kernel("fault_barrier_f32");
        uint64_t y = allocate(256);
        void* arguments[] = {&y};
        OK(cuLaunchKernel(fault, 1, 1, 1, 64, 1, 1, 0, nullptr, arguments, nullptr));
      }}},
    {"unaligned",
     {MISALIGNED,
      [] {
        const uint64_t x = upload(random_values(64, 1)), y = allocate(256);
        OK(launch_sigmoid(x + 2, y, 16));
      }}},
    {"host_memory",
     {ILLEGAL_ADDRESS,
      [] {
        static float values[64];
        OK(launch_sigmoid(reinterpret_cast<uint64_t>(values), allocate(256), 64));
      }}},
    {"memset_too_long", {ILLEGAL_ADDRESS, [] { OK(cuMemsetD8Async(allocate(256), 0, 257, nullptr)); }}},
    {"copy_too_long",
     {ILLEGAL_ADDRESS,
      [] {
        char bytes[300] = {};
        OK(cuMemcpyHtoDAsync_v2(allocate(256), bytes, sizeof bytes, nullptr));
      }}},
    {"other_device",
     {ILLEGAL_ADDRESS,
      [] {
        open_device(1);
        const uint64_t there = upload(random_values(64, 1));
        open_device(0);
        OK(launch_sigmoid(there, allocate(256), 64));
      }}},
};

} // namespace

int main(int count, char** arguments) {
  open_device();
  if (count == 1) {
    the_pool_keeps_what_it_is_told_to();
    memory_starts_as_nan();
    return 0;
  }
  if (strcmp(arguments[1], "list") == 0) {
    for (const auto& [name, mistake] : MISTAKES) puts(name.c_str());
    return 0;
  }
  const Mistake& mistake = MISTAKES.at(arguments[1]);
  mistake.make(); // every call of it succeeds
  uint64_t address;
  OK(cuMemAllocAsync(&address, 16, nullptr));
  SAME(cuCtxSynchronize(), mistake.status);
  // From now on the context is dead.
  SAME(cuMemAllocAsync(&address, 16, nullptr), mistake.status);
  SAME(cuMemcpyHtoD_v2(address, &address, 8), mistake.status);
  SAME(cuStreamSynchronize(nullptr), mistake.status);
}

// Our kernels: the emulator's, run on the device's memory in place and on several threads.
#define SED_EMULATOR
#include "../../../../crates/sed-kernels/cuda/emulator/emulator.h"

#include <type_traits>

#include "kernels.h"
#include "parallel.h"
#include "settings.h"

namespace software_cuda {
namespace {

std::vector<Kernel>& emulated() {
  static std::vector<Kernel> all;
  return all;
}

// Knows a kernel's parameters from its C++ type.
template <typename... P>
struct Described {
  Described(const char* name, void (*)(P...)) { emulated().push_back({name, {parameter<P>()...}, nullptr}); }
};

// Blocks run on several threads here.
template <typename T>
T add_atomically(T* at, T value) {
  T old, sum;
  __atomic_load(at, &old, __ATOMIC_RELAXED);
  do {
    sum = old + value;
  } while (!__atomic_compare_exchange(at, &old, &sum, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
  return old;
}

// `warp_sum` of common.cuh with one exchange instead of five, which is what most kernels wait for here: the
// same additions in the same order. The emulator's own tests run the original.
inline float sum_of_warp(float v) {
  uint32_t bits;
  memcpy(&bits, &v, 4);
  const sed_emulator::Factors* lanes = sed_emulator::exchange_factors({{bits, 0, 0, 0}, {0, 0}}, __LINE__);
  float sums[32];
  for (int lane = 0; lane < 32; lane++) memcpy(&sums[lane], &lanes[lane].a[0], 4);
  for (int step = 16; step > 0; step /= 2) {
    for (int lane = 0; lane < step; lane++) sums[lane] += sums[lane + step];
  }
  return sums[0];
}

} // namespace
} // namespace software_cuda

#undef SED_REGISTER
#define SED_REGISTER(name)                                                   \
  static const sed_emulator::Registration name##_registration(#name, &name); \
  static const software_cuda::Described name##_described(#name, &name);
#define atomicAdd software_cuda::add_atomically

#include "../../../../crates/sed-kernels/cuda/common.cuh"
#define warp_sum software_cuda::sum_of_warp

#include "../../../../crates/sed-kernels/cuda/emulator/emulator.cpp"

#include <atomic>
#include <mutex>

namespace sed_emulator {
namespace {

// Blocks `next`, `next + 1`, ... of a launch, whose pointers are used as they are.
void run_blocks(const Kernel& kernel, const software_cuda::Launch& given, const SedArgument* arguments,
                std::atomic<uint64_t>& next) {
  launch.kernel = &kernel;
  launch.arguments = arguments;
  launch.dynamic_bytes = given.shared;
  launch.threads.resize(given.block[0] * given.block[1] * given.block[2]);
  launch.warps.resize(launch.threads.size() / LANES);
  while (stacks.size() < launch.threads.size()) stacks.emplace_back();
  grid_dim = {given.grid[0], given.grid[1], given.grid[2]};
  block_dim = {given.block[0], given.block[1], given.block[2]};
  const uint64_t x = given.grid[0], y = given.grid[1], all = x * y * given.grid[2];
  for (uint64_t i; (i = next.fetch_add(1)) < all;) {
    block_index = {unsigned(i % x), unsigned(i / x % y), unsigned(i / x / y)};
    run_block();
  }
}

void run_in_place(const Kernel& kernel, const std::vector<software_cuda::Parameter>& parameters,
                  const software_cuda::Launch& given) {
  check_size(given.grid, given.block, given.shared);
  std::vector<SedArgument> arguments;
  for (size_t i = 0; i < parameters.size(); i++) {
    arguments.push_back({0, parameters[i].element, parameters[i].written, 0, 0, given.values[i]});
  }
  std::atomic<uint64_t> next{0};
  const uint64_t blocks = uint64_t(given.grid[0]) * given.grid[1] * given.grid[2];
  const unsigned threads =
      static_cast<unsigned>(std::min<uint64_t>(software_cuda::settings().threads, (blocks + 3) / 4));
  std::mutex lock;
  std::string wrong;
  software_cuda::in_parallel(threads, [&] {
    try {
      run_blocks(kernel, given, arguments.data(), next);
    } catch (const std::exception& error) {
      const std::lock_guard<std::mutex> guard(lock);
      wrong = error.what();
    }
  });
  if (!wrong.empty()) fail(wrong);
}

} // namespace
} // namespace sed_emulator

namespace software_cuda {

void add_emulated_kernels() {
  for (const Kernel& described : emulated()) {
    for (const sed_emulator::Kernel& kernel : sed_emulator::kernels()) {
      if (described.name != kernel.name) continue;
      Kernel whole = described;
      whole.run = [kernel, parameters = described.parameters](const Launch& launch) {
        sed_emulator::run_in_place(kernel, parameters, launch);
      };
      add_kernel(whole);
    }
  }
}

} // namespace software_cuda

// Kernels by name, with their parameters, and how a launch runs on the CPU.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace software_cuda {

struct Parameter {
  enum Kind { Pointer, I32, I64, F32, Other } kind;
  unsigned bytes; // in the list of parameters
  unsigned element; // of what a pointer points at
  bool written; // a pointer to what is not const
};

struct Launch {
  unsigned grid[3], block[3], shared;
  std::vector<uint64_t> values; // bits of the arguments
};

struct Kernel {
  std::string name;
  std::vector<Parameter> parameters;
  std::function<void(const Launch&)> run; // throws std::runtime_error
};

// Null if there is no such kernel.
const Kernel* find_kernel(const std::string& name);

void add_kernel(Kernel kernel);
// Our own kernels, through the emulator.
void add_emulated_kernels();
// Those of candle's kernels that the program uses.
void add_candle_kernels();

template <typename P>
Parameter parameter() {
  if constexpr (std::is_pointer_v<P>) {
    using Target = std::remove_pointer_t<P>;
    return {Parameter::Pointer, 8, sizeof(Target), !std::is_const_v<Target>};
  } else if constexpr (std::is_same_v<P, float>) {
    return {Parameter::F32, 4, 0, false};
  } else if constexpr (std::is_integral_v<P> && sizeof(P) == 4) {
    return {Parameter::I32, 4, 0, false};
  } else if constexpr (std::is_integral_v<P> && sizeof(P) == 8) {
    return {Parameter::I64, 8, 0, false};
  } else {
    return {Parameter::Other, sizeof(P), 0, false};
  }
}

} // namespace software_cuda

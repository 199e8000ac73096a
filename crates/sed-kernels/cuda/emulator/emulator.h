// What the kernels use of CUDA, for a C++ compiler: the very same .cu files run on the CPU, so that their
// arithmetic, their indices and their barriers are tested without a GPU.
//
// Blocks run one after another. The threads of a block are fibers on one stack each; a thread runs until it
// reaches a barrier or a shuffle. Warps run in turn, and every second block runs its threads in reverse, so a
// missing barrier shows as a wrong result. Shared memory starts as NaN. All 32 lanes take part in a shuffle.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>
#include <utility>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __restrict__ __restrict
#define __launch_bounds__(...)

struct dim3 {
  unsigned x, y, z;
};

struct alignas(16) float4 {
  float x, y, z, w;
};

// One argument of a launch, as Rust gives it (`launch/emulator.rs`).
struct SedArgument {
  uint32_t kind; // 0 pointer, 1 i32, 2 i64, 3 f32
  uint32_t element_bytes; // of what a pointer points at
  uint32_t written; // whether the kernel may write there
  uint32_t unused;
  uint64_t bytes; // how much there is at the pointer
  uint64_t value;
};

namespace sed_emulator {

// What the running thread sees of itself.
struct Thread {
  dim3 index;
  int lane;
  int warp;
};
extern thread_local Thread* current;
extern thread_local dim3 block_index, block_dim, grid_dim;

void sync_block(int line);
// Gives `value` to the warp and returns lane `source`'s.
uint64_t exchange(unsigned mask, uint64_t value, int source, int line);
// The lane that a shuffle reads: `source` of the running lane's part of the warp, of `width` lanes.
inline int source_lane(int source, int width = 32) {
  return (current->lane & ~(width - 1)) | (source & (width - 1));
}
// Gives `value` to the warp and returns those of all its lanes; all of them take part.
const uint64_t* exchange_all(uint64_t value, int line);
// What a lane holds of the factors of a product on tensor cores (tensor_core.cuh).
struct Factors {
  uint32_t a[4], b[2];
};
// Gives them to the warp and returns those of all its lanes.
const Factors* exchange_factors(const Factors& mine, int line);
// Ends the process unless the address is a multiple of `bytes`.
void check_alignment(uint64_t address, size_t bytes);
// A copy that is not made before it is waited for.
void copy_later(void* to, const void* from, size_t bytes);
void close_copies();
// Makes the copies of all closed groups but the last `left`.
void make_copies(unsigned left);
// The block's shared array of that identity; made, and filled with NaN, on its first use in a block.
void* shared_array(const void* id, size_t bytes);
void* dynamic_shared();

template <typename T>
T shuffle(unsigned mask, T value, int source, int line) {
  static_assert(sizeof(T) <= 8, "a shuffle moves at most 8 bytes");
  uint64_t bits = 0;
  memcpy(&bits, &value, sizeof(T));
  bits = exchange(mask, bits, source, line);
  memcpy(&value, &bits, sizeof(T));
  return value;
}

// A bit for each lane whose value is not 0.
inline unsigned ballot(bool value, int line) {
  const uint64_t* lanes = exchange_all(value, line);
  unsigned bits = 0;
  for (int lane = 0; lane < 32; lane++) bits |= lanes[lane] != 0 ? 1u << lane : 0u;
  return bits;
}
// The sum of the lanes' values.
inline unsigned sum(unsigned value, int line) {
  const uint64_t* lanes = exchange_all(value, line);
  unsigned all = 0;
  for (int lane = 0; lane < 32; lane++) all += static_cast<unsigned>(lanes[lane]);
  return all;
}

// Empty if the argument suits a parameter of type `P`, otherwise what is wrong.
template <typename P>
std::string mismatch(const SedArgument& argument) {
  if constexpr (std::is_pointer_v<P>) {
    using Target = std::remove_pointer_t<P>;
    if (argument.kind != 0) return "a pointer was expected";
    if (argument.value != 0 && argument.element_bytes != sizeof(Target)) return "elements of another size";
    if (argument.value != 0 && (argument.written != 0) == std::is_const_v<Target>) {
      return "an input where an output was expected, or the other way round";
    }
  } else {
    const uint32_t kind = std::is_same_v<P, int> ? 1 : std::is_same_v<P, long long> ? 2 : 3;
    static_assert(std::is_same_v<P, int> || std::is_same_v<P, long long> || std::is_same_v<P, float>);
    if (argument.kind != kind) return "a number of another type was expected";
  }
  return "";
}

// A kernel that is called with the arguments of a launch.
struct Kernel {
  const char* name;
  std::string (*check)(const SedArgument* arguments, unsigned count);
  void (*call)(const Kernel& kernel, const SedArgument* arguments);
  void (*function)();
};
void add(const Kernel& kernel);

template <typename... P>
struct Registration {
  Registration(const char* name, void (*function)(P...)) {
    add({name, check, call, reinterpret_cast<void (*)()>(function)});
  }
  static std::string check(const SedArgument* arguments, unsigned count) {
    if (count != sizeof...(P)) return "takes " + std::to_string(sizeof...(P)) + " arguments";
    unsigned i = 0;
    std::string wrong;
    auto one = [&](const std::string& what) {
      if (!what.empty() && wrong.empty()) wrong = "argument " + std::to_string(i) + ": " + what;
      i += 1;
    };
    (one(mismatch<P>(arguments[i])), ...);
    return wrong;
  }
  static void call(const Kernel& kernel, const SedArgument* arguments) {
    call_with(kernel, arguments, std::index_sequence_for<P...>());
  }
  template <size_t... I>
  static void call_with(const Kernel& kernel, const SedArgument* arguments, std::index_sequence<I...>) {
    reinterpret_cast<void (*)(P...)>(kernel.function)(value<P>(arguments[I])...);
  }
  template <typename V>
  static V value(const SedArgument& argument) {
    V v;
    memcpy(&v, &argument.value, sizeof(V)); // little endian
    return v;
  }
};

} // namespace sed_emulator

#define threadIdx (sed_emulator::current->index)
#define blockIdx (sed_emulator::block_index)
#define blockDim (sed_emulator::block_dim)
#define gridDim (sed_emulator::grid_dim)
#define __syncthreads() sed_emulator::sync_block(__LINE__)
#define __syncwarp() sed_emulator::exchange(0xffffffffu, 0, 0, __LINE__)
#define __shfl_sync(mask, value, ...)                                                                        \
  sed_emulator::shuffle(mask, value, sed_emulator::source_lane(__VA_ARGS__), __LINE__)
#define __shfl_xor_sync(mask, value, step)                                                                   \
  sed_emulator::shuffle(mask, value, sed_emulator::current->lane ^ (step), __LINE__)
// Only for all lanes of a warp.
#define __ballot_sync(mask, value) sed_emulator::ballot(value, __LINE__)
#define __reduce_add_sync(mask, value) sed_emulator::sum(value, __LINE__)

#define SED_REGISTER(name) static const sed_emulator::Registration name##_registration(#name, &name);
#define SED_SHARED(type, name, count)                                                                        \
  static const char name##_id = 0;                                                                           \
  type* name = static_cast<type*>(sed_emulator::shared_array(&name##_id, sizeof(type) * (count)))
#define SED_DYNAMIC_SHARED(type, name) type* name = static_cast<type*>(sed_emulator::dynamic_shared())

struct __half {
  _Float16 v;
};
inline float __half2float(__half h) { return static_cast<float>(h.v); }
inline __half __float2half(float f) { return {static_cast<_Float16>(f)}; }

struct __nv_bfloat16 {
  uint16_t bits;
};
inline float __bfloat162float(__nv_bfloat16 b) {
  const uint32_t bits = static_cast<uint32_t>(b.bits) << 16;
  float f;
  memcpy(&f, &bits, 4);
  return f;
}
inline __nv_bfloat16 __float2bfloat16(float f) {
  uint32_t bits;
  memcpy(&bits, &f, 4);
  if (f != f) return {0x7fff};
  return {static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16)}; // to nearest, ties to even
}

// The instructions of tensor_core.cuh.
inline void copy_async(void* to, const void* from, bool inside) {
  alignas(16) static const unsigned char zeros[16] = {};
  sed_emulator::copy_later(to, inside ? from : zeros, 16);
}
inline void commit_copies() { sed_emulator::close_copies(); }
template <int LEFT>
inline void wait_copies() {
  sed_emulator::make_copies(LEFT);
}
// Value `which` (0 or 1) of two in 32 bits.
inline float half_of(uint32_t pair, int which, __nv_bfloat16) {
  return __bfloat162float({static_cast<uint16_t>(pair >> 16 * which)});
}
inline float half_of(uint32_t pair, int which, __half) {
  const uint16_t bits = static_cast<uint16_t>(pair >> 16 * which);
  __half h;
  memcpy(&h, &bits, 2);
  return __half2float(h);
}
template <typename T>
inline void multiply_tile(float (&acc)[4], const unsigned (&a)[4], const unsigned (&b)[2], T type) {
  const sed_emulator::Factors* lanes =
      sed_emulator::exchange_factors({{a[0], a[1], a[2], a[3]}, {b[0], b[1]}}, __LINE__);
  const int lane = sed_emulator::current->lane;
  for (int i = 0; i < 4; i++) {
    const int row = lane / 4, below = i / 2, column = lane % 4 * 2 + i % 2;
    for (int k = 0; k < 16; k++) {
      const uint32_t left = lanes[row * 4 + k % 8 / 2].a[k / 8 * 2 + below];
      const uint32_t right = lanes[column * 4 + k % 8 / 2].b[k / 8];
      acc[i] += half_of(left, k % 2, type) * half_of(right, k % 2, type);
    }
  }
}

template <typename T>
inline void load_matrices(unsigned (&to)[4], const T* row) {
  const uint64_t mine = reinterpret_cast<uint64_t>(row);
  const sed_emulator::Factors* lanes = sed_emulator::exchange_factors(
      {{static_cast<uint32_t>(mine), static_cast<uint32_t>(mine >> 32), 0, 0}, {0, 0}}, __LINE__);
  const int lane = sed_emulator::current->lane;
  for (int matrix = 0; matrix < 4; matrix++) {
    const sed_emulator::Factors& from = lanes[matrix * 8 + lane / 4];
    const uint64_t at = from.a[0] | static_cast<uint64_t>(from.a[1]) << 32;
    sed_emulator::check_alignment(at, 16);
    memcpy(&to[matrix], reinterpret_cast<const unsigned char*>(at) + lane % 4 * 4, 4);
  }
}
inline unsigned long long wide_product(unsigned a, unsigned b) { return static_cast<unsigned long long>(a) * b; }
inline char* moved(void* at, unsigned long long bytes) { return static_cast<char*>(at) + bytes; }
inline int thread_again() { return static_cast<int>(threadIdx.x); }
inline int block_again() { return static_cast<int>(blockIdx.x); }
inline unsigned pack_relu(float low, float high, __nv_bfloat16) {
  const uint32_t first = __float2bfloat16(low < 0 ? 0 : low).bits;
  return first | static_cast<uint32_t>(__float2bfloat16(high < 0 ? 0 : high).bits) << 16;
}
inline unsigned pack_relu(float low, float high, __half) {
  auto bits = [](float v) {
    const __half h = __float2half(v < 0 ? 0 : v > 65504.0f ? 65504.0f : v);
    uint16_t b;
    memcpy(&b, &h, 2);
    return static_cast<uint32_t>(b);
  };
  return bits(low) | bits(high) << 16;
}
inline float fast_exp2(float v) { return exp2f(v); }
inline float fast_reciprocal(float v) { return 1.0f / v; }

template <typename T>
inline T min(T a, T b) {
  return b < a ? b : a;
}
template <typename T>
inline T max(T a, T b) {
  return a < b ? b : a;
}
inline unsigned __float_as_uint(float f) {
  unsigned u;
  memcpy(&u, &f, 4);
  return u;
}
inline float rsqrtf(float v) { return 1.0f / sqrtf(v); }
inline float __saturatef(float v) { return v > 0.0f ? v < 1.0f ? v : 1.0f : 0.0f; }
inline float __uint_as_float(unsigned u) {
  float f;
  memcpy(&f, &u, 4);
  return f;
}
inline int __ffs(unsigned bits) { return __builtin_ffs(static_cast<int>(bits)); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
// Threads of all blocks run one after another, so nothing can come between.
template <typename T>
inline T atomicAdd(T* at, T value) {
  const T old = *at;
  *at += value;
  return old;
}
template <typename T>
inline T atomicOr(T* at, T value) {
  const T old = *at;
  *at |= value;
  return old;
}

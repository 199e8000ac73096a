// Runs a launch of the kernels on the CPU; see emulator.h.
#define SED_EMULATOR
#include "emulator.h"

#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <stdexcept>
#include <vector>

#include "fiber.h"

namespace sed_emulator {

thread_local Thread* current;
thread_local dim3 block_index, block_dim, grid_dim;

namespace {

constexpr int LANES = 32;
constexpr size_t SHARED_BYTES = 48 * 1024; // what every device grants without being asked
constexpr size_t SHARED_GUARD = 64;
constexpr size_t GUARD = 4096; // bytes before and after every buffer
constexpr unsigned char FILL = 0xff; // NaN in every floating-point type

enum class State { Ready, AtBlock, AtWarp, Done };

struct Copy {
  void* to;
  const void* from;
  size_t bytes;
};

struct Running : Thread {
  Fiber fiber;
  State state = State::Ready;
  int line = 0;
  unsigned exchanges = 0;
  std::deque<std::vector<Copy>> copies; // groups, the last one still open
};

struct Warp {
  uint64_t values[2][LANES]; // by parity of the exchange, so that a fast lane overwrites nothing
  Factors factors[2][LANES];
};

struct Array {
  unsigned char* at;
  size_t bytes;
};

// The launch that this OS thread runs.
struct Launch {
  const Kernel* kernel;
  const SedArgument* arguments;
  std::vector<Running> threads;
  std::vector<Warp> warps;
  std::vector<unsigned char> shared;
  size_t shared_used = 0, dynamic_bytes;
  std::map<const void*, Array> arrays;
};
thread_local Launch launch;
thread_local std::vector<Stack> stacks;
thread_local unsigned blocks_run;

std::vector<Kernel>& kernels() {
  static std::vector<Kernel> all;
  return all;
}

Array take_shared(size_t bytes) {
  const size_t start = (launch.shared_used + 63) / 64 * 64;
  launch.shared_used = start + bytes + SHARED_GUARD;
  if (launch.shared_used > launch.shared.size()) {
    fprintf(stderr, "%s takes far more than 48 KiB of shared memory\n", launch.kernel->name);
    abort(); // an exception would end in the fiber's first frame
  }
  return {launch.shared.data() + start, bytes};
}

void pause(State state, int line) {
  Running& thread = static_cast<Running&>(*current);
  thread.state = state;
  thread.line = line;
  thread.fiber.pause();
}

void run_thread(Running& thread) {
  current = &thread;
  thread.fiber.resume();
}

void body() {
  launch.kernel->call(*launch.kernel, launch.arguments);
  static_cast<Running&>(*current).state = State::Done;
}

[[noreturn]] void fail(const std::string& what) { throw std::runtime_error(what); }

// Runs a warp until each of its lanes has ended or waits for the block.
void run_warp(size_t first, bool reversed) {
  Running* lanes = &launch.threads[first];
  for (;;) {
    for (int i = 0; i < LANES; i++) {
      Running& lane = lanes[reversed ? LANES - 1 - i : i];
      if (lane.state == State::Ready) run_thread(lane);
    }
    int waiting = 0;
    for (int i = 0; i < LANES; i++) waiting += lanes[i].state == State::AtWarp;
    if (waiting == 0) return;
    for (int i = 0; i < LANES; i++) {
      if (lanes[i].state != State::AtWarp || lanes[i].line != lanes[0].line) {
        fail("not all lanes of a warp reach the exchange in line " + std::to_string(lanes[i].line));
      }
    }
    for (int i = 0; i < LANES; i++) lanes[i].state = State::Ready;
  }
}

void run_block() {
  launch.arrays.clear();
  if (launch.shared.empty()) launch.shared.assign(SHARED_BYTES * 2, FILL);
  memset(launch.shared.data(), FILL, launch.shared_used); // what the block before has used
  launch.shared_used = 0;
  const Array dynamic = take_shared(launch.dynamic_bytes);
  launch.arrays[nullptr] = dynamic;
  const size_t threads = launch.threads.size();
  const bool reversed = blocks_run++ % 2 == 1; // goes on over launches, for those of a single block
  for (size_t i = 0; i < threads; i++) {
    Running& thread = launch.threads[i];
    const unsigned t = static_cast<unsigned>(i);
    thread.index = {t % block_dim.x, t / block_dim.x % block_dim.y, t / block_dim.x / block_dim.y};
    thread.lane = i % LANES;
    thread.warp = i / LANES;
    thread.state = State::Ready;
    thread.exchanges = 0;
    if (thread.copies.size() != 1 || !thread.copies.front().empty()) thread.copies.assign(1, {});
    thread.fiber.start(stacks[i], body);
  }
  for (;;) {
    const size_t warps = threads / LANES;
    for (size_t i = 0; i < warps; i++) run_warp((reversed ? warps - 1 - i : i) * LANES, reversed);
    size_t waiting = 0;
    for (const Running& thread : launch.threads) waiting += thread.state == State::AtBlock;
    if (waiting == 0) break;
    for (Running& thread : launch.threads) {
      if (thread.state != State::AtBlock || thread.line != launch.threads[0].line) {
        fail("not all threads of a block reach the barrier in line " + std::to_string(thread.line));
      }
    }
    for (Running& thread : launch.threads) thread.state = State::Ready;
  }
  size_t shared = 0;
  for (const auto& [id, array] : launch.arrays) shared += array.bytes;
  if (shared > SHARED_BYTES) fail("more than 48 KiB of shared memory");
  for (const auto& [id, array] : launch.arrays) {
    for (size_t i = 0; i < SHARED_GUARD; i++) {
      if (array.at[array.bytes + i] != FILL) fail("a write behind a shared array");
    }
  }
}

// A copy of an argument's buffer between two guards.
struct Guarded {
  std::vector<unsigned char> bytes;
  SedArgument original;
  bool intact() const {
    for (size_t i = 0; i < GUARD; i++) {
      if (bytes[i] != FILL || bytes[bytes.size() - 1 - i] != FILL) return false;
    }
    return true;
  }
  unsigned char* inside() { return bytes.data() + GUARD; }
};

void check_size(const unsigned grid[3], const unsigned block[3], unsigned shared_bytes) {
  const uint64_t threads = uint64_t(block[0]) * block[1] * block[2];
  if (threads == 0 || threads > 1024 || threads % LANES != 0 || block[2] > 64) fail("a block of wrong size");
  if (grid[0] == 0 || grid[1] == 0 || grid[2] == 0 || grid[0] > 0x7fffffffu || grid[1] > 65535 ||
      grid[2] > 65535) {
    fail("a grid of wrong size");
  }
  if (shared_bytes > SHARED_BYTES) fail("more than 48 KiB of dynamic shared memory");
}

void run(const Kernel& kernel, const unsigned grid[3], const unsigned block[3], unsigned shared_bytes,
         const SedArgument* given, unsigned count) {
  const std::string wrong = kernel.check(given, count);
  if (!wrong.empty()) fail(wrong);
  check_size(grid, block, shared_bytes);
  std::vector<SedArgument> arguments(given, given + count);
  std::vector<Guarded> buffers;
  buffers.reserve(count);
  for (SedArgument& argument : arguments) {
    if (argument.kind != 0 || argument.value == 0) continue;
    buffers.push_back({std::vector<unsigned char>(argument.bytes + 2 * GUARD, FILL), argument});
    memcpy(buffers.back().inside(), reinterpret_cast<void*>(argument.value), argument.bytes);
    argument.value = reinterpret_cast<uint64_t>(buffers.back().inside());
  }
  launch.kernel = &kernel;
  launch.arguments = arguments.data();
  launch.dynamic_bytes = shared_bytes;
  launch.threads.resize(block[0] * block[1] * block[2]);
  launch.warps.resize(launch.threads.size() / LANES);
  while (stacks.size() < launch.threads.size()) stacks.emplace_back();
  grid_dim = {grid[0], grid[1], grid[2]};
  block_dim = {block[0], block[1], block[2]};
  for (unsigned z = 0; z < grid[2]; z++) {
    for (unsigned y = 0; y < grid[1]; y++) {
      for (unsigned x = 0; x < grid[0]; x++) {
        block_index = {x, y, z};
        run_block();
      }
    }
  }
  for (Guarded& buffer : buffers) {
    if (!buffer.intact()) fail("a write outside a buffer");
    void* original = reinterpret_cast<void*>(buffer.original.value);
    if (buffer.original.written) {
      memcpy(original, buffer.inside(), buffer.original.bytes);
    } else if (memcmp(original, buffer.inside(), buffer.original.bytes) != 0) {
      fail("a write to an input");
    }
  }
}

} // namespace

void add(const Kernel& kernel) { kernels().push_back(kernel); }

void sync_block(int line) { pause(State::AtBlock, line); }

uint64_t exchange(unsigned mask, uint64_t value, int source, int line) {
  Running& thread = static_cast<Running&>(*current);
  uint64_t* values = launch.warps[thread.warp].values[thread.exchanges++ % 2];
  // A mask that leaves lanes out is answered with NaN: no kernel here needs one.
  values[thread.lane] = mask == 0xffffffffu ? value : ~uint64_t(0);
  pause(State::AtWarp, line);
  return values[source];
}

const uint64_t* exchange_all(uint64_t value, int line) {
  Running& thread = static_cast<Running&>(*current);
  uint64_t* values = launch.warps[thread.warp].values[thread.exchanges++ % 2];
  values[thread.lane] = value;
  pause(State::AtWarp, line);
  return values;
}

const Factors* exchange_factors(const Factors& mine, int line) {
  Running& thread = static_cast<Running&>(*current);
  Factors* all = launch.warps[thread.warp].factors[thread.exchanges++ % 2];
  all[thread.lane] = mine;
  pause(State::AtWarp, line);
  return all;
}

void check_alignment(uint64_t address, size_t bytes) {
  if (address % bytes == 0) return;
  fprintf(stderr, "%s uses an address that is no multiple of %zu\n", launch.kernel->name, bytes);
  abort(); // an exception would end in the fiber's first frame
}

void copy_later(void* to, const void* from, size_t bytes) {
  check_alignment(reinterpret_cast<uint64_t>(to) | reinterpret_cast<uint64_t>(from), bytes);
  static_cast<Running&>(*current).copies.back().push_back({to, from, bytes});
}

void close_copies() { static_cast<Running&>(*current).copies.emplace_back(); }

void make_copies(unsigned left) {
  auto& copies = static_cast<Running&>(*current).copies;
  while (copies.size() > left + 1) {
    for (const Copy& copy : copies.front()) memcpy(copy.to, copy.from, copy.bytes);
    copies.pop_front();
  }
}

void* shared_array(const void* id, size_t bytes) {
  auto [entry, made] = launch.arrays.try_emplace(id, Array{nullptr, 0});
  if (made) entry->second = take_shared(bytes);
  return entry->second.at;
}

void* dynamic_shared() { return launch.arrays[nullptr].at; }

} // namespace sed_emulator

// Runs a kernel by name. Returns 0, or 1 with the reason in `message`.
extern "C" int sed_emulator_launch(const char* name, const unsigned* grid, const unsigned* block,
                                   unsigned shared_bytes, const SedArgument* arguments, unsigned count,
                                   char* message, unsigned message_bytes) {
  std::string reason = "there is no such kernel";
  for (const sed_emulator::Kernel& kernel : sed_emulator::kernels()) {
    if (strcmp(kernel.name, name) != 0) continue;
    try {
      sed_emulator::run(kernel, grid, block, shared_bytes, arguments, count);
      return 0;
    } catch (const std::exception& error) {
      reason = error.what();
    }
    break;
  }
  strncpy(message, reason.c_str(), message_bytes - 1);
  message[message_bytes - 1] = 0;
  return 1;
}

#include "kernels.h"
#include "faults.h"

// The memory of one device: addresses, what is allocated, and what a pointer points at.
//
// Addresses are those of this process, so that emulated kernels use them as they are. An allocation lies
// between two red zones. Freed addresses come back only after the whole range was handed out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <string>

#include "status.h"

namespace software_cuda {

constexpr size_t RED_ZONE = 4096;

struct Allocation {
  uint64_t base;
  size_t bytes;
  bool pooled;
  bool given_back; // the program has asked to free it; the stream may not be there yet
  bool live;
};

// What an access found wrong: the error that a card would report, and the explanation.
struct Illegal {
  CUresult status;
  std::string text;
};

class SHARED Memory {
 public:
  Memory(int device, size_t total);

  // Memory for `bytes`, from the pool (cuMemAllocAsync) or beside it.
  CUresult allocate(size_t bytes, bool pooled, uint64_t* address);
  // Takes back what `allocate` gave: books it as free. `bury` follows once the stream has got there.
  CUresult give_back(uint64_t address);
  // Makes the memory unusable. Throws `Illegal` if something was written outside of it.
  void bury(uint64_t address);

  // Bytes from `address` to the end of its allocation; throws `Illegal` unless [address, address + bytes) is
  // live.
  size_t check(uint64_t address, size_t bytes, size_t element, const std::string& what) const;
  // Throws `Illegal` if a red zone beside the allocation of `address` was written.
  void check_red_zones(uint64_t address, const std::string& what) const;
  bool owns_address(uint64_t address) const { return address >= first_ && address < first_ + RANGE; }
  // Start and length of the live allocation that holds `address`; length 0 if there is none.
  Allocation around(uint64_t address) const;

  // What a synchronisation does: the pool keeps no more than its threshold.
  void release_idle();
  void trim(size_t keep);
  void info(size_t* free, size_t* total) const;
  uint64_t threshold = 0;
  uint64_t reserved() const { return reserved_; }
  uint64_t used() const { return used_; }

 private:
  static constexpr uint64_t RANGE = uint64_t(1) << 41;
  static constexpr size_t QUARANTINE = size_t(64) << 20; // freed bytes that stay filled with NaN

  uint64_t place(size_t span);
  const Allocation* find(uint64_t address) const;
  Illegal wrong(uint64_t address, size_t bytes, const std::string& what) const;
  bool intact(const Allocation& allocation) const;

  mutable std::mutex lock_;
  const int device_;
  const size_t total_;
  uint64_t first_ = 0, next_ = 0;
  std::map<uint64_t, Allocation> all_; // by base, freed ones too
  std::deque<uint64_t> freed_;
  std::deque<Allocation> resident_;
  size_t resident_bytes_ = 0;
  uint64_t plain_ = 0, reserved_ = 0, used_ = 0;
};

} // namespace software_cuda

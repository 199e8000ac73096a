#include "memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "settings.h"

namespace software_cuda {
namespace {

constexpr size_t UNIT = 512; // what an allocation is rounded up to
constexpr size_t GROWTH = size_t(2) << 20; // steps of the pool
constexpr size_t PAGE = 4096;
constexpr size_t REMEMBERED = 200000; // freed allocations that an explanation can still name
constexpr unsigned char POISON = 0xff; // NaN in every floating-point type

size_t round_up(size_t value, size_t unit) { return (value + unit - 1) / unit * unit; }

size_t span_of(size_t bytes) { return round_up(bytes + 2 * RED_ZONE, PAGE); }

bool all_poison(const unsigned char* at, size_t bytes) {
  return at[0] == POISON && memcmp(at, at + 1, bytes - 1) == 0;
}

std::string hex(uint64_t address) {
  char text[24];
  snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(address));
  return text;
}

} // namespace

Memory::Memory(int device, size_t total) : device_(device), total_(total) {
  void* range =
      mmap(nullptr, RANGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (range == MAP_FAILED) {
    explain(
        "cannot reserve 2 TiB of addresses; vm.overcommit_memory=2 or a limit on addresses (ulimit -v) "
        "forbids it");
    _Exit(2);
  }
  madvise(range, RANGE, MADV_NOHUGEPAGE);
  first_ = next_ = reinterpret_cast<uint64_t>(range);
}

// The next addresses that nothing live uses; forgets the freed allocations that lay there.
uint64_t Memory::place(size_t span) {
  uint64_t start = next_;
  for (bool wrapped = false;;) {
    if (start + span > first_ + RANGE) {
      if (wrapped) return 0;
      wrapped = true;
      start = first_;
      resident_.clear();
      resident_bytes_ = 0;
    }
    auto entry = all_.lower_bound(start);
    uint64_t beyond = 0;
    for (; entry != all_.end() && entry->first < start + span; ++entry) {
      if (entry->second.live) beyond = entry->first - RED_ZONE + span_of(entry->second.bytes);
    }
    if (beyond == 0) break;
    start = beyond;
  }
  const auto from = all_.lower_bound(start), to = all_.lower_bound(start + span);
  all_.erase(from, to);
  next_ = start + span;
  return start;
}

CUresult Memory::allocate(size_t bytes, bool pooled, uint64_t* address) {
  const std::lock_guard<std::mutex> guard(lock_);
  const size_t counted = round_up(std::max<size_t>(bytes, 1), UNIT);
  if (pooled) {
    const uint64_t exact = std::max(reserved_, used_ + counted);
    const uint64_t stepped = round_up(exact, GROWTH);
    if (plain_ + exact > total_) return CUDA_ERROR_OUT_OF_MEMORY;
    reserved_ = plain_ + stepped > total_ ? exact : stepped;
    used_ += counted;
  } else {
    if (plain_ + reserved_ + counted > total_) return CUDA_ERROR_OUT_OF_MEMORY;
    plain_ += counted;
  }
  const uint64_t start = place(span_of(bytes));
  if (start == 0) return CUDA_ERROR_OUT_OF_MEMORY;
  const uint64_t base = start + RED_ZONE;
  all_[base] = {base, bytes, pooled, false, true};
  if (settings().compute) memset(reinterpret_cast<void*>(start), POISON, span_of(bytes));
  *address = base;
  return CUDA_SUCCESS;
}

CUresult Memory::give_back(uint64_t address) {
  const std::lock_guard<std::mutex> guard(lock_);
  const auto entry = all_.find(address);
  if (entry == all_.end() || entry->second.given_back) {
    const char* why = entry == all_.end() ? " was never allocated here" : " was freed before";
    explain("free: " + hex(address) + why + " (device " + std::to_string(device_) + ")");
    return CUDA_ERROR_INVALID_VALUE;
  }
  entry->second.given_back = true;
  const size_t counted = round_up(std::max<size_t>(entry->second.bytes, 1), UNIT);
  (entry->second.pooled ? used_ : plain_) -= counted;
  return CUDA_SUCCESS;
}

void Memory::bury(uint64_t address) {
  const std::lock_guard<std::mutex> guard(lock_);
  Allocation& allocation = all_.at(address);
  allocation.live = false;
  freed_.push_back(address);
  while (freed_.size() > REMEMBERED) {
    const auto oldest = all_.find(freed_.front());
    if (oldest != all_.end() && !oldest->second.live) all_.erase(oldest);
    freed_.pop_front();
  }
  const bool whole = !settings().compute || intact(allocation);
  const size_t span = span_of(allocation.bytes);
  void* start = reinterpret_cast<void*>(address - RED_ZONE);
  if (settings().compute && span <= QUARANTINE) {
    memset(start, POISON, span);
    resident_.push_back(allocation);
    resident_bytes_ += span;
    while (resident_bytes_ > QUARANTINE) {
      const Allocation& oldest = resident_.front();
      const auto now = all_.find(oldest.base);
      if (now == all_.end() || !now->second.live) {
        madvise(reinterpret_cast<void*>(oldest.base - RED_ZONE), span_of(oldest.bytes), MADV_DONTNEED);
      }
      resident_bytes_ -= span_of(oldest.bytes);
      resident_.pop_front();
    }
  } else {
    madvise(start, span, MADV_DONTNEED);
  }
  if (!whole) {
    throw Illegal{CUDA_ERROR_ILLEGAL_ADDRESS, "a write beside the allocation of " +
                                                  std::to_string(allocation.bytes) + " bytes at " +
                                                  hex(address) + ", found when it was freed"};
  }
}

bool Memory::intact(const Allocation& allocation) const {
  const auto* at = reinterpret_cast<const unsigned char*>(allocation.base);
  return all_poison(at - RED_ZONE, RED_ZONE) && all_poison(at + allocation.bytes, RED_ZONE);
}

const Allocation* Memory::find(uint64_t address) const {
  auto entry = all_.upper_bound(address);
  if (entry == all_.begin()) return nullptr;
  --entry;
  return &entry->second;
}

Allocation Memory::around(uint64_t address) const {
  const std::lock_guard<std::mutex> guard(lock_);
  const Allocation* found = find(address);
  if (!found || !found->live || address >= found->base + std::max<size_t>(found->bytes, 1)) return {};
  return *found;
}

size_t Memory::check(uint64_t address, size_t bytes, size_t element, const std::string& what) const {
  const std::lock_guard<std::mutex> guard(lock_);
  const Allocation* found = find(address);
  const bool inside =
      found && found->live && address + std::max<size_t>(bytes, 1) <= found->base + found->bytes;
  if (!inside && !(bytes == 0 && found && found->live && address == found->base + found->bytes)) {
    throw wrong(address, bytes, what);
  }
  if (element > 1 && address % element != 0) {
    throw Illegal{CUDA_ERROR_MISALIGNED_ADDRESS, what + ": " + hex(address) +
                                                     " is no multiple of its element's " +
                                                     std::to_string(element) + " bytes"};
  }
  return found->base + found->bytes - address;
}

Illegal Memory::wrong(uint64_t address, size_t bytes, const std::string& what) const {
  std::string text =
      what + ": " + (bytes > 1 ? std::to_string(bytes) + " bytes at " : "") + hex(address) + " ";
  const Allocation* found = find(address);
  if (!owns_address(address)) {
    text += "is no memory of device " + std::to_string(device_);
  } else if (found && address < found->base + found->bytes + RED_ZONE) {
    const std::string of = " of an allocation of " + std::to_string(found->bytes) + " bytes";
    text += !found->live ? "was freed (" + std::to_string(address - found->base) +
                               " bytes into an allocation of " + std::to_string(found->bytes) + ")"
                         : "reaches beyond the end" + of;
  } else {
    text += "was never allocated";
  }
  return {CUDA_ERROR_ILLEGAL_ADDRESS, text};
}

void Memory::check_red_zones(uint64_t address, const std::string& what) const {
  if (!settings().compute) return;
  const Allocation allocation = around(address);
  if (allocation.base != 0 && !intact(allocation)) {
    throw Illegal{CUDA_ERROR_ILLEGAL_ADDRESS, what + ": a write beside the allocation of " +
                                                  std::to_string(allocation.bytes) + " bytes at " +
                                                  hex(allocation.base)};
  }
}

void Memory::release_idle() {
  const std::lock_guard<std::mutex> guard(lock_);
  reserved_ = std::max(used_, std::min(reserved_, threshold));
}

void Memory::trim(size_t keep) {
  const std::lock_guard<std::mutex> guard(lock_);
  reserved_ = std::max(used_, std::min<uint64_t>(reserved_, keep));
}

void Memory::info(size_t* free, size_t* total) const {
  const std::lock_guard<std::mutex> guard(lock_);
  *free = total_ - plain_ - reserved_;
  *total = total_;
}

} // namespace software_cuda

#include "device.h"

#include <algorithm>
#include <unordered_set>

#include "settings.h"

namespace software_cuda {
namespace {

std::atomic<bool> initialised{false};
std::atomic<unsigned> streams_made{0};

// Like everything else here it lives until the process ends, since streams have threads.
std::vector<Device*>& devices() {
  static auto* all = [] {
    auto* made = new std::vector<Device*>;
    for (int i = 0; i < settings().devices; i++) {
      made->push_back(new Device(i));
      made->back()->standard = std::make_unique<Stream>(made->back());
    }
    return made;
  }();
  return *all;
}

std::mutex& registry_lock() {
  static auto* lock = new std::mutex;
  return *lock;
}

std::unordered_set<Stream*>& registry() {
  static auto* all = new std::unordered_set<Stream*>;
  return *all;
}

} // namespace

Device::Device(int number) : number(number), memory(number, settings().memory) {}

void Device::fail(CUresult status, const std::string& why) {
  CUresult none = CUDA_SUCCESS;
  if (pending.compare_exchange_strong(none, status)) {
    explain("error " + std::to_string(status) + " on device " + std::to_string(number) + ": " + why);
  }
}

CUresult Device::report() {
  CUresult none = CUDA_SUCCESS;
  const CUresult happened = pending;
  if (happened != CUDA_SUCCESS) dead.compare_exchange_strong(none, happened);
  return dead;
}

Stream::Stream(Device* device)
    : device(device), number(streams_made++), random_(settings().seed * 1000003 + number) {
  {
    const std::lock_guard<std::mutex> guard(device->lock);
    device->streams.push_back(this);
    device->stream_count = device->streams.size();
  }
  const std::lock_guard<std::mutex> guard(registry_lock());
  registry().insert(this);
  if (settings().late) thread_ = new std::thread([this] { run(); });
}

Stream::~Stream() {
  drain();
  if (thread_) {
    {
      const std::lock_guard<std::mutex> guard(lock_);
      ending_ = true;
    }
    changed_.notify_all();
    thread_->join();
    delete thread_;
  }
  const std::lock_guard<std::mutex> guard(device->lock);
  auto& streams = device->streams;
  streams.erase(std::remove(streams.begin(), streams.end(), this), streams.end());
  device->stream_count = streams.size();
}

void Stream::put(std::function<void()> work) {
  put_always([this, work = std::move(work)] {
    if (device->broken()) return;
    try {
      work();
    } catch (const Illegal& illegal) {
      device->fail(illegal.status, illegal.text);
    }
  });
}

void Stream::put_always(std::function<void()> work) {
  std::unique_lock<std::mutex> guard(lock_);
  if (capturing_) {
    captured_.push_back(std::move(work));
    return;
  }
  if (!thread_) {
    work();
    return;
  }
  queue_.push_back(std::move(work));
  guard.unlock();
  changed_.notify_all();
}

bool Stream::idle() {
  const std::lock_guard<std::mutex> guard(lock_);
  return queue_.empty() && !busy_;
}

void Stream::drain() {
  std::unique_lock<std::mutex> guard(lock_);
  changed_.wait(guard, [this] { return queue_.empty() && !busy_; });
}

void Stream::dawdle() {
  if (!thread_) return;
  const uint64_t dice = random_();
  if (dice % 4 == 0) std::this_thread::sleep_for(std::chrono::microseconds(dice / 4 % 400));
}

bool Stream::begin_capture() {
  const std::lock_guard<std::mutex> guard(lock_);
  if (capturing_) return false;
  captured_.clear();
  spoiled_ = false;
  return capturing_ = true;
}

bool Stream::capturing() {
  const std::lock_guard<std::mutex> guard(lock_);
  return capturing_;
}

bool Stream::spoil_capture() {
  const std::lock_guard<std::mutex> guard(lock_);
  if (capturing_) spoiled_ = true;
  return capturing_;
}

std::optional<std::vector<std::function<void()>>> Stream::end_capture() {
  const std::lock_guard<std::mutex> guard(lock_);
  const bool whole = capturing_ && !spoiled_;
  capturing_ = false;
  std::vector<std::function<void()>> work = std::move(captured_);
  captured_.clear();
  if (!whole) return std::nullopt;
  return work;
}

void Stream::run() {
  std::unique_lock<std::mutex> guard(lock_);
  for (;;) {
    changed_.wait(guard, [this] { return ending_ || !queue_.empty(); });
    if (queue_.empty()) return;
    std::function<void()> work = std::move(queue_.front());
    queue_.pop_front();
    busy_ = true;
    guard.unlock();
    dawdle();
    work();
    work = nullptr;
    guard.lock();
    busy_ = false;
    changed_.notify_all();
  }
}

void Mark::finish() {
  const std::lock_guard<std::mutex> guard(lock);
  done = true;
  when = std::chrono::steady_clock::now();
  changed.notify_all();
}

void Mark::wait() {
  std::unique_lock<std::mutex> guard(lock);
  changed.wait(guard, [this] { return done; });
}

bool Mark::is_done() {
  const std::lock_guard<std::mutex> guard(lock);
  return done;
}

void initialise() {
  devices();
  initialised = true;
}

CUresult device_of(int number, Device** device) {
  if (!initialised) return CUDA_ERROR_NOT_INITIALIZED;
  if (number < 0 || static_cast<size_t>(number) >= devices().size()) return CUDA_ERROR_INVALID_DEVICE;
  *device = devices()[static_cast<size_t>(number)];
  return CUDA_SUCCESS;
}

Device*& current_device() {
  static thread_local Device* current = nullptr;
  return current;
}

CUresult enter(Device** device) {
  if (!initialised) return CUDA_ERROR_NOT_INITIALIZED;
  *device = current_device();
  if (!*device) return CUDA_ERROR_INVALID_CONTEXT;
  return (*device)->dead;
}

Stream* stream_of(void* handle) {
  const auto number = reinterpret_cast<uintptr_t>(handle);
  if (number <= 2) return current_device() ? current_device()->standard.get() : nullptr;
  const std::lock_guard<std::mutex> guard(registry_lock());
  auto* stream = static_cast<Stream*>(handle);
  return registry().count(stream) ? stream : nullptr;
}

void forget_stream(Stream* stream) {
  const std::lock_guard<std::mutex> guard(registry_lock());
  registry().erase(stream);
}

} // namespace software_cuda

// Devices, their streams and events.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <thread>
#include <chrono>
#include <string>
#include <vector>

#include "memory.h"
#include "status.h"

namespace software_cuda {

struct Stream;

struct SHARED Device {
  explicit Device(int number);
  const int number;
  Memory memory;
  std::unique_ptr<Stream> standard; // the default stream
  std::atomic<CUresult> pending{CUDA_SUCCESS}; // happened, not yet reported
  std::atomic<CUresult> dead{CUDA_SUCCESS}; // reported: the answer to every later call
  std::mutex lock; // of `streams`
  std::vector<Stream*> streams;
  std::atomic<size_t> stream_count{0}; // the default one among them

  bool broken() const { return pending != CUDA_SUCCESS || dead != CUDA_SUCCESS; }
  // An error that the work on the device caused; the next synchronising call reports it.
  void fail(CUresult status, const std::string& why);
  // Reports what has happened so far; from then on the context is dead.
  CUresult report();
};

// Work in the order in which it was put there. Eager streams run it at once, late ones on a thread of their
// own.
struct SHARED Stream {
  explicit Stream(Device* device);
  ~Stream();
  // Runs `work` in its turn, unless the device has failed by then.
  void put(std::function<void()> work);
  // Runs `work` in its turn in any case.
  void put_always(std::function<void()> work);
  bool idle();
  void drain();
  // In a late stream, sometimes waits a little between two pieces of work.
  void dawdle();

  // Capture: work is collected instead of run.
  bool begin_capture();
  bool capturing();
  // Ends a call that cannot be captured, and with it the capture: true if there is one.
  bool spoil_capture();
  // What was collected; nothing after a call that spoiled it.
  std::optional<std::vector<std::function<void()>>> end_capture();

  Device* const device;
  const unsigned number;

 private:
  void run();
  std::mutex lock_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> queue_;
  bool busy_ = false, ending_ = false, capturing_ = false, spoiled_ = false;
  std::vector<std::function<void()>> captured_;
  std::mt19937_64 random_;
  std::thread* thread_ = nullptr;
};

// One recording of an event.
struct Mark {
  std::mutex lock;
  std::condition_variable changed;
  bool done = false;
  std::chrono::steady_clock::time_point when;
  void finish();
  void wait();
  bool is_done();
};

struct Event {
  Device* device;
  bool timed;
  std::mutex lock;
  std::shared_ptr<Mark> mark; // null before the first recording
};

// The devices, once cuInit has been called; null and an error before, or for a number that is too large.
SHARED CUresult device_of(int number, Device** device);
void initialise();
// The device whose context is current in this thread; null if there is none.
SHARED Device*& current_device();
// Begins a call: the current device, or why there is none to work on.
SHARED CUresult enter(Device** device);
// The stream behind a handle; null if it is none of this process.
SHARED Stream* stream_of(void* handle);
void forget_stream(Stream* stream);

} // namespace software_cuda

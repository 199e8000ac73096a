#include "parallel.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "settings.h"

namespace software_cuda {
namespace {

struct Pool {
  std::mutex owner; // held by the caller that uses the threads
  std::mutex lock;
  std::condition_variable changed;
  const std::function<void()>* work = nullptr;
  unsigned wanted = 0, running = 0;

  Pool() {
    for (unsigned i = 1; i < settings().threads; i++) std::thread([this] { run(); }).detach();
  }

  void run() {
    std::unique_lock<std::mutex> guard(lock);
    for (;;) {
      changed.wait(guard, [this] { return wanted > 0; });
      wanted -= 1;
      running += 1;
      const std::function<void()>& now = *work;
      guard.unlock();
      now();
      guard.lock();
      running -= 1;
      changed.notify_all();
    }
  }
};

} // namespace

void in_parallel(unsigned threads, const std::function<void()>& work) {
  static Pool* pool = new Pool; // its threads outlive every static object
  threads = std::min(threads, settings().threads);
  std::unique_lock<std::mutex> owner(pool->owner, std::try_to_lock);
  if (threads < 2 || !owner) {
    work();
    return;
  }
  std::unique_lock<std::mutex> guard(pool->lock);
  pool->work = &work;
  pool->wanted = threads - 1;
  guard.unlock();
  pool->changed.notify_all();
  work();
  guard.lock();
  pool->wanted = 0; // a thread that has not begun yet finds nothing left
  pool->changed.wait(guard, [] { return pool->running == 0; });
}

} // namespace software_cuda

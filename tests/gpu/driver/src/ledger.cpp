#include "ledger.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <mutex>

#include "settings.h"

namespace software_cuda {
namespace {

// Lives until the process ends: threads of the program may still write while others leave.
struct Ledger {
  std::mutex lock;
  FILE* file = nullptr;
  std::string stage;
};

Ledger& ledger() {
  static Ledger* one = [] {
    auto* ledger = new Ledger;
    const char* path = getenv("SOFTWARE_CUDA_LEDGER");
    if (path && *path) {
      ledger->file = fopen(path, "a");
      if (!ledger->file) {
        explain(std::string("cannot write the ledger ") + path);
        _Exit(2);
      }
      setvbuf(ledger->file, nullptr, _IOFBF, 1 << 16);
    }
    return ledger;
  }();
  return *one;
}

using Clock = std::chrono::steady_clock;

// When this thread's last entry was written; before the first one the epoch.
thread_local Clock::time_point written;

// Nanoseconds that this thread has spent on other things than entries.
int64_t nanoseconds_between() {
  if (written == Clock::time_point()) return 0;
  return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - written).count();
}

std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    char code[8];
    if (c == '"' || c == '\\') {
      result += '\\';
      result += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      snprintf(code, sizeof code, "\\u%04x", c);
      result += code;
    } else {
      result += c;
    }
  }
  return result + '"';
}

__attribute__((destructor)) void flush_at_exit() {
  if (has_ledger()) fflush(ledger().file);
}

} // namespace

bool has_ledger() { return ledger().file != nullptr; }

Entry::Entry(const char* op) {
  if (!has_ledger()) return;
  line_ = std::string("{\"op\":\"") + op + '"';
  number("between_ns", nanoseconds_between());
}

Entry::~Entry() {
  if (line_.empty()) return;
  Ledger& all = ledger();
  const std::lock_guard<std::mutex> guard(all.lock);
  line_ += ",\"stage\":" + quoted(all.stage) + "}\n";
  fwrite(line_.data(), 1, line_.size(), all.file);
  written = Clock::now();
}

Entry& Entry::raw(const char* key, const std::string& json) {
  if (!line_.empty()) line_ += std::string(",\"") + key + "\":" + json;
  return *this;
}

Entry& Entry::text(const char* key, const std::string& value) {
  return line_.empty() ? *this : raw(key, quoted(value));
}

Entry& Entry::number(const char* key, int64_t value) {
  return line_.empty() ? *this : raw(key, std::to_string(value));
}

Entry& Entry::flag(const char* key, bool value) { return raw(key, value ? "true" : "false"); }

void ledger_wait(const char* call) {
  if (!has_ledger()) return;
  Entry("wait").text("call", call);
  // A process that is killed while it waits leaves what it did before.
  const std::lock_guard<std::mutex> guard(ledger().lock);
  fflush(ledger().file);
  written = Clock::now();
}

} // namespace software_cuda

// Names what the program does from now on; a measuring program finds this function with dlsym.
EXPORT void softwareCudaStage(const char* name) {
  using namespace software_cuda;
  if (!has_ledger()) return;
  {
    const std::lock_guard<std::mutex> guard(ledger().lock);
    ledger().stage = name ? name : "";
  }
  Entry("stage").text("name", name ? name : "");
  const std::lock_guard<std::mutex> guard(ledger().lock);
  fflush(ledger().file);
  written = Clock::now();
}

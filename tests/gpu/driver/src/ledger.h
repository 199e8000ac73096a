// The ledger: one JSON object a line for everything that a program asks of the driver.
#pragma once

#include <cstdint>
#include <string>

#include "status.h"

namespace software_cuda {

// A line of the ledger; written when it goes out of scope, with the stage of that moment.
class SHARED Entry {
 public:
  explicit Entry(const char* op);
  Entry(const Entry&) = delete;
  ~Entry();
  Entry& text(const char* key, const std::string& value);
  Entry& number(const char* key, int64_t value);
  Entry& flag(const char* key, bool value);
  Entry& raw(const char* key, const std::string& json);

 private:
  std::string line_; // empty while there is no ledger
};

// Whether SOFTWARE_CUDA_LEDGER is set.
SHARED bool has_ledger();

// A line for a call that makes the host wait or poll.
SHARED void ledger_wait(const char* call);

} // namespace software_cuda

// Injected faults: a point of the driver, the status that it answers, and when.
#pragma once

#include <optional>
#include <string>

#include "status.h"

namespace software_cuda {

struct Fault {
  int status;
  bool sticky; // the context is dead from then on
};

// The fault of this passage through `point`, if any; `name` is the kernel's at point "launch".
SHARED std::optional<Fault> fault_at(const char* point, const std::string& name = "");

// Errors that a card reports after the call that caused them.
bool is_asynchronous(CUresult status);

} // namespace software_cuda

// Work shared among a few threads that live as long as the process.
#pragma once

#include <functional>

#include "status.h"

namespace software_cuda {

// Calls `work` on up to `threads` threads at once, this one among them. It takes its share from a common
// counter: while another caller has the threads, this one does everything alone.
SHARED void in_parallel(unsigned threads, const std::function<void()>& work);

} // namespace software_cuda

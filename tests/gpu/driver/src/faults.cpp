#include "faults.h"

#include <sys/stat.h>

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <sstream>
#include <vector>

#include "settings.h"

namespace software_cuda {
namespace {

enum class Mode { Once, Always, Sticky };

struct Spec {
  std::string point, kernel; // `kernel` is the start of a kernel's name, or empty
  int status;
  unsigned long first;
  Mode mode;
  unsigned long passed = 0;
  bool wanted(const char* at, const std::string& name) const {
    return point == at && name.compare(0, kernel.size(), kernel) == 0;
  }
};

const char* const POINTS[] = {"init",  "driver_version", "launch",  "copy",          "sync",
                              "alloc", "alloc_plain",    "product", "cublas_create", "module_load"};

Spec parse(const std::string& text) {
  std::istringstream parts(text);
  std::string point, status, first = "1", mode = "once";
  std::getline(parts, point, ':');
  std::getline(parts, status, ':');
  std::getline(parts, first, ':');
  std::getline(parts, mode, ':');
  Spec spec{point, "", atoi(status.c_str()), strtoul(first.c_str(), nullptr, 10), Mode::Once};
  const size_t bracket = point.find('(');
  if (bracket != std::string::npos && point.back() == ')') {
    spec.kernel = point.substr(bracket + 1, point.size() - bracket - 2);
    spec.point = point.substr(0, bracket);
  }
  bool known = false;
  for (const char* name : POINTS) known = known || spec.point == name;
  if (mode == "always") spec.mode = Mode::Always;
  if (mode == "sticky") spec.mode = Mode::Sticky;
  if (!known || spec.status == 0 || spec.first == 0 || (mode == "once") != (spec.mode == Mode::Once)) {
    explain("fault `" + text + "`: expected point:status:first:once|always|sticky");
    _Exit(2);
  }
  return spec;
}

struct Faults {
  std::mutex lock;
  std::vector<Spec> specs;
  std::atomic<size_t> count{0};
  std::string file;
  struct timespec changed = {0, 0};

  void add(const std::string& text) {
    std::istringstream all(text);
    for (std::string one; std::getline(all, one, ';');) {
      const size_t start = one.find_first_not_of(" \n\t\r");
      if (start == std::string::npos) continue;
      one = one.substr(start, one.find_last_not_of(" \n\t\r") - start + 1);
      const Spec spec = parse(one);
      const std::lock_guard<std::mutex> guard(lock);
      specs.push_back(spec);
      count = specs.size();
    }
  }

  // Replaces all faults by those of the file if it has changed. It looks at every call: a request can come and end
  // within milliseconds of the change.
  void look() {
    if (file.empty()) return;
    struct stat state;
    if (stat(file.c_str(), &state) != 0) return;
    {
      const std::lock_guard<std::mutex> guard(lock);
      if (state.st_mtim.tv_sec == changed.tv_sec && state.st_mtim.tv_nsec == changed.tv_nsec) return;
      changed = state.st_mtim;
    }
    std::ifstream in(file);
    std::string text;
    for (std::string line; std::getline(in, line);) text += line + ';';
    {
      const std::lock_guard<std::mutex> guard(lock);
      specs.clear();
      count = 0;
    }
    add(text);
  }
};

Faults& faults() {
  static Faults* one = [] {
    auto* faults = new Faults;
    if (const char* given = getenv("SOFTWARE_CUDA_FAULTS")) faults->add(given);
    if (const char* path = getenv("SOFTWARE_CUDA_FAULTS_FILE")) faults->file = path;
    return faults;
  }();
  return *one;
}

} // namespace

std::optional<Fault> fault_at(const char* point, const std::string& name) {
  Faults& all = faults();
  all.look();
  if (all.count == 0) return std::nullopt;
  const std::lock_guard<std::mutex> guard(all.lock);
  std::optional<Fault> found;
  for (Spec& spec : all.specs) {
    if (!spec.wanted(point, name)) continue;
    spec.passed += 1;
    const bool now = spec.mode == Mode::Always ? spec.passed >= spec.first : spec.passed == spec.first;
    if (now && !found) found = Fault{spec.status, spec.mode == Mode::Sticky};
  }
  return found;
}

bool is_asynchronous(CUresult status) {
  for (const CUresult one : {214, 220, 226, 700, 702, 710, 714, 715, 716, 717, 718, 719, 721}) {
    if (status == one) return true;
  }
  return false;
}

} // namespace software_cuda

// Adds faults while the program runs; occurrences count from this call.
EXPORT void softwareCudaFault(const char* spec) {
  if (spec) software_cuda::faults().add(spec);
}

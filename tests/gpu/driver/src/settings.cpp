#include "settings.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <thread>

namespace software_cuda {
namespace {

std::string text_of(const char* name, const char* otherwise) {
  const char* value = getenv(name);
  return value && *value ? value : otherwise;
}

[[noreturn]] void reject(const std::string& name, const std::string& value, const char* expected) {
  explain(name + "=" + value + ": expected " + expected);
  _Exit(2); // a test that runs with a setting it did not mean proves nothing
}

uint64_t number_of(const char* name, uint64_t otherwise) {
  const std::string value = text_of(name, std::to_string(otherwise).c_str());
  char* end = nullptr;
  const uint64_t number = strtoull(value.c_str(), &end, 10);
  if (*end != 0) reject(name, value, "a number");
  return number;
}

bool choice_of(const char* name, const char* usual, const char* other) {
  const std::string value = text_of(name, usual);
  if (value != usual && value != other) reject(name, value, (std::string(usual) + " or " + other).c_str());
  return value == other;
}

Settings read() {
  Settings settings;
  settings.devices = static_cast<int>(number_of("SOFTWARE_CUDA_DEVICES", 1));
  settings.memory = number_of("SOFTWARE_CUDA_MEMORY", uint64_t(8) << 30);
  settings.driver_version = static_cast<int>(number_of("SOFTWARE_CUDA_DRIVER_VERSION", 13000));
  settings.late = choice_of("SOFTWARE_CUDA_STREAMS", "eager", "late");
  settings.seed = number_of("SOFTWARE_CUDA_SEED", 1);
  settings.compute = !choice_of("SOFTWARE_CUDA_COMPUTE", "on", "off");
  const unsigned cores = std::max(1u, std::thread::hardware_concurrency());
  settings.threads = static_cast<unsigned>(number_of("SOFTWARE_CUDA_THREADS", std::min(2u, cores)));
  if (settings.threads == 0) reject("SOFTWARE_CUDA_THREADS", "0", "at least 1");
  if (settings.devices > 16) reject("SOFTWARE_CUDA_DEVICES", std::to_string(settings.devices), "at most 16");
  std::istringstream survivors(text_of("SOFTWARE_CUDA_SURVIVORS", ""));
  for (std::string one; std::getline(survivors, one, ',');) {
    settings.survivors.push_back(static_cast<unsigned>(strtoul(one.c_str(), nullptr, 10)));
  }
  return settings;
}

} // namespace

const Settings& settings() {
  static const Settings* all = new Settings(read()); // streams still ask for it while the process ends
  return *all;
}

void explain(const std::string& text) {
  const std::string line = "software CUDA device: " + text + "\n";
  fputs(line.c_str(), stderr);
}

} // namespace software_cuda

#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

#include "libs/service/metrics.h"

namespace gantry::service {
namespace {

struct Usage {
  double cpu_seconds = 0, virtual_bytes = 0, resident_bytes = 0, threads = 0;
};

/// Fields of /proc/self/stat after the command's name, which may hold anything: see proc(5).
Usage read_usage() {
  std::ifstream file("/proc/self/stat");
  std::string line((std::istreambuf_iterator<char>(file)), {});
  auto end = line.rfind(')');
  if (end == std::string::npos) return {};
  std::istringstream rest(line.substr(end + 1));
  std::vector<std::string> fields{std::istream_iterator<std::string>(rest), {}};
  if (fields.size() < 22) return {};
  auto field = [&](size_t number) { return std::strtod(fields[number - 3].c_str(), nullptr); };
  auto ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  return {(field(14) + field(15)) / ticks, field(23), field(24) * static_cast<double>(sysconf(_SC_PAGESIZE)),
          field(20)};
}

double count_open_files() {
  std::error_code error;
  std::filesystem::directory_iterator files("/proc/self/fd", error);
  return error ? 0 : static_cast<double>(std::distance(begin(files), end(files)));
}

}  // namespace

void add_process_metrics(Metrics& metrics) {
  auto& cpu = metrics.gauge("process_cpu_seconds_total", "User and system CPU time, in seconds.");
  auto& resident = metrics.gauge("process_resident_memory_bytes", "Resident memory.");
  auto& virtual_memory = metrics.gauge("process_virtual_memory_bytes", "Virtual memory.");
  auto& threads = metrics.gauge("process_threads", "Threads.");
  auto& open_files = metrics.gauge("process_open_fds", "Open file descriptors.");
  auto& started = metrics.gauge("process_start_time_seconds", "When the process started, in seconds since 1970.");
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  metrics.gauge("process_max_fds", "Limit of open file descriptors.").set(static_cast<double>(limit.rlim_cur));
  started.set(static_cast<double>(time(nullptr)));
  metrics.collect([&] {
    auto usage = read_usage();
    cpu.set(usage.cpu_seconds);
    resident.set(usage.resident_bytes);
    virtual_memory.set(usage.virtual_bytes);
    threads.set(usage.threads);
    open_files.set(count_open_files());
  });
}

}  // namespace gantry::service

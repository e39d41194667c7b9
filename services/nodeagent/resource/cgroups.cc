#include "services/nodeagent/resource/cgroups.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <glog/logging.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "services/nodeagent/resource/pod_resources.h"

namespace gantry::nodeagent {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kPod = "pod";
constexpr std::array kClasses = {"", "/burstable", "/besteffort"};
constexpr std::array kControllers = {"cpu", "memory", "pids", "hugetlb"};  // those that we set

// In one write, as the kernel wants it.
Status write(const std::string& path, const std::string& value) {
  const int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  const bool done = fd >= 0 && ::write(fd, value.data(), value.size()) == static_cast<ssize_t>(value.size());
  const int why = errno;
  if (fd >= 0) close(fd);
  if (done) return Done{};
  return Error{Code::kInternal, fmt::format("writing \"{}\" to {}: {}", value, path, strerror(why))};
}

std::optional<uint64_t> read_number(const std::string& path) {
  std::ifstream in(path);
  uint64_t value = 0;
  if (in >> value) return value;
  return std::nullopt;
}

std::optional<uint64_t> read_field(const std::string& path, std::string_view field) {
  std::ifstream in(path);
  std::string name;
  uint64_t value = 0;
  while (in >> name >> value) {
    if (name == field) return value;
  }
  return std::nullopt;
}

// Children first: the kernel removes only what is empty.
void remove_tree(const fs::path& path) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(path, error)) {
    std::error_code ignored;
    if (entry.is_directory(ignored) && !entry.is_symlink(ignored)) remove_tree(entry.path());
  }
  if (rmdir(path.c_str()) != 0 && errno != ENOENT) VLOG(1) << "cgroup=" << path << ": " << strerror(errno);
}

}  // namespace

void remove_pod_cgroup(const std::string& parent, const std::string& uid) {
  if (parent.empty() || uid.empty()) return;
  for (const char* qos : kClasses) Cgroups().remove(fmt::format("{}{}/{}{}", parent, qos, kPod, uid));
}

std::vector<std::string> pods_with_cgroups(const std::string& parent) {
  std::vector<std::string> out;
  if (parent.empty()) return out;
  for (const char* qos : kClasses) {
    for (const auto& name : Cgroups().children(parent + qos)) {
      if (auto uid = uid_of_cgroup(name); !uid.empty()) out.push_back(std::move(uid));
    }
  }
  return out;
}

std::string uid_of_cgroup(const std::string& name) {
  return name.starts_with(kPod) ? name.substr(kPod.size()) : std::string();
}

Cgroups::Cgroups(std::string root) : root_(std::move(root)) {
  std::error_code error;
  if (fs::exists(root_ + "/cgroup.controllers", error)) {
    version_ = Version::kV2;
  } else if (fs::exists(root_ + "/memory", error) || fs::exists(root_ + "/cpu", error)) {
    version_ = Version::kV1;
  }
}

std::string Cgroups::file(const char* controller, const std::string& path, const char* name) const {
  return version_ == Version::kV2 ? fmt::format("{}{}/{}", root_, path, name)
                                  : fmt::format("{}/{}{}/{}", root_, controller, path, name);
}

std::vector<std::string> Cgroups::hierarchies() const {
  if (version_ == Version::kV2) return {root_};
  std::vector<std::string> out;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(root_, error)) {
    std::error_code ignored;
    if (fs::exists(entry.path() / "cgroup.procs", ignored)) out.push_back(entry.path());
  }
  return out;
}

Status Cgroups::make(const std::string& path) const {
  std::error_code error;
  if (version_ == Version::kV1) {
    for (const char* controller : kControllers) {
      if (!fs::exists(fmt::format("{}/{}", root_, controller), error)) continue;
      fs::create_directories(fmt::format("{}/{}{}", root_, controller, path), error);
      if (error) return Error{Code::kInternal, fmt::format("cgroup {}{}: {}", controller, path, error.message())};
    }
    return Done{};
  }
  // Each level must hand its controllers down.
  for (size_t end = 0; end != std::string::npos;) {
    const auto above = root_ + path.substr(0, end);
    for (const char* controller : {"+cpu", "+memory", "+pids", "+hugetlb", "+cpuset", "+io"})
      (void)write(above + "/cgroup.subtree_control", controller);  // the machine may lack it
    end = path.find('/', end + 1);
    fs::create_directory(root_ + path.substr(0, end), error);
    if (error) return Error{Code::kInternal, fmt::format("cgroup {}: {}", path.substr(0, end), error.message())};
  }
  return Done{};
}

Status Cgroups::set_shares(const std::string& path, int64_t shares) const {
  if (version_ == Version::kNone) return Done{};
  if (auto made = make(path); !made.ok()) return made;
  return version_ == Version::kV2 ? write(file("", path, "cpu.weight"), std::to_string(cpu_weight(shares)))
                                  : write(file("cpu", path, "cpu.shares"), std::to_string(shares));
}

Status Cgroups::apply(const std::string& path, const Resources& r, int64_t processes) const {
  if (version_ == Version::kNone) return Done{};
  Status outcome = make(path);
  if (!outcome.ok()) return outcome;
  const auto set = [&](const char* controller, const char* name, const std::string& value) {
    const auto target = file(controller, path, name);
    std::error_code error;
    if (!fs::exists(target, error)) return;  // the machine lacks the controller
    if (auto s = write(target, value); !s.ok() && outcome.ok()) outcome = s;
  };
  if (r.cpu_shares > 0) outcome = set_shares(path, r.cpu_shares);
  const auto or_max = [](int64_t value) { return value > 0 ? std::to_string(value) : std::string("max"); };
  if (version_ == Version::kV2) {
    set("", "cpu.max", fmt::format("{} {}", or_max(r.cpu_quota), r.cpu_period > 0 ? r.cpu_period : kCpuPeriod));
    set("", "memory.max", or_max(r.memory_limit));
    set("", "pids.max", or_max(processes));
    for (const auto& [size, bytes] : r.hugepages)
      set("", fmt::format("hugetlb.{}.max", size).c_str(), std::to_string(bytes));
  } else {
    set("cpu", "cpu.cfs_period_us", std::to_string(r.cpu_period > 0 ? r.cpu_period : kCpuPeriod));
    set("cpu", "cpu.cfs_quota_us", std::to_string(r.cpu_quota > 0 ? r.cpu_quota : -1));
    set("memory", "memory.limit_in_bytes", std::to_string(r.memory_limit > 0 ? r.memory_limit : -1));
    set("pids", "pids.max", or_max(processes));
    for (const auto& [size, bytes] : r.hugepages)
      set("hugetlb", fmt::format("hugetlb.{}.limit_in_bytes", size).c_str(), std::to_string(bytes));
  }
  return outcome;
}

void Cgroups::remove(const std::string& path) const {
  if (version_ == Version::kNone || path.size() < 2) return;
  for (const auto& hierarchy : hierarchies()) {
    std::error_code error;
    if (fs::exists(hierarchy + path, error)) remove_tree(hierarchy + path);
  }
}

std::vector<std::string> Cgroups::children(const std::string& path) const {
  std::vector<std::string> out;
  if (version_ == Version::kNone) return out;
  for (const auto& hierarchy : hierarchies()) {
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(hierarchy + path, error)) {
      std::error_code ignored;
      if (entry.is_directory(ignored)) out.push_back(entry.path().filename());
    }
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

std::optional<Cgroups::Processes> Cgroups::processes(const std::string& path) const {
  if (version_ == Version::kNone) return std::nullopt;
  const auto now = read_number(file("pids", path, "pids.current")), most = read_number(file("pids", path, "pids.max"));
  if (!now || !most) return std::nullopt;
  return Processes{static_cast<int64_t>(*now), static_cast<int64_t>(*most)};
}

std::optional<uint64_t> Cgroups::working_set(const std::string& path) const {
  if (version_ == Version::kNone) return std::nullopt;
  const bool two = version_ == Version::kV2;
  const auto used = read_number(file("memory", path, two ? "memory.current" : "memory.usage_in_bytes"));
  if (!used) return std::nullopt;
  const auto idle = read_field(file("memory", path, "memory.stat"), two ? "inactive_file" : "total_inactive_file");
  return *used - std::min(*used, idle.value_or(0));
}

}  // namespace gantry::nodeagent

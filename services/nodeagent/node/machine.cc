#include "services/nodeagent/node/machine.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "libs/model/quantity.h"

namespace gantry::nodeagent {

namespace {

constexpr char kDefaultPods[] = "110";

std::string read_line(const char* path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

std::string host_of(std::string peer) {
  if (auto scheme = peer.find("://"); scheme != std::string::npos) peer.erase(0, scheme + 3);
  if (auto end = peer.find_first_of("/,"); end != std::string::npos) peer.resize(end);
  if (auto colon = peer.rfind(':'); colon != std::string::npos) peer.resize(colon);
  return peer;
}

// Connecting a datagram socket sends nothing, but picks the source address.
std::string source_toward(const std::string& host) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_family = AF_INET;
  hints.ai_socktype = SOCK_DGRAM;
  if (host.empty() || getaddrinfo(host.c_str(), "9", &hints, &found) != 0) return "";
  std::string out;
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_in own{};
  socklen_t size = sizeof own;
  if (fd >= 0 && connect(fd, found->ai_addr, found->ai_addrlen) == 0 &&
      getsockname(fd, reinterpret_cast<sockaddr*>(&own), &size) == 0) {
    char text[INET_ADDRSTRLEN];
    if (inet_ntop(AF_INET, &own.sin_addr, text, sizeof text) != nullptr) out = text;
  }
  if (fd >= 0) close(fd);
  freeaddrinfo(found);
  return out.rfind("127.", 0) == 0 ? "" : out;
}

}  // namespace

Machine read_machine() {
  Machine m;
  m.machine_id = read_line("/etc/machine-id");
  m.boot_id = read_line("/proc/sys/kernel/random/boot_id");
  utsname names{};
  uname(&names);
  m.kernel = names.release;
  m.architecture = std::string(names.machine) == "x86_64"    ? "amd64"
                   : std::string(names.machine) == "aarch64" ? "arm64"
                                                             : names.machine;
  std::ifstream release("/etc/os-release");
  for (std::string line; std::getline(release, line);) {
    constexpr std::string_view kName = "PRETTY_NAME=";
    if (line.rfind(kName, 0) != 0) continue;
    m.os_image = line.substr(kName.size());
    std::erase(m.os_image, '"');
  }
  m.cpus = std::max<int64_t>(1, sysconf(_SC_NPROCESSORS_ONLN));
  m.memory_bytes = sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
  return m;
}

DnsSettings parse_resolv_conf(const std::string& text) {
  DnsSettings out;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string key, value;
    words >> key;
    auto* list = key == "nameserver" ? &out.servers : key == "options" ? &out.options : nullptr;
    if (key == "search" || key == "domain") {
      out.searches.clear();  // the last one counts
      list = &out.searches;
    }
    while (list != nullptr && words >> value) list->push_back(value);
  }
  return out;
}

DnsSettings host_dns() {
  std::ifstream in("/etc/resolv.conf");
  return parse_resolv_conf({std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()});
}

std::string own_address(const std::string& peer) {
  if (auto address = source_toward(host_of(peer)); !address.empty()) return address;
  ifaddrs* all = nullptr;
  if (getifaddrs(&all) != 0) return "";
  std::string out;
  for (auto* i = all; i != nullptr && out.empty(); i = i->ifa_next) {
    if (i->ifa_addr == nullptr || i->ifa_addr->sa_family != AF_INET || (i->ifa_flags & IFF_LOOPBACK) != 0 ||
        (i->ifa_flags & IFF_UP) == 0)
      continue;
    char text[INET_ADDRSTRLEN];
    if (inet_ntop(AF_INET, &reinterpret_cast<sockaddr_in*>(i->ifa_addr)->sin_addr, text, sizeof text) != nullptr)
      out = text;
  }
  freeifaddrs(all);
  return out;
}

Result<std::map<std::string, std::string>> parse_capacity(const std::string& text, const Machine& machine) {
  std::map<std::string, std::string> out{{"cpu", std::to_string(machine.cpus)},
                                         {"memory", fmt::format("{}Ki", machine.memory_bytes / 1024)},
                                         {"pods", kDefaultPods}};
  std::istringstream entries(text);
  for (std::string entry; std::getline(entries, entry, ',');) {
    auto equals = entry.find('=');
    if (equals == std::string::npos)
      return Error{Code::kInvalid, fmt::format("--capacity: \"{}\" is not <resource>=<quantity>", entry)};
    auto value = model::Quantity::parse(entry.substr(equals + 1));
    if (!value.ok()) return Error{Code::kInvalid, fmt::format("--capacity: {}: {}", entry, value.error().message)};
    out[entry.substr(0, equals)] = value->to_string();
  }
  return out;
}

std::map<std::string, std::string> huge_pages(const std::string& directory) {
  std::map<std::string, std::string> out;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
    // hugepages-2048kB
    const auto name = entry.path().filename().string();
    const auto dash = name.find('-');
    if (dash == std::string::npos) continue;
    const int64_t bytes = std::strtoll(name.c_str() + dash + 1, nullptr, 10) * 1024;
    const int64_t pages = std::strtoll(read_line((entry.path() / "nr_hugepages").c_str()).c_str(), nullptr, 10);
    if (bytes <= 0) continue;
    out["hugepages-" + model::Quantity::from_bytes(bytes).to_string()] =
        pages == 0 ? "0" : model::Quantity::from_bytes(bytes * pages).to_string();
  }
  return out;
}

int64_t disk_bytes(const std::string& path) {
  struct statvfs info {};
  if (statvfs(path.c_str(), &info) != 0) return 0;
  return static_cast<int64_t>(info.f_blocks) * static_cast<int64_t>(info.f_frsize);
}

Result<std::map<std::string, std::string>> parse_pairs(const char* flag, const std::string& text) {
  std::map<std::string, std::string> out;
  std::istringstream entries(text);
  for (std::string entry; std::getline(entries, entry, ',');) {
    const auto equals = entry.find('=');
    if (equals == std::string::npos || equals == 0)
      return Error{Code::kInvalid, fmt::format("{}: \"{}\" is not <name>=<value>", flag, entry)};
    out[entry.substr(0, equals)] = entry.substr(equals + 1);
  }
  return out;
}

Result<std::vector<TaintText>> parse_taints(const std::string& text) {
  std::vector<TaintText> out;
  std::istringstream entries(text);
  for (std::string entry; std::getline(entries, entry, ',');) {
    TaintText taint;
    const auto colon = entry.rfind(':');
    const auto equals = std::min(entry.find('='), colon);
    taint.key = entry.substr(0, equals);
    if (equals != colon) taint.value = entry.substr(equals + 1, colon - equals - 1);
    if (colon != std::string::npos) taint.effect = entry.substr(colon + 1);
    if (taint.key.empty() ||
        (taint.effect != "NoSchedule" && taint.effect != "PreferNoSchedule" && taint.effect != "NoExecute")) {
      return Error{Code::kInvalid,
                   fmt::format("--register-with-taints: \"{}\" is not <key>[=<value>]:<effect>", entry)};
    }
    out.push_back(std::move(taint));
  }
  return out;
}

std::map<std::string, std::string> allocatable(const std::map<std::string, std::string>& capacity,
                                               const std::vector<std::map<std::string, std::string>>& reserved) {
  auto out = capacity;
  for (auto& [resource, text] : out) {
    auto left = model::Quantity::parse(text);
    if (!left.ok()) continue;
    const auto before = *left;
    for (const auto& amounts : reserved) {
      const auto found = amounts.find(resource);
      if (found == amounts.end()) continue;
      if (auto amount = model::Quantity::parse(found->second); amount.ok()) *left = *left - *amount;
    }
    if (*left == before) continue;
    text = *left < model::Quantity() ? "0" : left->to_string();
  }
  return out;
}

}  // namespace gantry::nodeagent

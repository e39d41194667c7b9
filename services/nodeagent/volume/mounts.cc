#include "services/nodeagent/volume/mounts.h"

#include <fmt/format.h>
#include <sys/mount.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace gantry::nodeagent {

namespace {

constexpr char kTable[] = "/proc/self/mountinfo";

// The table writes a blank as \040 and so on.
std::string unescape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      out += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

// The fifth word of a line.
std::string mount_point(const std::string& line) {
  size_t at = 0;
  for (int word = 0; word < 4 && at != std::string::npos; ++word) {
    at = line.find(' ', at);
    if (at != std::string::npos) ++at;
  }
  if (at == std::string::npos) return {};
  return unescape(std::string_view(line).substr(at, line.find(' ', at) - at));
}

// The table has paths without links.
std::string real(const std::string& path) {
  std::error_code error;
  auto found = std::filesystem::weakly_canonical(path, error);
  return error ? path : found.string();
}

bool below(const std::string& path, const std::string& directory) {
  return path == directory ||
         (path.size() > directory.size() && path.starts_with(directory) && path[directory.size()] == '/');
}

}  // namespace

Result<std::vector<std::string>> mounts_below(const std::string& directory) {
  const std::string base = real(directory);
  std::ifstream table(kTable);
  if (!table.is_open()) return Error{Code::kInternal, fmt::format("{}: {}", kTable, strerror(errno))};
  std::vector<std::string> found;
  for (std::string line; std::getline(table, line);) {
    if (auto point = mount_point(line); below(point, base)) found.push_back(std::move(point));
  }
  std::reverse(found.begin(), found.end());
  return found;
}

bool is_mount_point(const std::string& path) {
  const std::string wanted = real(path);
  std::ifstream table(kTable);
  for (std::string line; std::getline(table, line);) {
    if (mount_point(line) == wanted) return true;
  }
  return false;
}

Status unmount_below(const std::string& directory) {
  auto mounts = mounts_below(directory);
  if (!mounts.ok()) return mounts.error();
  Status outcome = Done{};
  for (const auto& point : *mounts) {
    // Detached: who still has a file open there keeps it, everybody else sees it gone.
    if (umount2(point.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) != 0 && errno != EINVAL)
      outcome = Error{Code::kInternal, fmt::format("unmounting {}: {}", point, strerror(errno))};
  }
  return outcome;
}

Status remove_tree(const std::string& directory) {
  if (auto unmounted = unmount_below(directory); !unmounted.ok()) return unmounted;
  auto left = mounts_below(directory);
  if (!left.ok()) return left.error();
  if (!left->empty()) return Error{Code::kInternal, fmt::format("{} is still mounted", left->front())};
  std::error_code error;
  std::filesystem::remove_all(directory, error);
  if (error) return Error{Code::kInternal, fmt::format("removing {}: {}", directory, error.message())};
  return Done{};
}

}  // namespace gantry::nodeagent

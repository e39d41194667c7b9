#include "tools/gantry/dev/cleanup.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <fstream>
#include <set>
#include <sstream>
#include <thread>

#include "tools/gantry/dev/files.h"
#include "tools/gantry/dev/network.h"
#include "tools/gantry/dev/process.h"

namespace gantry::dev {
namespace {

namespace fs = std::filesystem;

constexpr const char* kCgroups = "/sys/fs/cgroup";
constexpr const char* kShimSockets = "/run/containerd/s";

/// The cluster's own group in every hierarchy (cgroup v1), or the one of the unified tree.
std::vector<fs::path> cgroup_roots() {
  std::vector<fs::path> out;
  std::error_code error;
  if (fs::exists(fs::path(kCgroups) / "gantry", error)) out.push_back(fs::path(kCgroups) / "gantry");
  for (const auto& hierarchy : fs::directory_iterator(kCgroups, error)) {
    if (hierarchy.is_symlink(error)) continue;
    if (fs::exists(hierarchy.path() / "gantry", error)) out.push_back(hierarchy.path() / "gantry");
  }
  return out;
}

void collect_cgroup_processes(const fs::path& group, std::set<pid_t>& out) {
  std::ifstream file(group / "cgroup.procs");
  for (pid_t pid; file >> pid;) out.insert(pid);
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(group, error)) {
    if (entry.is_directory(error) && !entry.is_symlink(error)) collect_cgroup_processes(entry.path(), out);
  }
}

/// Identities of the cluster's network namespaces, as /proc/<pid>/ns/net shows them.
std::set<ino_t> network_namespace_inodes() {
  std::set<ino_t> out;
  for (const auto& file : network_namespaces()) {
    struct stat info {};
    if (::stat(file.c_str(), &info) == 0) out.insert(info.st_ino);
  }
  return out;
}

/// In a cgroup of ours, in a network namespace of ours, or started with a file of the cluster as an argument.
std::set<pid_t> cluster_processes(const Paths& paths) {
  std::set<pid_t> out;
  for (const auto& root : cgroup_roots()) collect_cgroup_processes(root, out);
  const auto namespaces = network_namespace_inodes();
  const std::string argument = " " + paths.root.string() + "/", url = "unix:" + paths.root.string() + "/",
                    url2 = "unix://" + paths.root.string() + "/",
                    supervise = "dev supervise --dir " + paths.root.string() + " ";
  for (const auto& [pid, command] : all_processes()) {
    struct stat info {};
    const bool inside =
        ::stat(fmt::format("/proc/{}/ns/net", pid).c_str(), &info) == 0 && namespaces.contains(info.st_ino);
    const bool server = command.starts_with("redis-server") || command.starts_with("nats-server") ||
                        command.starts_with("containerd") || command.find("/containerd-shim") != std::string::npos ||
                        command.find("/gantry-") != std::string::npos || command.find("/runc ") != std::string::npos;
    const bool ours = server && (command.find(argument) != std::string::npos ||
                                 command.find(url) != std::string::npos || command.find(url2) != std::string::npos);
    if (inside || ours || command.find(supervise) != std::string::npos) out.insert(pid);
  }
  out.erase(::getpid());
  return out;
}

/// Mount points below the cluster's folder, deepest first.
std::vector<std::string> mounts(const Paths& paths) {
  std::vector<std::string> out;
  std::ifstream file("/proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    std::stringstream fields(line);
    std::string field, point;
    for (int i = 0; i < 5 && fields >> point; ++i) {
    }
    if (point.starts_with(paths.root.string() + "/")) out.push_back(point);
  }
  std::reverse(out.begin(), out.end());
  return out;
}

bool remove_cgroup(const fs::path& group) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(group, error)) {
    if (entry.is_directory(error) && !entry.is_symlink(error)) remove_cgroup(entry.path());
  }
  return ::rmdir(group.c_str()) == 0;
}

/// Shims put their sockets where containerd's default state is, whatever its own is: remove those that nobody listens
/// on.
void remove_dead_shim_sockets() {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(kShimSockets, error)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string path = entry.path();
    if (path.size() >= sizeof address.sun_path) continue;
    std::memcpy(address.sun_path, path.data(), path.size());
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const bool dead =
        ::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 && errno == ECONNREFUSED;
    ::close(fd);
    if (dead) ::unlink(path.c_str());
  }
}

bool await_end(const Paths& paths, std::chrono::milliseconds limit) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  while (!cluster_processes(paths).empty()) {
    if (std::chrono::steady_clock::now() >= deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return true;
}

}  // namespace

void kill_everything(const Paths& paths) {
  for (const pid_t pid : cluster_processes(paths)) ::kill(pid, SIGTERM);
  if (await_end(paths, std::chrono::seconds(3))) return;
  // Shims ignore SIGTERM, and a shim's death may leave its container: so again until nothing is left.
  for (int round = 0; round < 50; ++round) {
    const auto left = cluster_processes(paths);
    if (left.empty()) return;
    for (const pid_t pid : left) ::kill(pid, SIGKILL);
    if (await_end(paths, std::chrono::milliseconds(200))) return;
  }
}

void remove_everything(const Paths& paths) {
  for (int round = 0; round < 10; ++round) {
    const auto left = mounts(paths);
    if (left.empty()) break;
    for (const auto& point : left) ::umount2(point.c_str(), MNT_DETACH);
  }
  for (int round = 0; round < 40; ++round) {  // a group whose last process has just ended stays busy for a moment
    bool gone = true;
    for (const auto& root : cgroup_roots()) gone = remove_cgroup(root) && gone;
    if (gone) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  remove_network();
  remove_dead_shim_sockets();
  std::error_code error;
  if (!mounts(paths).empty()) return;  // never delete through a mount
  fs::remove_all(paths.run(), error);
  for (const auto& node : fs::directory_iterator(paths.root / "nodes", error)) {
    for (const char* folder : {"state", "runc"}) fs::remove_all(node.path() / folder, error);
  }
}

std::vector<std::string> leftovers(const Paths& paths) {
  std::vector<std::string> out;
  const auto commands = all_processes();
  for (const pid_t pid : cluster_processes(paths)) {
    const auto command = commands.find(pid);
    out.push_back(fmt::format("process {} {}", pid, command == commands.end() ? "?" : command->second));
  }
  for (const auto& point : mounts(paths)) out.push_back("mount " + point);
  for (const auto& root : cgroup_roots()) out.push_back("cgroup " + root.string());
  const auto network = network_leftovers();
  out.insert(out.end(), network.begin(), network.end());
  return out;
}

}  // namespace gantry::dev

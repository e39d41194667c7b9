#include "tools/csi-hostpath/volumes.h"

#include <fmt/format.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "libs/base/ids.h"
#include "services/nodeagent/volume/mounts.h"
#include "tools/csi-hostpath/loop_device.h"

namespace gantry::csi_hostpath {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

constexpr int64_t kDefaultCapacity = 1 << 30;

Error failed(const std::string& what, int error) {
  return {error == ENOSPC ? Code::kTooManyRequests : Code::kInternal, fmt::format("{}: {}", what, strerror(error))};
}

Error unknown(const std::string& id) { return {Code::kNotFound, fmt::format("there is no volume {}", id)}; }

// An id becomes a file's name.
bool usable(const std::string& id) {
  return !id.empty() && id[0] != '.' && id.find('/') == std::string::npos && id.size() < 200;
}

}  // namespace

Result<std::unique_ptr<Volumes>> Volumes::open(std::string root) {
  std::unique_ptr<Volumes> volumes(new Volumes(std::move(root)));
  std::error_code error;
  fs::create_directories(volumes->root_ + "/volumes", error);
  if (error) return Error{Code::kInvalid, fmt::format("{}: {}", volumes->root_, error.message())};
  fs::permissions(volumes->root_, fs::perms::owner_all, error);
  for (const auto& entry : fs::directory_iterator(volumes->root_ + "/volumes")) {
    if (entry.path().extension() != ".json") continue;
    std::ifstream in(entry.path());
    const auto parsed = json::parse(in, nullptr, false);
    if (!parsed.is_object()) continue;
    Volume v{entry.path().stem(), parsed.value("name", ""), parsed.value("capacity", int64_t{0}),
             parsed.value("block", false), parsed.value("ephemeral", false)};
    volumes->volumes_[v.id] = v;
  }
  return volumes;
}

Status Volumes::save(const Volume& v) const {
  const auto file = record(v.id), fresh = file + ".new";
  std::ofstream out(fresh);
  out << json{{"name", v.name}, {"capacity", v.capacity}, {"block", v.block}, {"ephemeral", v.ephemeral}}.dump();
  out.close();
  if (!out || rename(fresh.c_str(), file.c_str()) != 0) return failed("writing " + file, errno);
  return Done{};
}

Result<Volume> Volumes::create(const std::string& name, int64_t required, int64_t limit, bool block) {
  std::lock_guard lock(mutex_);
  for (const auto& [_, v] : volumes_) {
    if (v.name != name) continue;
    if (v.block != block || v.capacity < required || (limit > 0 && v.capacity > limit))
      return Error{Code::kAlreadyExists, fmt::format("volume {} is there, and is another", name)};
    return v;
  }
  Volume v{new_uid(), name,
           required > 0 ? required
           : limit > 0  ? std::min(limit, kDefaultCapacity)
                        : kDefaultCapacity,
           block, false};
  std::error_code error;
  if (block) {
    std::ofstream(content(v)).close();
    if (truncate(content(v).c_str(), v.capacity) != 0) return failed("making " + content(v), errno);
  } else {
    fs::create_directory(content(v), error);
    if (error) return Error{Code::kInternal, fmt::format("making {}: {}", content(v), error.message())};
    fs::permissions(content(v), fs::perms::all, error);
  }
  if (auto saved = save(v); !saved.ok()) return saved.error();
  volumes_[v.id] = v;
  return v;
}

Result<Volume> Volumes::create_ephemeral(const std::string& id) {
  if (!usable(id)) return Error{Code::kInvalid, fmt::format("\"{}\" cannot be a volume's id", id)};
  std::lock_guard lock(mutex_);
  if (auto found = volumes_.find(id); found != volumes_.end()) return found->second;
  Volume v{id, id, kDefaultCapacity, false, true};
  std::error_code error;
  fs::create_directory(content(v), error);
  if (error) return Error{Code::kInternal, fmt::format("making {}: {}", content(v), error.message())};
  fs::permissions(content(v), fs::perms::all, error);
  if (auto saved = save(v); !saved.ok()) return saved.error();
  volumes_[id] = v;
  return v;
}

Status Volumes::remove(const std::string& id) {
  std::lock_guard lock(mutex_);
  auto found = volumes_.find(id);
  if (found == volumes_.end()) return Done{};
  const auto path = content(found->second);
  if (found->second.block) detach_loop(path);
  std::error_code error;
  fs::remove_all(path, error);
  if (error) return Error{Code::kInternal, fmt::format("removing {}: {}", path, error.message())};
  fs::remove(record(id), error);
  volumes_.erase(found);
  return Done{};
}

Result<Volume> Volumes::expand(const std::string& id, int64_t required) {
  std::lock_guard lock(mutex_);
  auto found = volumes_.find(id);
  if (found == volumes_.end()) return unknown(id);
  Volume v = found->second;
  if (required <= v.capacity) return v;
  v.capacity = required;
  if (v.block) {
    if (truncate(content(v).c_str(), required) != 0) return failed("growing " + content(v), errno);
    refresh_loop(content(v));
  }
  if (auto saved = save(v); !saved.ok()) return saved.error();
  found->second = v;
  return v;
}

std::optional<Volume> Volumes::find(const std::string& id) const {
  std::lock_guard lock(mutex_);
  auto found = volumes_.find(id);
  return found == volumes_.end() ? std::nullopt : std::optional(found->second);
}

std::vector<Volume> Volumes::list() const {
  std::lock_guard lock(mutex_);
  std::vector<Volume> out;
  for (const auto& [_, v] : volumes_) out.push_back(v);
  return out;
}

Status Volumes::mount(const std::string& id, const std::string& target, bool read_only) {
  std::lock_guard lock(mutex_);
  auto found = volumes_.find(id);
  if (found == volumes_.end()) return unknown(id);
  if (nodeagent::is_mount_point(target)) return Done{};
  std::string source = content(found->second);
  std::error_code error;
  fs::create_directories(fs::path(target).parent_path(), error);
  if (found->second.block) {
    auto device = attach_loop(source);
    if (!device.ok()) return device.error();
    source = *device;
    std::ofstream(target).close();
  } else {
    fs::create_directories(target, error);
    if (error) return Error{Code::kInternal, fmt::format("making {}: {}", target, error.message())};
  }
  if (::mount(source.c_str(), target.c_str(), nullptr, MS_BIND, nullptr) != 0)
    return failed(fmt::format("binding {} at {}", source, target), errno);
  if (!read_only) return Done{};
  if (::mount(nullptr, target.c_str(), nullptr, MS_BIND | MS_REMOUNT | MS_RDONLY, nullptr) != 0) {
    const int why = errno;
    umount2(target.c_str(), MNT_DETACH);
    return failed("making " + target + " read-only", why);
  }
  return Done{};
}

Status Volumes::unmount(const std::string& target) {
  if (auto gone = nodeagent::unmount_below(target); !gone.ok()) return gone;
  std::error_code error;
  fs::remove(target, error);  // only if it is empty
  return Done{};
}

int64_t Volumes::available() const {
  struct statvfs info {};
  if (statvfs(root_.c_str(), &info) != 0) return 0;
  return static_cast<int64_t>(info.f_bavail) * static_cast<int64_t>(info.f_frsize);
}

}  // namespace gantry::csi_hostpath

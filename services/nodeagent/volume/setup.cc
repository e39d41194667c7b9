#include "services/nodeagent/volume/setup.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "services/nodeagent/volume/files.h"
#include "services/nodeagent/volume/mounts.h"
#include "services/nodeagent/volume/ownership.h"

namespace gantry::nodeagent {

namespace fs = std::filesystem;

namespace {

struct HostType {
  const char* name;
  mode_t kind;
  const char* words;  // as Kubernetes tells it
};
constexpr HostType kHostTypes[] = {{"Directory", S_IFDIR, "a directory"},
                                   {"DirectoryOrCreate", S_IFDIR, "a directory"},
                                   {"File", S_IFREG, "a file"},
                                   {"FileOrCreate", S_IFREG, "a file"},
                                   {"Socket", S_IFSOCK, "a socket file"},
                                   {"CharDevice", S_IFCHR, "a character device"},
                                   {"BlockDevice", S_IFBLK, "a block device"}};

Status create_host_path(const VolumePlan& plan) {
  if (plan.host_type == "DirectoryOrCreate") return make_directory(plan.path, 0755);
  // Its directory must be there.
  const int fd = open(plan.path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return Error{Code::kInternal, fmt::format("open {}: {}", plan.path, strerror(errno))};
  close(fd);
  return Done{};
}

Status check_host_path(const VolumePlan& plan) {
  if (plan.host_type.empty()) return Done{};
  for (const auto& type : kHostTypes) {
    if (plan.host_type != type.name) continue;
    struct stat info {};
    const bool there = stat(plan.path.c_str(), &info) == 0;
    if (!there && plan.host_type.ends_with("OrCreate")) return create_host_path(plan);
    if (there && (info.st_mode & S_IFMT) == type.kind) return Done{};
    return Error{Code::kInvalid, fmt::format("hostPath type check failed: {} is not {}", plan.path, type.words)};
  }
  return Error{Code::kInvalid, fmt::format("hostPath type {} is not known", plan.host_type)};
}

Status check_local(const VolumePlan& plan) {
  struct stat info {};
  if (stat(plan.path.c_str(), &info) != 0)
    return Error{Code::kInvalid, fmt::format("path \"{}\" does not exist", plan.path)};
  if (plan.block != S_ISBLK(info.st_mode)) {
    return Error{Code::kInvalid,
                 plan.block ? fmt::format("path \"{}\" is not a block device", plan.path)
                            : fmt::format("path \"{}\" is a block device: only directories are mounted", plan.path)};
  }
  return Done{};
}

Status make_empty_dir(const VolumePlan& plan) {
  std::error_code error;
  const bool fresh = !fs::exists(plan.path, error);
  if (plan.in_memory) {
    if (!is_mount_point(plan.path)) {
      if (auto made = make_directory(plan.path, 0777); !made.ok()) return made;
      const auto options = plan.size_limit > 0 ? fmt::format("mode=0777,size={}", plan.size_limit) : "mode=0777";
      if (mount("tmpfs", plan.path.c_str(), "tmpfs", MS_NOSUID | MS_NODEV, options.c_str()) != 0)
        return disk_error("mounting tmpfs at", plan.path, errno);
    }
  } else if (fresh) {
    if (auto made = make_directory(plan.path, 0777); !made.ok()) return made;
  }
  return Done{};
}

Status write(const VolumePlan& plan) {
  Status made = Done{};
  switch (plan.kind) {
    case VolumePlan::Kind::kHostPath:
      return check_host_path(plan);
    case VolumePlan::Kind::kCsi:
    case VolumePlan::Kind::kImage:  // with the containers that mount it: it may have to be pulled
      return Done{};
    case VolumePlan::Kind::kLocal:
      made = check_local(plan);
      break;
    case VolumePlan::Kind::kFiles:
      made = write_files(plan);
      break;
    case VolumePlan::Kind::kEmptyDir:
      made = make_empty_dir(plan);
      break;
  }
  if (!made.ok() || !plan.fs_group || plan.block) return made;
  return set_ownership(plan.path, {*plan.fs_group, plan.kind == VolumePlan::Kind::kFiles || plan.read_only,
                                   plan.group_on_mismatch && plan.kind == VolumePlan::Kind::kLocal});
}

}  // namespace

Status write_volume(const VolumePlan& plan) {
  auto done = write(plan);
  if (done.ok()) return done;
  const bool local = plan.kind == VolumePlan::Kind::kLocal;
  return Error{done.error().code, fmt::format("{} failed for volume \"{}\" : {}",
                                              local ? "MountVolume.NewMounter initialization" : "MountVolume.SetUp",
                                              plan.spec_name, done.error().message)};
}

Status write_file(const std::string& path, std::string_view data, uint32_t mode) {
  auto temporary = path + ".new";
  if (auto s = write_plain(temporary, {"", std::string(data), mode}, std::nullopt); !s.ok()) return s;
  int fd = open(temporary.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd >= 0) {
    fsync(fd);
    close(fd);
  }
  if (rename(temporary.c_str(), path.c_str()) != 0) return disk_error("renaming", temporary, errno);
  return Done{};
}

Status remove_pod_volumes(const Paths& paths, const std::string& uid) {
  Status outcome = Done{};
  for (const char* part : {"/parts", "/volumes", "/devices", "/images"}) {
    if (auto removed = remove_tree(paths.pod(uid) + part); !removed.ok()) outcome = removed;
  }
  return outcome;
}

Status remove_pod_directory(const Paths& paths, const std::string& uid) { return remove_tree(paths.pod(uid)); }

}  // namespace gantry::nodeagent

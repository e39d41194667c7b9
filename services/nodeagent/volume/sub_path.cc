#include "services/nodeagent/volume/sub_path.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

namespace gantry::nodeagent {

namespace {

class Fd {
 public:
  explicit Fd(int fd = -1) : fd_(fd) {}
  ~Fd() {
    if (fd_ >= 0) close(fd_);
  }
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  int get() const { return fd_; }
  bool ok() const { return fd_ >= 0; }

 private:
  int fd_;
};

Error failed(std::string_view what, std::string_view path, int error) {
  return {error == EXDEV || error == ELOOP ? Code::kInvalid : Code::kInternal,
          error == EXDEV || error == ELOOP ? fmt::format("\"{}\" leaves the volume", path)
                                           : fmt::format("{} {}: {}", what, path, strerror(error))};
}

// No component may lead out of `root`, be it ".." or a link; the kernel checks it while it walks.
Fd open_beneath(int root, const std::string& path, uint64_t flags) {
  open_how how{};
  how.flags = flags | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  int fd = -1;
  do {
    fd = static_cast<int>(syscall(SYS_openat2, root, path.c_str(), &how, sizeof how));
  } while (fd < 0 && errno == EAGAIN);  // a rename raced with the walk
  return Fd(fd);
}

// Opens root/path, making the directories that are missing with the root's mode.
Result<Fd> open_or_make(int root, const std::string& path) {
  if (Fd found = open_beneath(root, path, O_PATH); found.ok() || errno != ENOENT) {
    if (!found.ok()) return failed("opening", path, errno);
    return found;
  }
  struct stat volume {};
  if (fstat(root, &volume) != 0) return failed("reading", path, errno);
  std::string walked;
  for (const auto& part : std::filesystem::path(path)) {
    const std::string name = part.string();
    if (name.empty() || name == ".") continue;
    const std::string parent = walked.empty() ? "." : walked;
    walked = walked.empty() ? name : walked + "/" + name;
    if (Fd found = open_beneath(root, walked, O_PATH); found.ok()) continue;
    if (errno != ENOENT) return failed("opening", walked, errno);
    Fd directory = open_beneath(root, parent, O_RDONLY | O_DIRECTORY);
    if (!directory.ok()) return failed("opening", parent, errno);
    if (mkdirat(directory.get(), name.c_str(), 0700) != 0 && errno != EEXIST) return failed("making", walked, errno);
    // Not through a link that was put there meanwhile.
    Fd made(openat(directory.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!made.ok()) return failed("opening", walked, errno);
    fchmod(made.get(), volume.st_mode & 07777);
    if (volume.st_mode & S_ISGID) {
      if (fchown(made.get(), static_cast<uid_t>(-1), volume.st_gid) == 0) fchmod(made.get(), volume.st_mode & 07777);
    }
  }
  Fd found = open_beneath(root, path, O_PATH);
  if (!found.ok()) return failed("opening", path, errno);
  return found;
}

// A directory to mount a directory on, a file for anything else.
Status make_target(const std::string& target, bool directory) {
  if (auto unmounted = umount2(target.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW);
      unmounted != 0 && errno != EINVAL && errno != ENOENT)
    return failed("unmounting", target, errno);
  std::error_code error;
  const bool there = std::filesystem::exists(target, error);
  if (there && std::filesystem::is_directory(target, error) != directory) std::filesystem::remove(target, error);
  std::filesystem::create_directories(
      directory ? std::filesystem::path(target) : std::filesystem::path(target).parent_path(), error);
  if (error) return Error{Code::kInternal, fmt::format("making {}: {}", target, error.message())};
  if (!directory) {
    Fd file(open(target.c_str(), O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!file.ok()) return failed("making", target, errno);
  }
  return Done{};
}

}  // namespace

Status stage_mount(Mount& mount) {
  if (mount.staged_path.empty()) return Done{};
  if (!mount.sub_path.empty() && mount.sub_path[0] == '/')
    return Error{Code::kInvalid, fmt::format("error SubPath `{}` must not be an absolute path", mount.sub_path)};
  for (const auto& part : std::filesystem::path(mount.sub_path)) {
    if (part == "..") return Error{Code::kInvalid, fmt::format("\"{}\" must not contain '..'", mount.sub_path)};
  }
  Fd root(open(mount.host_path.c_str(), O_PATH | O_CLOEXEC));
  if (!root.ok()) return failed("opening", mount.host_path, errno);
  if (!mount.sub_path.empty()) {
    auto part = open_or_make(root.get(), mount.sub_path);
    if (!part.ok()) return part.error();
    root = std::move(*part);
  }
  struct stat info {};
  if (fstat(root.get(), &info) != 0) return failed("reading", mount.host_path, errno);
  if (auto made = make_target(mount.staged_path, S_ISDIR(info.st_mode)); !made.ok()) return made;
  unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH;
  if (mount.recursive_readonly) flags |= AT_RECURSIVE;
  Fd tree(open_tree(root.get(), "", flags));
  if (!tree.ok()) return failed("binding", mount.host_path, errno);
  if (mount.recursive_readonly) {
    struct mount_attr attributes {};
    attributes.attr_set = MOUNT_ATTR_RDONLY;
    if (mount_setattr(tree.get(), "", AT_EMPTY_PATH | AT_RECURSIVE, &attributes, sizeof attributes) != 0)
      return failed("making read-only", mount.host_path, errno);
  }
  if (move_mount(tree.get(), "", AT_FDCWD, mount.staged_path.c_str(), MOVE_MOUNT_F_EMPTY_PATH) != 0)
    return failed("mounting at", mount.staged_path, errno);
  mount.host_path = mount.staged_path;
  return Done{};
}

Status stage_mounts(ContainerConfig& config) {
  for (auto& mount : config.mounts) {
    const std::string sub_path = mount.sub_path;
    if (auto staged = stage_mount(mount); !staged.ok()) {
      return Error{
          staged.error().code,
          fmt::format("failed to prepare {} for volumeMount \"{}\" of container \"{}\": {}",
                      sub_path.empty() ? "the mount" : "subPath", mount.volume, config.name, staged.error().message)};
    }
  }
  return Done{};
}

}  // namespace gantry::nodeagent

// The part of volumes.h that touches the disk.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "libs/base/ids.h"
#include "services/nodeagent/render/volumes.h"

namespace gantry::nodeagent {

namespace fs = std::filesystem;

namespace {

constexpr char kData[] = "..data";

Error failed(const char* what, const std::string& path, int error) {
  return {Code::kInternal, fmt::format("{} {}: {}", what, path, strerror(error))};
}

Status make_directory(const std::string& path, uint32_t mode) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) return Error{Code::kInternal, fmt::format("creating {}: {}", path, error.message())};
  if (chmod(path.c_str(), mode) != 0) return failed("chmod", path, errno);
  return Done{};
}

bool is_mounted(const std::string& path) {
  struct stat own {
  }, parent{};
  return stat(path.c_str(), &own) == 0 && stat((path + "/..").c_str(), &parent) == 0 && own.st_dev != parent.st_dev;
}

Status write_plain(const std::string& path, const VolumeFile& file, const std::optional<int64_t>& group) {
  std::error_code error;
  fs::create_directories(fs::path(path).parent_path(), error);
  int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return failed("creating", path, errno);
  size_t done = 0;
  while (done < file.data.size()) {
    auto n = write(fd, file.data.data() + done, file.data.size() - done);
    if (n <= 0) {
      int e = errno;
      close(fd);
      return failed("writing", path, e);
    }
    done += static_cast<size_t>(n);
  }
  uint32_t mode = file.mode & 07777;
  if (group) {
    if (fchown(fd, static_cast<uid_t>(-1), static_cast<gid_t>(*group)) != 0)
      LOG(WARNING) << "chown of " << path << ": " << strerror(errno);
    mode |= 0440;
  }
  fchmod(fd, mode);
  close(fd);
  return Done{};
}

bool same(const std::string& directory, const std::vector<VolumeFile>& files) {
  size_t found = 0;
  std::error_code error;
  for (auto it = fs::recursive_directory_iterator(directory, error); !error && it != fs::recursive_directory_iterator();
       it.increment(error)) {
    if (it->is_regular_file()) ++found;
  }
  if (error || found != files.size()) return false;
  for (const auto& file : files) {
    std::ifstream in(directory + "/" + file.path, std::ios::binary);
    std::string data((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
    if (!in.is_open() || data != file.data) return false;
  }
  return true;
}

// <path>/..<random>/<files>, <path>/..data -> ..<random>, <path>/<first component> -> ..data/<first component>
Status write_files(const VolumePlan& plan) {
  auto& path = plan.path;
  if (auto s = make_directory(path, 0755); !s.ok()) return s;
  std::error_code error;
  auto old = fs::read_symlink(path + "/" + kData, error);
  if (!error && same(path + "/" + old.string(), plan.files)) return Done{};
  auto fresh = ".." + new_uid();
  if (auto s = make_directory(path + "/" + fresh, 0755); !s.ok()) return s;
  std::map<std::string, bool> tops;
  for (const auto& file : plan.files) {
    if (auto s = write_plain(path + "/" + fresh + "/" + file.path, file, plan.fs_group); !s.ok()) return s;
    tops[file.path.substr(0, file.path.find('/'))] = true;
  }
  auto next = path + "/..data_tmp";
  unlink(next.c_str());
  if (symlink(fresh.c_str(), next.c_str()) != 0) return failed("linking", next, errno);
  if (rename(next.c_str(), (path + "/" + kData).c_str()) != 0) return failed("renaming", next, errno);
  for (const auto& [top, _] : tops) {
    auto link = path + "/" + top;
    if (symlink((std::string(kData) + "/" + top).c_str(), link.c_str()) != 0 && errno != EEXIST)
      return failed("linking", link, errno);
  }
  for (auto it = fs::directory_iterator(path, error); !error && it != fs::directory_iterator(); it.increment(error)) {
    auto name = it->path().filename().string();
    bool stale_link = name.rfind("..", 0) != 0 && tops.count(name) == 0;
    bool stale_data = name.rfind("..", 0) == 0 && name != kData && name != fresh;
    std::error_code ignored;
    if (stale_link || stale_data) fs::remove_all(it->path(), ignored);
  }
  return Done{};
}

Status check_host_path(const VolumePlan& plan) {
  const auto& type = plan.host_type;
  if (type == "DirectoryOrCreate") return make_directory(plan.path, 0755);
  if (type == "FileOrCreate") {
    int fd = open(plan.path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) return failed("creating", plan.path, errno);
    close(fd);
    return Done{};
  }
  if (type.empty()) return Done{};
  struct stat info {};
  if (stat(plan.path.c_str(), &info) != 0) return failed("hostPath", plan.path, errno);
  bool right = type == "Directory"     ? S_ISDIR(info.st_mode)
               : type == "File"        ? S_ISREG(info.st_mode)
               : type == "Socket"      ? S_ISSOCK(info.st_mode)
               : type == "CharDevice"  ? S_ISCHR(info.st_mode)
               : type == "BlockDevice" ? S_ISBLK(info.st_mode)
                                       : false;
  if (!right) return Error{Code::kInvalid, fmt::format("hostPath type check failed: {} is not a {}", plan.path, type)};
  return Done{};
}

}  // namespace

Status write_file(const std::string& path, std::string_view data, uint32_t mode) {
  auto temporary = path + ".new";
  if (auto s = write_plain(temporary, {"", std::string(data), mode}, std::nullopt); !s.ok()) return s;
  int fd = open(temporary.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd >= 0) {
    fsync(fd);
    close(fd);
  }
  if (rename(temporary.c_str(), path.c_str()) != 0) return failed("renaming", temporary, errno);
  return Done{};
}

Status write_volume(const VolumePlan& plan) {
  switch (plan.kind) {
    case VolumePlan::Kind::kHostPath:
      return check_host_path(plan);
    case VolumePlan::Kind::kFiles:
      return write_files(plan);
    case VolumePlan::Kind::kEmptyDir:
      break;
  }
  std::error_code error;
  bool fresh = !fs::exists(plan.path, error);
  if (fresh || plan.in_memory) {
    if (auto s = make_directory(plan.path, 0777); !s.ok()) return s;
  }
  if (plan.in_memory && !is_mounted(plan.path)) {
    auto options = plan.size_limit > 0 ? fmt::format("mode=1777,size={}", plan.size_limit) : std::string("mode=1777");
    if (mount("tmpfs", plan.path.c_str(), "tmpfs", MS_NOSUID | MS_NODEV, options.c_str()) != 0)
      return failed("mounting tmpfs at", plan.path, errno);
  }
  if (plan.fs_group && (fresh || plan.in_memory)) {
    if (chown(plan.path.c_str(), static_cast<uid_t>(-1), static_cast<gid_t>(*plan.fs_group)) != 0)
      return failed("chown", plan.path, errno);
    chmod(plan.path.c_str(), 02777);
  }
  return Done{};
}

Status remove_pod_directory(const Paths& paths, const std::string& uid) {
  auto directory = paths.pod(uid);
  std::error_code error;
  for (auto it = fs::directory_iterator(directory + "/volumes", error); !error && it != fs::directory_iterator();
       it.increment(error)) {
    if (it->is_directory() && !it->is_symlink() && is_mounted(it->path()))
      umount2(it->path().c_str(), MNT_DETACH | UMOUNT_NOFOLLOW);
  }
  error.clear();
  fs::remove_all(directory, error);
  if (error) return Error{Code::kInternal, fmt::format("removing {}: {}", directory, error.message())};
  return Done{};
}

}  // namespace gantry::nodeagent

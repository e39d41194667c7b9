#include "services/nodeagent/volume/files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "libs/base/ids.h"

namespace gantry::nodeagent {

namespace fs = std::filesystem;

namespace {
constexpr char kData[] = "..data";
}  // namespace

Error disk_error(const char* what, const std::string& path, int error) {
  return {Code::kInternal, fmt::format("{} {}: {}", what, path, strerror(error))};
}

Status make_directory(const std::string& path, uint32_t mode) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) return Error{Code::kInternal, fmt::format("creating {}: {}", path, error.message())};
  if (chmod(path.c_str(), mode) != 0) return disk_error("chmod", path, errno);
  return Done{};
}

Status write_plain(const std::string& path, const VolumeFile& file, const std::optional<int64_t>& group) {
  std::error_code error;
  fs::create_directories(fs::path(path).parent_path(), error);
  int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return disk_error("creating", path, errno);
  size_t done = 0;
  while (done < file.data.size()) {
    auto n = write(fd, file.data.data() + done, file.data.size() - done);
    if (n <= 0) {
      int e = errno;
      close(fd);
      return disk_error("writing", path, e);
    }
    done += static_cast<size_t>(n);
  }
  uint32_t mode = file.mode & 07777;
  if (file.owner && fchown(fd, static_cast<uid_t>(*file.owner), static_cast<gid_t>(-1)) != 0)
    LOG(WARNING) << "chown of " << path << ": " << strerror(errno);
  if (group) {
    if (fchown(fd, static_cast<uid_t>(-1), static_cast<gid_t>(*group)) != 0)
      LOG(WARNING) << "chown of " << path << ": " << strerror(errno);
    mode |= 0440;
  }
  fchmod(fd, mode);
  close(fd);
  return Done{};
}

namespace {

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

}  // namespace

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
  if (symlink(fresh.c_str(), next.c_str()) != 0) return disk_error("linking", next, errno);
  if (rename(next.c_str(), (path + "/" + kData).c_str()) != 0) return disk_error("renaming", next, errno);
  for (const auto& [top, _] : tops) {
    auto link = path + "/" + top;
    if (symlink((std::string(kData) + "/" + top).c_str(), link.c_str()) != 0 && errno != EEXIST)
      return disk_error("linking", link, errno);
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

}  // namespace gantry::nodeagent

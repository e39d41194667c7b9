#include "services/nodeagent/session/log_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <filesystem>

#include "services/nodeagent/session/log_format.h"

namespace gantry::nodeagent {
namespace {

// Where the file system cannot tell whether somebody writes.
constexpr int kQuietSeconds = 2;
// Rotations are seconds apart, a look takes less than a millisecond.
constexpr int kTries = 10;

std::string read_at(int fd, uint64_t offset, size_t length) {
  std::string data(length, '\0');
  size_t got = 0;
  while (got < length) {
    auto n = pread(fd, data.data() + got, length - got, static_cast<off_t>(offset + got));
    if (n <= 0) break;
    got += static_cast<size_t>(n);
  }
  data.resize(got);
  return data;
}

}  // namespace

std::vector<std::string> rotated_logs(const std::string& path) {
  std::vector<std::string> out;
  std::filesystem::path whole(path);
  auto prefix = whole.filename().string() + ".";
  std::error_code error;
  for (std::filesystem::directory_iterator it(whole.parent_path(), error), end; !error && it != end;
       it.increment(error)) {
    if (it->path().filename().string().starts_with(prefix)) out.push_back(it->path());
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::string rotated_name(const std::string& path, int64_t wall) {
  time_t seconds = wall / 1'000'000;
  tm parts{};
  gmtime_r(&seconds, &parts);
  char text[32];
  strftime(text, sizeof text, "%Y%m%d-%H%M%S", &parts);
  return fmt::format("{}.{}.{:06}", path, text, wall % 1'000'000);
}

LogFiles::~LogFiles() {
  while (!files_.empty()) drop_first();
}

void LogFiles::drop_first() {
  ::close(files_.front().fd);
  files_.pop_front();
}

/// False when it is not there, or there already.
bool LogFiles::add(const std::string& name) {
  int fd = ::open(name.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat info {};
  if (fd < 0) return false;
  fstat(fd, &info);
  for (const auto& file : files_) {
    if (file.inode == info.st_ino) {
      ::close(fd);
      return false;
    }
  }
  files_.push_back({fd, info.st_ino});
  return true;
}

Status LogFiles::open(std::optional<int64_t> tail) {
  int error = 0;
  for (int tries = 1;; ++tries) {
    const auto names = rotated_logs(path_);
    for (const auto& name : names) add(name);
    error = add(path_) ? 0 : errno;
    // What was renamed since it was listed would be missing.
    if (tries == kTries || rotated_logs(path_) == names) break;
    while (!files_.empty()) drop_first();
  }
  if (files_.empty() && error != 0 && error != ENOENT)
    return Error{Code::kInternal, fmt::format("opening the log: {}", strerror(error))};
  if (!tail) return Done{};
  // As one file, of the sizes of now.
  std::vector<uint64_t> begins;
  uint64_t total = 0;
  for (const auto& file : files_) {
    struct stat info {};
    fstat(file.fd, &info);
    begins.push_back(total);
    total += static_cast<uint64_t>(info.st_size);
  }
  auto at = find_tail(total, *tail, [&](uint64_t offset, size_t length) {
    std::string out;
    while (length > 0) {
      size_t i = static_cast<size_t>(std::upper_bound(begins.begin(), begins.end(), offset) - begins.begin()) - 1;
      uint64_t end = i + 1 < begins.size() ? begins[i + 1] : total;
      auto piece = read_at(files_[i].fd, offset - begins[i], std::min<uint64_t>(length, end - offset));
      if (piece.empty()) break;
      out += piece;
      offset += piece.size();
      length -= piece.size();
    }
    return out;
  });
  while (files_.size() > 1 && at >= begins[1]) {
    drop_first();
    begins.erase(begins.begin());
  }
  if (!files_.empty()) files_.front().offset = at - begins[0];
  return Done{};
}

bool LogFiles::finished(const File& file) const {
  // A read lease is granted only while nobody has the file open for writing.
  if (fcntl(file.fd, F_SETLEASE, F_RDLCK) == 0) {
    fcntl(file.fd, F_SETLEASE, F_UNLCK);
    return true;
  }
  if (errno == EAGAIN || errno == EWOULDBLOCK) return false;
  struct stat info {};
  return fstat(file.fd, &info) == 0 && time(nullptr) - info.st_mtime > kQuietSeconds;
}

/// After a rotation, or several: the files that came after the one being read.
void LogFiles::take_up_later(ino_t inode) {
  auto names = rotated_logs(path_);
  auto mine = std::find_if(names.begin(), names.end(), [&](const std::string& name) {
    struct stat info {};
    return stat(name.c_str(), &info) == 0 && info.st_ino == inode;
  });
  // Removed already: then all that is left came later.
  auto next = mine == names.end() ? names.begin() : mine + 1;
  for (; next != names.end(); ++next) add(*next);
  add(path_);
}

std::string LogFiles::read(size_t most, bool follow) {
  while (true) {
    if (files_.empty()) {
      if (!follow || !add(path_)) return {};
    }
    auto& file = files_.front();
    auto data = read_at(file.fd, file.offset, most);
    if (!data.empty()) {
      file.offset += data.size();
      return data;
    }
    if (files_.size() == 1) {
      struct stat now {};
      if (!follow || stat(path_.c_str(), &now) != 0 || now.st_ino == file.inode) return {};
      take_up_later(file.inode);
      if (files_.size() == 1) return {};
    }
    if (follow && !finished(files_.front())) return {};
    // What was written between the last read and the end of writing.
    auto& first = files_.front();
    data = read_at(first.fd, first.offset, most);
    if (!data.empty()) {
      first.offset += data.size();
      return data;
    }
    drop_first();
  }
}

}  // namespace gantry::nodeagent

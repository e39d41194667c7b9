#include "tools/gantry/dev/files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

namespace gantry::dev {

Error system_error(std::string what) {
  return {.code = Code::kInternal, .message = fmt::format("{}: {}", what, std::strerror(errno))};
}

Result<std::string> read_file(const std::filesystem::path& path) {
  errno = 0;
  std::ifstream in(path, std::ios::binary);
  if (!in) return system_error("read " + path.string());
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

Status write_file(const std::filesystem::path& path, std::string_view content, int mode) {
  if (auto old = read_file(path); old && *old == content) {
    ::chmod(path.c_str(), static_cast<mode_t>(mode));
    return Done{};
  }
  std::error_code error;
  std::filesystem::create_directories(path.parent_path(), error);
  const std::string temporary = path.string() + ".new";
  const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
  if (fd < 0) return system_error("write " + temporary);
  for (std::string_view rest = content; !rest.empty();) {
    const ssize_t n = ::write(fd, rest.data(), rest.size());
    if (n < 0) {
      auto failure = system_error("write " + temporary);
      ::close(fd);
      return failure;
    }
    rest.remove_prefix(static_cast<size_t>(n));
  }
  ::fchmod(fd, static_cast<mode_t>(mode));
  ::close(fd);
  if (::rename(temporary.c_str(), path.c_str()) != 0) return system_error("rename " + temporary);
  return Done{};
}

}  // namespace gantry::dev

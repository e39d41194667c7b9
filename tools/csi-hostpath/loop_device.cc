#include "tools/csi-hostpath/loop_device.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace gantry::csi_hostpath {

namespace {

// The kernel names each device's file in sysfs.
std::string device_of(const std::string& file) {
  std::error_code error;
  const auto real = std::filesystem::canonical(file, error).string();
  for (std::filesystem::directory_iterator it("/sys/block", error), end; !error && it != end; it.increment(error)) {
    if (!it->path().filename().string().starts_with("loop")) continue;
    std::string backing;
    std::ifstream in(it->path() / "loop/backing_file");
    if (std::getline(in, backing) && backing == real) return "/dev/" + it->path().filename().string();
  }
  return {};
}

}  // namespace

Result<std::string> attach_loop(const std::string& file) {
  if (auto found = device_of(file); !found.empty()) return found;
  const int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
  if (control < 0) return Error{Code::kUnavailable, "this machine has no loop devices"};
  for (int attempt = 0; attempt < 8; ++attempt) {
    const int number = ioctl(control, LOOP_CTL_GET_FREE);
    if (number < 0) break;
    const auto device = fmt::format("/dev/loop{}", number);
    if (access(device.c_str(), F_OK) != 0) mknod(device.c_str(), S_IFBLK | 0660, makedev(7, number));
    const int backing = open(file.c_str(), O_RDWR | O_CLOEXEC), fd = open(device.c_str(), O_RDWR | O_CLOEXEC);
    const bool done = backing >= 0 && fd >= 0 && ioctl(fd, LOOP_SET_FD, backing) == 0;
    if (fd >= 0) close(fd);
    if (backing >= 0) close(backing);
    if (done) {
      close(control);
      return device;
    }
  }
  const int why = errno;
  close(control);
  return Error{Code::kUnavailable, fmt::format("no loop device for {}: {}", file, strerror(why))};
}

void detach_loop(const std::string& file) {
  const auto device = device_of(file);
  if (device.empty()) return;
  const int fd = open(device.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  ioctl(fd, LOOP_CLR_FD, 0);
  close(fd);
}

void refresh_loop(const std::string& file) {
  const auto device = device_of(file);
  if (device.empty()) return;
  const int fd = open(device.c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) return;
  ioctl(fd, LOOP_SET_CAPACITY, 0);
  close(fd);
}

}  // namespace gantry::csi_hostpath

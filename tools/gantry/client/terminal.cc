#include "tools/gantry/client/terminal.h"

#include <fmt/format.h>
#include <sys/ioctl.h>

namespace gantry::client {

RawTerminal::RawTerminal(int fd) : fd_(fd) {
  termios now{};
  if (tcgetattr(fd, &now) != 0) return;
  before_ = now;
  cfmakeraw(&now);
  tcsetattr(fd, TCSADRAIN, &now);
}

RawTerminal::~RawTerminal() {
  if (before_) tcsetattr(fd_, TCSADRAIN, &*before_);
}

std::string terminal_size(int fd) {
  winsize size{};
  if (ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0) return {};
  return fmt::format(R"({{"Width":{},"Height":{}}})", size.ws_col, size.ws_row);
}

}  // namespace gantry::client

// The terminal that `exec -t` runs in.
#pragma once

#include <termios.h>

#include <optional>
#include <string>

namespace gantry::client {

/// Raw while it lives: keys go to the program as they are. Nothing happens if `fd` is no terminal.
class RawTerminal {
 public:
  explicit RawTerminal(int fd);
  ~RawTerminal();
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;

 private:
  int fd_;
  std::optional<termios> before_;
};

/// {"Width":80,"Height":24}, as the resize channel takes it; empty if `fd` is no terminal.
std::string terminal_size(int fd);

}  // namespace gantry::client

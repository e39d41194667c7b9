// The program's own standard streams beside the loop: reads and writes that may block stay off the loop's thread, so
// that a paused reader (a pager, a stopped terminal) does not silence the session's pings.
#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include "libs/base/loop.h"

namespace gantry::client {

/// Reads a descriptor in its own thread, one piece after another. Create, use and destroy on the loop's thread.
class Reader {
 public:
  /// `data`: up to 64 KiB, on the loop; empty: the end. After each, nothing more comes before next() is called.
  Reader(Loop& loop, int fd, std::function<void(std::string_view data)> data);
  ~Reader();  // also while the descriptor has nothing to read
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
  void next();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

/// Writes to a descriptor in its own thread, in order. Create, use and destroy on the loop's thread.
class Writer {
 public:
  /// `written`: so many bytes are out, on the loop; `failed`: nobody reads any more.
  Writer(Loop& loop, int fd, std::function<void(size_t bytes)> written, std::function<void()> failed);
  /// Waits for what is under way in the kernel; the rest is dropped.
  ~Writer();
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;
  void write(std::string_view data);
  /// Bytes that are not out yet.
  size_t pending() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace gantry::client

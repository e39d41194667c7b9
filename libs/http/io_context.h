// What the connections of one server or client share: the loop, one read buffer, and the work that runs once at the end
// of a tick (flushing sockets, destroying what has died). Internal to libs/http. Loop's thread only.
#pragma once

#include <uv.h>

#include <array>
#include <functional>
#include <memory>
#include <vector>

#include "libs/base/uv_loop.h"

namespace gantry::http {

class Channel;

class IoContext : public std::enable_shared_from_this<IoContext> {
 public:
  static std::shared_ptr<IoContext> create(UvLoop& loop);
  ~IoContext();
  IoContext(const IoContext&) = delete;
  IoContext& operator=(const IoContext&) = delete;

  UvLoop& loop() { return loop_; }
  uv_loop_t* raw() { return loop_.raw(); }
  /// The loop's cached clock, in milliseconds: one value for a whole tick.
  uint64_t now_ms() { return uv_now(loop_.raw()); }
  /// "Date: ..." of this second.
  const std::string& date();

  /// Calls channel->tick() before the loop next waits. A channel asks once at a time (Channel::schedule).
  void schedule(std::shared_ptr<Channel> channel);
  /// Destroys `object` at the end of the tick, when no caller of it is on the stack.
  void bury(std::shared_ptr<void> object);

  /// Scratch space for one read; contents are gone at the next.
  std::array<char, 64 * 1024>& read_buffer() { return read_buffer_; }
  std::array<char, 16 * 1024>& plain_buffer() { return plain_buffer_; }

 private:
  explicit IoContext(UvLoop& loop);
  void wake();
  void run();

  UvLoop& loop_;
  uv_idle_t* idle_;  // active exactly while there is work: the loop then does not wait
  std::vector<std::shared_ptr<Channel>> dirty_;
  std::vector<std::shared_ptr<void>> dead_;
  std::string date_;
  time_t date_second_ = 0;
  std::array<char, 64 * 1024> read_buffer_;
  std::array<char, 16 * 1024> plain_buffer_;
};

}  // namespace gantry::http

// What both sides of a session share: frames, numbers, credits, pings. Internal to session.cc.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "libs/bus/session.h"

namespace gantry::bus {

/// Granted when a session opens: the most that is on the way or waits at the receiver, in one direction.
inline constexpr size_t kSessionWindow = 1 << 20;

class SessionCore : public std::enable_shared_from_this<SessionCore> {
 public:
  SessionCore(Loop& loop, Bus& bus, std::string out_subject);

  /// Hears what the peer sends; it is kept until start().
  void listen(const std::string& in_subject);
  /// `credit`: what the peer lets us send.
  void start(Session::Callbacks callbacks, size_t credit);
  /// The owner lets go: the peer is told, nobody is called any more.
  void abandon();
  /// Tells a peer that may have opened that nobody is here.
  void disown() {
    open_ = true;
    abandon();
  }

  bool write(node::Channel channel, std::string_view data);
  void end(node::Channel channel);
  void consume(size_t bytes);
  void close(SessionEnd end);
  size_t queued() const { return queued_; }

 private:
  struct Frame {
    node::Channel channel = node::Channel::Stdin;
    std::string_view data = {};
    uint32_t credit = 0;
    bool end = false, close = false;
    std::optional<int> exit_code = {};
    std::string_view error = {};
  };
  struct Queued {
    node::Channel channel;
    std::string data;
    size_t sent;
    bool end;
  };
  enum class Phase { kOpen, kClosing, kClosed };

  bool send(const Frame& frame);
  void grant();
  void pump();
  void received(std::string_view bytes);
  void on_ping();
  void finish(SessionEnd end, bool tell_peer);
  void shut();

  Loop& loop_;
  Bus& bus_;
  std::string out_subject_;
  Session::Callbacks callbacks_;
  Phase phase_ = Phase::kOpen;
  bool open_ = false;     // start() was called
  bool blocked_ = false;  // write() returned false: writable() is owed
  bool posted_ = false;   // a look whether to call writable() is on its way
  SessionEnd closing_;
  uint64_t sent_ = 0, received_ = 0;   // numbers of the last frames
  size_t credit_ = 0;                  // bytes that we may send
  size_t allowance_ = kSessionWindow;  // bytes that the peer may send
  size_t consumed_ = 0;                // bytes to grant again
  std::deque<Queued> queue_;
  size_t queued_ = 0;
  Duration heard_;
  std::vector<std::string> early_;  // frames from before start()
  std::unique_ptr<Subscription> subscription_;
  std::shared_ptr<void> connection_;
  Timer ping_, retry_;
};

}  // namespace gantry::bus

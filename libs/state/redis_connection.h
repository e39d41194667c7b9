// One connection to Redis that comes back by itself: greets the server, loads the scripts, pipelines commands and
// answers each exactly once.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "libs/base/result.h"
#include "libs/base/uv_loop.h"
#include "libs/state/redis_options.h"

struct redisAsyncContext;
struct redisReply;

namespace gantry::state {

enum class Script : uint8_t { kEnter, kCommit, kResolve, kHold, kTrim, kCatchup, kCount };

/// What the connections of one store share.
struct RedisShared {
  uint64_t epoch = 0;  // the highest store epoch seen on any connection
};

/// Loop's thread only. The loop outlives the connection; after destruction no callback comes.
class RedisConnection {
 public:
  /// The reply, or null when the connection was lost before it came. Valid during the call.
  using Reply = std::function<void(const redisReply*)>;
  enum class Role : uint8_t { kCommands, kSubscriber };

  struct Callbacks {
    std::function<void()> ready;  // greeted; send() works
    std::function<void()> lost;   // no longer ready; every pending Reply has been called with null
    std::function<void(std::string_view channel)> wake;  // kSubscriber: a message on {g0}:wake:*
  };

  RedisConnection(UvLoop& loop, const RedisOptions& options, RedisShared& shared, Role role, Callbacks callbacks);
  ~RedisConnection();
  RedisConnection(const RedisConnection&) = delete;
  RedisConnection& operator=(const RedisConnection&) = delete;

  bool ready() const { return ready_; }
  /// Commands without a reply.
  size_t pending() const { return sent_.size(); }
  /// `<epoch> <run id>` as commit.lua wants it.
  const std::string& token() const { return token_; }
  const std::string& last_error() const { return last_error_; }

  /// false when there is no connection: `reply` is not called then. Else it is, later.
  bool send(const std::vector<std::string_view>& argv, Reply reply);
  bool run(Script script, const std::vector<std::string_view>& arguments, Reply reply);
  /// Greets again on the same connection, because a script answered that the epoch moved. `raise`: the epoch grows in
  /// any case. false: no connection.
  bool enter(bool raise, std::function<void(bool entered)> done);
  /// Another connection was greeted with `token`: if that was the same server process, it is the token here too.
  void greeted_elsewhere(const std::string& token);
  /// Gives the connection up and starts over, e.g. when the server says that it is a replica.
  void drop(std::string why);

 private:
  struct Poll;
  struct Pending;

  void connect();
  void connected();
  void greet();
  void disconnected();
  void load_scripts(std::function<void(bool)> done);
  void retry();
  void watch_stall();
  bool raw_send(const std::vector<std::string_view>& argv, Reply reply);

  UvLoop& loop_;
  const RedisOptions& options_;
  RedisShared& shared_;
  const Role role_;
  Callbacks callbacks_;
  redisAsyncContext* context_ = nullptr;
  bool ready_ = false, established_ = false, dropping_ = false;
  std::string run_id_, token_, last_error_;
  std::vector<std::string> shas_;
  std::deque<Duration> sent_;  // when each pending command was sent
  int failures_ = 0;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
  Timer retry_timer_, setup_timer_, stall_timer_;
};

}  // namespace gantry::state

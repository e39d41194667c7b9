// Inside RedisStore: its connections, the commits in flight, the watchers. Only redis_*.cc include this.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "libs/state/redis_connection.h"
#include "libs/state/redis_reply.h"
#include "libs/state/redis_store.h"

namespace gantry::state {

/// Nothing was done: no connection is up.
Error no_connection();
/// The error of a reply that is one: nothing was done.
Error redis_error(const redisReply* reply);
Error redis_error(std::string_view what);
std::string key_of(std::string_view resource, std::string_view suffix);

class RedisStore::Impl {
 public:
  Impl(UvLoop& loop, RedisOptions options);

  void commit(Commit commit, Callback<Committed> done);
  void snapshot(std::string resource, Callback<Snapshot> done);
  void read_log(std::string resource, Revision after, size_t limit, Callback<std::vector<LogEntry>> done);
  std::shared_ptr<void> watch(std::string resource, std::function<void()> changed);
  std::shared_ptr<void> on_ready(std::function<void(bool)> changed);
  void raise_epoch(Callback<uint64_t> done);
  bool ready() const;
  std::string last_error() const;
  RedisStats stats() const;
  uint64_t epoch() const { return shared_.epoch; }

  using Arguments = std::vector<std::string_view>;
  template <typename T>
  using Parse = std::function<Result<T>(const redisReply*)>;
  /// One command on the reading connection; `lost` is the error without a reply.
  template <typename T>
  void query(const Arguments& argv, Parse<T> parse, Callback<T> done, Code lost = Code::kTimeout);
  /// One script, likewise, on a commit connection.
  template <typename T>
  void run(Script script, const Arguments& arguments, Parse<T> parse, Callback<T> done);
  /// Calls back from the loop, unless the store has ended by then.
  void later(std::function<void()> callback);

 private:
  struct Flight;
  struct Watcher;
  class SnapshotReader;
  using FlightPtr = std::shared_ptr<Flight>;

  RedisConnection* pick();
  RedisConnection* reader();
  template <typename T>
  RedisConnection::Reply answer(Parse<T> parse, Callback<T> done, Code lost);
  /// With replicas: calls back once they have everything that this connection has seen.
  void barrier(RedisConnection& connection, std::function<void(Status)> done);

  /// Commits that travel as one script.
  struct Group {
    std::vector<FlightPtr> flights;
    std::string token;  // sent with
  };
  using GroupPtr = std::shared_ptr<Group>;

  void dispatch(FlightPtr flight);
  void send_queue();
  bool send_group(RedisConnection& connection);
  void answered(const GroupPtr& group, RedisConnection& connection, const redisReply* reply);
  void stale(const GroupPtr& group, RedisConnection& connection);
  void answered(const FlightPtr& flight, RedisConnection& connection, const redisReply* reply);
  void refused(const FlightPtr& flight, RedisConnection& connection, std::string_view what);
  void finish(const FlightPtr& flight, Result<Committed> outcome);
  void finish_durably(const FlightPtr& flight, RedisConnection& connection, Committed outcome);
  void lost(const FlightPtr& flight);
  void resolve();
  void resolve(const FlightPtr& flight, RedisConnection& connection);
  void expire();

  void connections_changed();
  void drop_all(const std::string& why);
  void wake(std::string_view resource);
  void wake_all();

  UvLoop& loop_;
  const RedisOptions options_;
  const std::string instance_;
  RedisShared shared_;
  uint64_t next_attempt_ = 1;
  size_t next_connection_ = 0;
  std::deque<FlightPtr> queue_;  // commits that wait to be sent
  bool sending_ = false;
  size_t groups_sent_ = 0;  // without an answer
  std::vector<FlightPtr> unresolved_;
  Timer expiry_;
  RedisStats stats_;
  bool was_ready_ = false;
  std::string logged_error_;  // once for each reason
  std::vector<std::weak_ptr<std::function<void(bool)>>> ready_listeners_;
  std::map<std::string, std::vector<std::weak_ptr<Watcher>>, std::less<>> watchers_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
  // Last: their callbacks use the members above.
  std::vector<std::unique_ptr<RedisConnection>> commits_;
  std::unique_ptr<RedisConnection> reads_, subscriber_;
};

template <typename T>
RedisConnection::Reply RedisStore::Impl::answer(Parse<T> parse, Callback<T> done, Code lost) {
  return [parse = std::move(parse), done = std::move(done), lost](const redisReply* reply) {
    if (reply == nullptr) return done(Error{.code = lost, .message = "state: the connection to Redis was lost"});
    if (is_error(reply)) return done(redis_error(reply));
    done(parse(reply));
  };
}

template <typename T>
void RedisStore::Impl::query(const Arguments& argv, Parse<T> parse, Callback<T> done, Code lost) {
  auto* connection = reader();
  if (connection != nullptr && connection->send(argv, answer<T>(std::move(parse), done, lost))) return;
  later([done] { done(no_connection()); });
}

template <typename T>
void RedisStore::Impl::run(Script script, const Arguments& arguments, Parse<T> parse, Callback<T> done) {
  auto* connection = pick();
  if (connection != nullptr &&
      connection->run(script, arguments, answer<T>(std::move(parse), done, Code::kUnknownOutcome)))
    return;
  later([done] { done(no_connection()); });
}

}  // namespace gantry::state

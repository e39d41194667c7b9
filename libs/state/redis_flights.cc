// The life of a commit in RedisStore: sent once, answered once, and looked up by its id when the answer was lost.
#include <fmt/format.h>
#include <glog/logging.h>

#include <utility>

#include "libs/state/failures.h"
#include "libs/state/redis_commit.h"
#include "libs/state/redis_impl.h"

namespace gantry::state {

struct RedisStore::Impl::Flight {
  Commit commit;
  Callback<Committed> done;
  std::string attempt;  // names this sending of the command, so that it alone can be fenced
  int rounds = 0;       // sendings that the server refused without doing anything
  Duration deadline{};  // once lost: until when it may be resolved
};

namespace {
constexpr int kMaxRounds = 5;
constexpr size_t kGroupCommits = 64;
constexpr size_t kGroupBytes = 256u << 10;
constexpr size_t kGroupsSent = 2;  // on a connection: one is carried out while another is on its way

size_t weight(const Commit& commit) {
  size_t bytes = 200;
  for (const auto& operation : commit.operations) bytes += 200 + operation.object.size() + operation.event.size();
  return bytes;
}
}  // namespace

void RedisStore::Impl::commit(Commit commit, Callback<Committed> done) {
  if (auto checked = check_commit(commit); !checked) return later([done, checked] { done(checked.error()); });
  if (stats_.in_flight >= options_.max_in_flight) {
    ++stats_.shed;
    return later([done] {
      done(Error{
          .code = Code::kTooManyRequests, .message = "state: too many commits in flight", .retry_after_seconds = 1});
    });
  }
  auto flight = std::make_shared<Flight>();
  flight->commit = std::move(commit);
  flight->done = std::move(done);
  flight->attempt = fmt::format("{}.{}", instance_, next_attempt_++);
  ++stats_.in_flight;
  ++stats_.commits;
  dispatch(std::move(flight));
}

void RedisStore::Impl::finish(const FlightPtr& flight, Result<Committed> outcome) {
  --stats_.in_flight;
  std::exchange(flight->done, nullptr)(std::move(outcome));
}

void RedisStore::Impl::finish_durably(const FlightPtr& flight, RedisConnection& connection, Committed outcome) {
  barrier(connection, [this, flight, outcome = std::move(outcome)](Status status) mutable {
    if (!status) {
      ++stats_.unknown;
      return finish(flight, status.error());
    }
    finish(flight, std::move(outcome));
  });
}

void RedisStore::Impl::dispatch(FlightPtr flight) {
  queue_.push_back(std::move(flight));
  if (std::exchange(sending_, true)) return;
  later([this] {  // what this turn of the loop brings goes together
    sending_ = false;
    send_queue();
  });
}

/// Under load commits wait here while every connection is busy, and the groups grow with the load.
void RedisStore::Impl::send_queue() {
  while (!queue_.empty()) {
    auto* connection = pick();
    if (connection != nullptr && groups_sent_ > 0 && connection->pending() >= kGroupsSent)
      return;  // an answer sends on
    if (connection != nullptr && send_group(*connection)) continue;
    for (auto& flight : std::exchange(queue_, {})) later([this, flight] { finish(flight, no_connection()); });
  }
}

bool RedisStore::Impl::send_group(RedisConnection& connection) {
  auto group = std::make_shared<Group>();
  group->token = connection.token();
  CommitArguments arguments;
  size_t bytes = 0;
  while (!queue_.empty() && group->flights.size() < kGroupCommits && bytes < kGroupBytes) {
    FlightPtr flight = std::move(queue_.front());
    queue_.pop_front();
    if (flight->rounds >= kMaxRounds) {
      later([this, flight] { finish(flight, no_connection()); });
      continue;
    }
    arguments.add(flight->commit, flight->attempt);
    bytes += weight(flight->commit);
    group->flights.push_back(std::move(flight));
  }
  if (group->flights.empty()) return true;
  if (connection.run(
          Script::kCommit, arguments.with_token(group->token),
          [this, group, connection = &connection](const redisReply* reply) { answered(group, *connection, reply); })) {
    ++groups_sent_;
    return true;
  }
  queue_.insert(queue_.begin(), group->flights.begin(), group->flights.end());
  return false;
}

void RedisStore::Impl::answered(const GroupPtr& group, RedisConnection& connection, const redisReply* reply) {
  std::weak_ptr<int> alive = alive_;
  --groups_sent_;
  if (reply != nullptr && !is_error(reply) && is_stale(reply)) {
    stale(group, connection);
  } else {
    for (size_t i = 0; i < group->flights.size(); ++i) {
      const auto& flight = group->flights[i];
      if (reply == nullptr) {
        lost(flight);
      } else if (is_error(reply)) {
        refused(flight, connection, text(reply));
      } else {
        answered(flight, connection, at(reply, i));
      }
      if (alive.expired()) return;
    }
  }
  if (!queue_.empty()) send_queue();
}

void RedisStore::Impl::stale(const GroupPtr& group, RedisConnection& connection) {
  for (const auto& flight : group->flights) ++flight->rounds;
  const auto again = [this, group, &connection] {
    // Else the group might be sent to one connection after the other, each of which learns only then.
    for (auto& other : commits_) other->greeted_elsewhere(connection.token());
    for (const auto& flight : group->flights) dispatch(flight);
  };
  if (connection.token() != group->token) return again();  // another group has entered again already
  if (!connection.enter(false, [again](bool) { again(); })) again();
}

void RedisStore::Impl::answered(const FlightPtr& flight, RedisConnection& connection, const redisReply* reply) {
  auto parsed = parse_commit_reply(flight->commit, reply);
  switch (parsed.answer) {
    case CommitAnswer::kOutcome:
      if (!parsed.outcome) return finish(flight, std::move(parsed.outcome));
      return finish_durably(flight, connection, std::move(*parsed.outcome));
    case CommitAnswer::kFenced:
      return finish(flight, no_connection());
    case CommitAnswer::kFailed:
      return refused(flight, connection, parsed.message);
  }
}

void RedisStore::Impl::refused(const FlightPtr& flight, RedisConnection& connection, std::string_view what) {
  if (what.starts_with("NOSCRIPT")) {  // SCRIPT FLUSH: greeting loads them again
    ++flight->rounds;
    connection.drop("the server has forgotten the scripts");
    return dispatch(flight);
  }
  if (what.starts_with("READONLY")) drop_all("the server became a replica");
  auto error = redis_error(what);
  if (error.code == Code::kInternal) LOG(ERROR) << "commit failed reason=\"" << what << '"';
  finish(flight, std::move(error));
}

void RedisStore::Impl::lost(const FlightPtr& flight) {
  ++stats_.lost;
  if (flight->commit.command_id.empty()) {
    ++stats_.unknown;
    return finish(flight,
                  Error{.code = Code::kUnknownOutcome,
                        .message = "state: the connection to Redis was lost under a commit without a command id"});
  }
  flight->deadline = loop_.now() + options_.resolve_timeout;
  unresolved_.push_back(flight);
  later([this] { resolve(); });
}

void RedisStore::Impl::resolve() {
  for (auto& flight : std::exchange(unresolved_, {})) {
    auto* connection = pick();
    if (connection == nullptr) {
      unresolved_.push_back(std::move(flight));
    } else {
      resolve(flight, *connection);
    }
  }
  // Whatever is left waits for a connection (connections_changed), at most until its deadline.
  if (!unresolved_.empty() && !expiry_) {
    expiry_ = loop_.after(std::max(unresolved_.front()->deadline - loop_.now(), Duration::zero()), [this] {
      expiry_.reset();
      expire();
    });
  }
}

void RedisStore::Impl::resolve(const FlightPtr& flight, RedisConnection& connection) {
  auto window = std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(kCommandWindow).count());
  bool sent = connection.run(
      Script::kResolve, {flight->commit.command_id, flight->attempt, window},
      [this, flight, &connection](const redisReply* reply) {
        auto record = text(reply);
        if (reply == nullptr || is_error(reply)) {
          unresolved_.push_back(flight);
          if (is_error(reply)) connection.drop(fmt::format("cannot resolve: {}", record));
          later([this] { resolve(); });
        } else if (record.starts_with('+')) {
          ++stats_.resolved_done;
          finish_durably(flight, connection, parse_record(record));
        } else {
          ++stats_.resolved_not_done;
          finish(
              flight,
              Error{.code = Code::kUnavailable,
                    .message =
                        "state: the connection to Redis was lost before the commit; it was not done and will not be"});
        }
      });
  if (!sent) unresolved_.push_back(flight);
}

void RedisStore::Impl::expire() {
  std::vector<FlightPtr> expired;
  std::erase_if(unresolved_, [&](const FlightPtr& flight) {
    if (flight->deadline > loop_.now()) return false;
    expired.push_back(flight);
    return true;
  });
  for (const auto& flight : expired) {
    ++stats_.unknown;
    finish(flight, Error{.code = Code::kUnknownOutcome,
                         .message = "state: the connection to Redis was lost under a commit and has not come back"});
  }
  resolve();
}

}  // namespace gantry::state

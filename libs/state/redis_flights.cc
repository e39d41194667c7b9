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
  std::string token;    // sent with
  int rounds = 0;       // sendings that the server refused without doing anything
  Duration deadline{};  // once lost: until when it may be resolved
};

namespace {
constexpr int kMaxRounds = 5;
}

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
  auto* connection = pick();
  if (connection != nullptr && flight->rounds < kMaxRounds) {
    flight->token = connection->token();
    CommitArguments arguments(flight->commit, flight->attempt);
    if (connection->run(
            Script::kCommit, arguments.with_token(flight->token),
            [this, flight, connection](const redisReply* reply) { answered(flight, *connection, reply); })) {
      return;
    }
  }
  later([this, flight] { finish(flight, no_connection()); });
}

void RedisStore::Impl::answered(const FlightPtr& flight, RedisConnection& connection, const redisReply* reply) {
  if (reply == nullptr) return lost(flight);
  if (is_error(reply)) return refused(flight, connection, reply);
  auto parsed = parse_commit_reply(flight->commit, reply);
  switch (parsed.answer) {
    case CommitAnswer::kOutcome:
      if (!parsed.outcome) return finish(flight, std::move(parsed.outcome));
      return finish_durably(flight, connection, std::move(*parsed.outcome));
    case CommitAnswer::kStale:
      ++flight->rounds;
      if (connection.token() != flight->token) return dispatch(flight);  // another commit has entered again already
      if (!connection.enter(false, [this, flight](bool) { dispatch(flight); })) dispatch(flight);
      return;
    case CommitAnswer::kFenced:
      return finish(flight, no_connection());
  }
}

void RedisStore::Impl::refused(const FlightPtr& flight, RedisConnection& connection, const redisReply* reply) {
  auto what = text(reply);
  if (what.starts_with("NOSCRIPT")) {  // SCRIPT FLUSH: greeting loads them again
    ++flight->rounds;
    connection.drop("the server has forgotten the scripts");
    return dispatch(flight);
  }
  if (what.starts_with("READONLY")) drop_all("the server became a replica");
  auto error = redis_error(reply);
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

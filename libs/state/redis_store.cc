#include "libs/state/redis_store.h"

#include <fmt/format.h>
#include <glog/logging.h>

#include "libs/base/ids.h"
#include "libs/state/event_log.h"
#include "libs/state/redis_commit.h"
#include "libs/state/redis_impl.h"

namespace gantry::state {
namespace {

constexpr std::string_view kWakePrefix = "{g0}:wake:";
constexpr std::string_view kCursors = "{g0}:cursors";
constexpr std::string_view kTrimmed = ".trimmed";  // beside the heads: the last revision that left the log

Revision revision_of(const redisReply* value) {
  auto bytes = text(value);
  Revision out = 0;
  for (size_t i = 0; i < 8 && i < bytes.size(); ++i)
    out |= static_cast<Revision>(static_cast<uint8_t>(bytes[i])) << (8 * i);
  return out;
}

}  // namespace

Error no_connection() { return {.code = Code::kUnavailable, .message = "state: no connection to Redis"}; }

Error redis_error(const redisReply* reply) { return redis_error(text(reply)); }

Error redis_error(std::string_view what) {
  // What the server refuses before a script's first write; anything else is a fault of ours.
  for (std::string_view refused :
       {"READONLY", "LOADING", "MASTERDOWN", "NOREPLICAS", "MISCONF", "OOM", "BUSY", "NOSCRIPT", "NOPERM", "NOAUTH"}) {
    if (what.starts_with(refused))
      return {.code = Code::kUnavailable, .message = fmt::format("state: Redis refused: {}", what)};
  }
  return {.code = Code::kInternal, .message = fmt::format("state: Redis failed: {}", what)};
}

std::string key_of(std::string_view resource, std::string_view suffix) {
  return fmt::format("{{g0}}:{}:{}", resource, suffix);
}

struct RedisStore::Impl::Watcher {
  std::function<void()> changed;
  bool queued = false;
};

RedisStore::Impl::Impl(UvLoop& loop, RedisOptions options)
    : loop_(loop), options_(std::move(options)), instance_(new_uid()) {
  auto changed = [this] { connections_changed(); };
  for (size_t i = 0; i < std::max<size_t>(1, options_.connections); ++i) {
    commits_.push_back(std::make_unique<RedisConnection>(loop_, options_, shared_, RedisConnection::Role::kCommands,
                                                         RedisConnection::Callbacks{changed, changed, {}}));
  }
  reads_ = std::make_unique<RedisConnection>(loop_, options_, shared_, RedisConnection::Role::kCommands,
                                             RedisConnection::Callbacks{changed, changed, {}});
  auto subscribed = [this] {
    wake_all();  // what changed while nobody listened
    connections_changed();
  };
  auto message = [this](std::string_view channel) {
    if (channel.starts_with(kWakePrefix)) wake(channel.substr(kWakePrefix.size()));
  };
  subscriber_ = std::make_unique<RedisConnection>(loop_, options_, shared_, RedisConnection::Role::kSubscriber,
                                                  RedisConnection::Callbacks{subscribed, changed, message});
}

void RedisStore::Impl::later(std::function<void()> callback) {
  loop_.post([alive = std::weak_ptr(alive_), callback = std::move(callback)] {
    if (!alive.expired()) callback();
  });
}

RedisConnection* RedisStore::Impl::pick() {
  RedisConnection* best = nullptr;
  for (size_t i = 0; i < commits_.size(); ++i) {
    auto* candidate = commits_[(next_connection_ + i) % commits_.size()].get();
    if (candidate->ready() && (best == nullptr || candidate->pending() < best->pending())) best = candidate;
  }
  ++next_connection_;
  return best;
}

RedisConnection* RedisStore::Impl::reader() { return reads_->ready() ? reads_.get() : pick(); }

bool RedisStore::Impl::ready() const {
  return reads_->ready() && subscriber_->ready() &&
         std::any_of(commits_.begin(), commits_.end(), [](const auto& c) { return c->ready(); });
}

void RedisStore::Impl::connections_changed() {
  if (!unresolved_.empty()) later([this] { resolve(); });
  bool now = ready();
  if (auto error = last_error(); !now && error != logged_error_) {
    LOG(WARNING) << "redis unavailable address=" << options_.address << " reason=\"" << error << '"';
    logged_error_ = std::move(error);
  }
  if (now == was_ready_) return;
  was_ready_ = now;
  if (now) {
    LOG(INFO) << "redis connected address=" << options_.address << " epoch=" << shared_.epoch;
    logged_error_.clear();
  }
  std::erase_if(ready_listeners_, [](const auto& weak) { return weak.expired(); });
  for (const auto& weak : std::vector(ready_listeners_)) {
    if (auto listener = weak.lock()) (*listener)(now);
  }
}

std::shared_ptr<void> RedisStore::Impl::on_ready(std::function<void(bool)> changed) {
  auto listener = std::make_shared<std::function<void(bool)>>(std::move(changed));
  ready_listeners_.push_back(listener);
  return listener;
}

void RedisStore::Impl::drop_all(const std::string& why) {
  for (auto& connection : commits_) connection->drop(why);
  reads_->drop(why);
  subscriber_->drop(why);
}

std::string RedisStore::Impl::last_error() const {
  if (!reads_->ready()) return reads_->last_error();
  return subscriber_->ready() ? commits_.front()->last_error() : subscriber_->last_error();
}

RedisStats RedisStore::Impl::stats() const {
  auto out = stats_;
  for (const auto& connection : commits_) out.ready_connections += connection->ready() ? 1 : 0;
  return out;
}

void RedisStore::Impl::barrier(RedisConnection& connection, std::function<void(Status)> done) {
  if (options_.wait_replicas == 0) return done(Done{});
  // WAIT counts from the connection's own last write: make one, so that it covers all that the connection has read too.
  bool sent =
      connection.send({"SET", "{g0}:mark", "1"}, nullptr) &&
      connection.send(
          {"WAIT", std::to_string(options_.wait_replicas), std::to_string(options_.wait_timeout.count())},
          [this, done](const redisReply* reply) {
            if (reply != nullptr && !is_error(reply) && number(reply) >= static_cast<uint64_t>(options_.wait_replicas))
              return done(Done{});
            done(Error{.code = Code::kUnknownOutcome, .message = "state: too few replicas have it"});
          });
  if (!sent)
    later([done] { done(Error{.code = Code::kUnknownOutcome, .message = "state: the connection to Redis was lost"}); });
}

void RedisStore::Impl::read_log(std::string resource, Revision after, size_t limit,
                                Callback<std::vector<LogEntry>> done) {
  using Entries = std::vector<LogEntry>;
  auto* connection = reader();
  auto parsed = std::make_shared<Result<Entries>>(Entries{});
  auto known = std::make_shared<bool>(after == 0);
  bool sent = false;
  if (connection != nullptr) {
    // `after` itself comes too: within an epoch revisions are dense, so a revision that the log does not hold was
    // trimmed or lost in a failover.
    sent =
        connection->send(
            {"XRANGE", key_of(resource, "log"), std::to_string(after) + "-0", "+", "COUNT", std::to_string(limit + 1)},
            [parsed, known, after, limit, resource](const redisReply* reply) {
              if (reply == nullptr) return;
              if (is_error(reply)) {
                *parsed = redis_error(reply);
                return;
              }
              for (size_t i = 0; i < size(reply) && parsed->value().size() < limit; ++i) {
                auto revision = number(at(at(reply, i), 0));
                if (revision == after) {
                  *known = true;
                  continue;
                }
                const auto* fields = at(at(reply, i), 1);
                auto chains = decode_chains(text(at(fields, 5)));
                auto entry =
                    chains ? make_log_entry(revision, std::string(text(at(fields, 3))), *chains) : chains.error();
                if (!entry) {
                  *parsed =
                      Error{.code = Code::kInternal, .message = fmt::format("{}: {}", resource, entry.error().message)};
                  return;
                }
                parsed->value().push_back(std::move(*entry));
              }
            }) &&
        connection->send({"HGET", key_of(resource, "head"), kTrimmed}, [this, connection, parsed, known, after,
                                                                        resource, done](const redisReply* reply) {
          if (reply == nullptr)
            return done(Error{.code = Code::kTimeout, .message = "state: the connection to Redis was lost"});
          if (is_error(reply)) return done(redis_error(reply));
          if (!parsed->ok()) return done(std::move(*parsed));
          auto trimmed = number(reply);
          if (after == 0 ? trimmed != 0 : !*known && after != trimmed) {
            return done(
                Error{.code = Code::kExpired,
                      .message = fmt::format("the change log of {} does not hold revision {}", resource, after)});
          }
          barrier(*connection, [parsed, done](Status status) {
            if (!status) return done(Error{.code = Code::kTimeout, .message = status.error().message});
            done(std::move(*parsed));
          });
        });
  }
  if (!sent) later([done] { done(no_connection()); });
}

std::shared_ptr<void> RedisStore::Impl::watch(std::string resource, std::function<void()> changed) {
  auto watcher = std::make_shared<Watcher>(Watcher{std::move(changed)});
  auto& list = watchers_[resource];
  std::erase_if(list, [](const auto& weak) { return weak.expired(); });
  list.push_back(watcher);
  return watcher;
}

void RedisStore::Impl::wake(std::string_view resource) {
  auto list = watchers_.find(resource);
  if (list == watchers_.end()) return;
  for (const auto& weak : list->second) {
    auto watcher = weak.lock();
    if (watcher == nullptr || std::exchange(watcher->queued, true)) continue;
    later([weak] {
      auto watcher = weak.lock();
      if (watcher == nullptr) return;
      watcher->queued = false;
      watcher->changed();
    });
  }
}

void RedisStore::Impl::wake_all() {
  for (const auto& [resource, list] : watchers_) wake(resource);
}

void RedisStore::Impl::raise_epoch(Callback<uint64_t> done) {
  auto* connection = pick();
  auto entered = [this, done](bool ok) {
    if (!ok) return done(Error{.code = Code::kUnknownOutcome, .message = "state: the connection to Redis was lost"});
    done(shared_.epoch);
  };
  if (connection == nullptr || !connection->enter(true, entered)) later([done] { done(no_connection()); });
}

RedisStore::RedisStore(UvLoop& loop, RedisOptions options) : impl_(std::make_unique<Impl>(loop, std::move(options))) {}
RedisStore::~RedisStore() = default;

void RedisStore::commit(Commit commit, Callback<Committed> done) { impl_->commit(std::move(commit), std::move(done)); }
void RedisStore::snapshot(std::string resource, Callback<Snapshot> done) {
  impl_->snapshot(std::move(resource), std::move(done));
}
void RedisStore::read_log(std::string resource, Revision after, size_t limit, Callback<std::vector<LogEntry>> done) {
  impl_->read_log(std::move(resource), after, limit, std::move(done));
}
std::shared_ptr<void> RedisStore::watch(std::string resource, std::function<void()> changed) {
  return impl_->watch(std::move(resource), std::move(changed));
}
bool RedisStore::ready() const { return impl_->ready(); }
std::shared_ptr<void> RedisStore::on_ready(std::function<void(bool)> changed) {
  return impl_->on_ready(std::move(changed));
}
std::string RedisStore::last_error() const { return impl_->last_error(); }
uint64_t RedisStore::epoch() const { return impl_->epoch(); }
void RedisStore::raise_epoch(Callback<uint64_t> done) { impl_->raise_epoch(std::move(done)); }
RedisStats RedisStore::stats() const { return impl_->stats(); }

void RedisStore::get(Key key, Callback<std::optional<Stored>> done) {
  impl_->query<std::optional<Stored>>(
      {"HGET", key_of(key.resource, "obj"), object_field(key)},
      [key](const redisReply* reply) -> Result<std::optional<Stored>> {
        auto value = text(reply);
        if (is_nil(reply)) return std::optional<Stored>();
        if (value.size() < 8) return Error{.message = fmt::format("state: {} holds no object", object_field(key))};
        return std::optional(Stored{key, revision_of(reply), std::string(value.substr(8))});
      },
      std::move(done));
}

void RedisStore::head(std::string resource, Callback<Revision> done) {
  impl_->query<Revision>(
      {"GET", key_of(resource, "rev")}, [](const redisReply* reply) -> Result<Revision> { return number(reply); },
      std::move(done));
}

void RedisStore::heads(std::string resource, Callback<std::vector<std::pair<std::string, Revision>>> done) {
  using Heads = std::vector<std::pair<std::string, Revision>>;
  impl_->query<Heads>(
      {"HGETALL", key_of(resource, "head")},
      [](const redisReply* reply) -> Result<Heads> {
        Heads out;
        for (size_t i = 0; i + 1 < size(reply); i += 2) {
          if (text(at(reply, i)) != kTrimmed) out.emplace_back(text(at(reply, i)), number(at(reply, i + 1)));
        }
        return out;
      },
      std::move(done));
}

void RedisStore::trim(std::string resource, Revision keep_revision, Callback<Done> done) {
  impl_->run<Done>(
      Script::kTrim, {resource, std::to_string(keep_revision)},
      [](const redisReply*) -> Result<Done> { return Done{}; }, std::move(done));
}

void RedisStore::set_cursor(std::string name, std::string value, Callback<Done> done) {
  impl_->query<Done>(
      {"HSET", kCursors, name, value}, [](const redisReply*) -> Result<Done> { return Done{}; }, std::move(done),
      Code::kUnknownOutcome);
}

void RedisStore::shares(std::string account, Callback<std::vector<Share>> done) {
  impl_->query<std::vector<Share>>(
      {"HGETALL", "{g0}:share:" + account},
      [](const redisReply* reply) -> Result<std::vector<Share>> {
        std::vector<Share> out;
        for (size_t i = 0; i + 1 < size(reply); i += 2) {
          if (!text(at(reply, i)).empty()) out.push_back({std::string(text(at(reply, i))), number(at(reply, i + 1))});
        }
        return out;
      },
      std::move(done));
}

void RedisStore::get_cursor(std::string name, Callback<std::optional<std::string>> done) {
  impl_->query<std::optional<std::string>>(
      {"HGET", kCursors, name},
      [](const redisReply* reply) -> Result<std::optional<std::string>> {
        return is_nil(reply) ? std::nullopt : std::optional(std::string(text(reply)));
      },
      std::move(done));
}

void RedisStore::hold(std::string name, std::string holder, uint32_t ttl_millis, Callback<uint64_t> done) {
  impl_->run<uint64_t>(
      Script::kHold, {name, holder, std::to_string(ttl_millis)},
      [name](const redisReply* reply) -> Result<uint64_t> {
        auto epoch = number(at(reply, 1));
        if (number(at(reply, 0)) == 1) return epoch;
        return Error{.code = Code::kConflict,
                     .message = fmt::format("lease {} is held by {}", name, text(at(reply, 2))),
                     .current_revision = epoch};
      },
      std::move(done));
}

}  // namespace gantry::state

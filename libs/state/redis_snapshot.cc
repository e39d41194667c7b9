// A snapshot at one revision: the head, HSCAN (which sees some changes that come meanwhile and misses others), then
// what the log says has changed since, read again, until nothing has.
#include <fmt/format.h>

#include "libs/state/redis_commit.h"
#include "libs/state/redis_impl.h"

namespace gantry::state {
namespace {
constexpr int kMaxStarts = 5;
constexpr std::string_view kScanCount = "512", kCatchupLimit = "1000";
}  // namespace

/// Keeps itself alive by the reply that it waits for. Everything goes over one connection: another might be on another
/// server.
class RedisStore::Impl::SnapshotReader : public std::enable_shared_from_this<SnapshotReader> {
 public:
  SnapshotReader(Impl& store, std::string resource, Callback<Snapshot> done)
      : store_(store), resource_(std::move(resource)), done_(std::move(done)) {}

  void start() {
    values_.clear();
    cursor_ = "0";
    connection_ = store_.reader();
    if (connection_ == nullptr) return store_.later([self = shared_from_this()] { self->done_(no_connection()); });
    token_ = connection_->token();
    step({"GET", key_of(resource_, "rev")}, [this](const redisReply* reply) {
      reached_ = std::to_string(number(reply));
      scan();
    });
  }

 private:
  RedisConnection::Reply guarded(std::function<void(const redisReply*)> next) {
    return [self = shared_from_this(), next = std::move(next)](const redisReply* reply) {
      if (reply == nullptr)
        return self->fail({.code = Code::kTimeout, .message = "state: the connection to Redis was lost"});
      if (is_error(reply)) return self->fail(redis_error(reply));
      if (self->connection_->token() != self->token_) return self->again();
      next(reply);
    };
  }
  void step(const Arguments& argv, std::function<void(const redisReply*)> next) {
    if (!connection_->send(argv, guarded(std::move(next)))) fail_later();
  }

  void scan() {
    step({"HSCAN", key_of(resource_, "obj"), cursor_, "COUNT", kScanCount}, [this](const redisReply* reply) {
      const auto* pairs = at(reply, 1);
      for (size_t i = 0; i + 1 < size(pairs); i += 2) values_[std::string(text(at(pairs, i)))] = text(at(pairs, i + 1));
      cursor_ = text(at(reply, 0));
      if (cursor_ == "0") {
        catch_up();
      } else {
        scan();
      }
    });
  }

  void catch_up() {
    bool sent = connection_->run(Script::kCatchup, {resource_, reached_, kCatchupLimit},
                                 guarded([this](const redisReply* reply) {
                                   if (size(reply) < 2) return again();  // trimmed past the start
                                   reached_ = text(at(reply, 0));
                                   for (size_t i = 2; i + 1 < size(reply); i += 2) {
                                     std::string field(text(at(reply, i)));
                                     if (is_nil(at(reply, i + 1))) {
                                       values_.erase(field);
                                     } else {
                                       values_[field] = text(at(reply, i + 1));
                                     }
                                   }
                                   if (number(at(reply, 1)) == 0) return catch_up();
                                   store_.barrier(*connection_, [self = shared_from_this()](Status status) {
                                     if (!status)
                                       return self->fail({.code = Code::kTimeout, .message = status.error().message});
                                     self->finish();
                                   });
                                 }));
    if (!sent) fail_later();
  }

  void finish() {
    Snapshot out{.revision = number(reached_), .objects = {}};
    out.objects.reserve(values_.size());
    for (auto& [field, value] : values_) {
      if (value.size() < 8)
        return fail(
            {.code = Code::kInternal, .message = fmt::format("state: {} {} holds no object", resource_, field)});
      Revision revision = 0;
      for (size_t i = 0; i < 8; ++i) revision |= static_cast<Revision>(static_cast<uint8_t>(value[i])) << (8 * i);
      out.objects.push_back({parse_field(resource_, field), revision, value.substr(8)});
    }
    done_(std::move(out));
  }

  void again() {
    if (++starts_ < kMaxStarts) return start();
    fail({.code = Code::kUnavailable,
          .message = fmt::format("state: {} changes faster than a snapshot can be read", resource_)});
  }
  void fail(Error error) { done_(std::move(error)); }
  void fail_later() {
    store_.later([self = shared_from_this()] { self->fail(no_connection()); });
  }

  Impl& store_;
  const std::string resource_;
  Callback<Snapshot> done_;
  RedisConnection* connection_ = nullptr;
  std::string token_, cursor_, reached_;
  std::unordered_map<std::string, std::string> values_;  // field -> revision and object
  int starts_ = 0;
};

void RedisStore::Impl::snapshot(std::string resource, Callback<Snapshot> done) {
  std::make_shared<SnapshotReader>(*this, std::move(resource), std::move(done))->start();
}

}  // namespace gantry::state

#include "libs/state/redis_connection.h"

#include <fmt/format.h>
#include <glog/logging.h>
#include <hiredis/async.h>
#include <uv.h>

#include <array>
#include <random>

#include "libs/state/redis_reply.h"
#include "libs/state/scripts.h"

namespace gantry::state {
namespace {

constexpr std::array<std::string_view, static_cast<size_t>(Script::kCount)> kScripts = {
    scripts::kEnter, scripts::kCommit, scripts::kResolve, scripts::kHold, scripts::kTrim, scripts::kCatchup};
constexpr std::string_view kEpochKey = "{g0}:epoch";
constexpr std::string_view kWakePattern = "{g0}:wake:*";

/// The value of `name:` in the answer of INFO.
std::string_view info_field(std::string_view info, std::string_view name) {
  for (size_t begin = 0; begin < info.size();) {
    auto line = info.substr(begin, info.find("\r\n", begin) - begin);
    if (line.size() > name.size() && line.starts_with(name) && line[name.size()] == ':')
      return line.substr(name.size() + 1);
    begin += line.size() + 2;
  }
  return {};
}

Duration back_off(int failures) {
  static std::minstd_rand random{std::random_device{}()};  // jitter only
  int64_t millis = std::min<int64_t>(2'000, int64_t{20} << std::min(failures, 7));
  return std::chrono::milliseconds(millis / 2 + static_cast<int64_t>(random() % (millis / 2 + 1)));
}

}  // namespace

struct RedisConnection::Pending {
  Reply reply;
};

/// hiredis on libuv. hiredis/adapters/libuv.h looks away when libuv reports an error (a refused or reset TCP
/// connection), so that hiredis would never notice: here it reads, and finds out.
struct RedisConnection::Poll {
  redisAsyncContext* context;
  uv_poll_t handle;
  int events = 0;

  static void attach(redisAsyncContext* context, uv_loop_t* loop) {
    auto* poll = new Poll{context, {}, 0};
    CHECK_EQ(uv_poll_init(loop, &poll->handle, context->c.fd), 0);
    poll->handle.data = poll;
    context->ev.data = poll;
    context->ev.addRead = [](void* p) { static_cast<Poll*>(p)->set(UV_READABLE, true); };
    context->ev.delRead = [](void* p) { static_cast<Poll*>(p)->set(UV_READABLE, false); };
    context->ev.addWrite = [](void* p) { static_cast<Poll*>(p)->set(UV_WRITABLE, true); };
    context->ev.delWrite = [](void* p) { static_cast<Poll*>(p)->set(UV_WRITABLE, false); };
    context->ev.cleanup = [](void* p) {
      auto* poll = static_cast<Poll*>(p);
      poll->context = nullptr;
      uv_close(reinterpret_cast<uv_handle_t*>(&poll->handle),
               [](uv_handle_t* handle) { delete static_cast<Poll*>(handle->data); });
    };
  }

  void set(int event, bool on) {
    int wanted = on ? events | event : events & ~event;
    if (wanted == events || context == nullptr) return;
    events = wanted;
    if (events == 0) {
      uv_poll_stop(&handle);
    } else {
      uv_poll_start(&handle, events, on_event);
    }
  }

  static void on_event(uv_poll_t* handle, int status, int events) {
    auto* poll = static_cast<Poll*>(handle->data);
    if (status != 0) events = UV_READABLE;  // libuv has stopped polling; reading tells hiredis what happened
    if (poll->context != nullptr && (events & UV_READABLE) != 0) redisAsyncHandleRead(poll->context);
    if (poll->context != nullptr && (events & UV_WRITABLE) != 0) redisAsyncHandleWrite(poll->context);
  }
};

RedisConnection::RedisConnection(UvLoop& loop, const RedisOptions& options, RedisShared& shared, Role role,
                                 Callbacks callbacks)
    : loop_(loop), options_(options), shared_(shared), role_(role), callbacks_(std::move(callbacks)) {
  stall_timer_ = loop_.every(std::max<Duration>(options_.command_timeout / 4, std::chrono::milliseconds(10)),
                             [this] { watch_stall(); });
  connect();
}

RedisConnection::~RedisConnection() {
  if (auto* context = std::exchange(context_, nullptr)) {
    context->data = nullptr;  // pending replies are dropped
    redisAsyncFree(context);
  }
}

void RedisConnection::connect() {
  std::string_view address = options_.address;
  if (address.starts_with("unix:")) {
    context_ = redisAsyncConnectUnix(std::string(address.substr(5)).c_str());
  } else {
    auto colon = address.rfind(':');
    auto port = colon == std::string_view::npos ? 6379 : static_cast<int>(number(address.substr(colon + 1)));
    context_ = redisAsyncConnect(std::string(address.substr(0, colon)).c_str(), port);
  }
  if (context_ == nullptr || context_->err != 0) {
    last_error_ = fmt::format("connect to {}: {}", address, context_ == nullptr ? "out of memory" : context_->errstr);
    if (context_ != nullptr) redisAsyncFree(std::exchange(context_, nullptr));
    return retry();
  }
  context_->data = this;
  Poll::attach(context_, loop_.raw());
  if (!address.starts_with("unix:")) redisEnableKeepAlive(&context_->c);
  setup_timer_ = loop_.after(options_.connect_timeout, [this] { drop("no greeting in time"); });
  redisAsyncSetDisconnectCallback(context_, [](const redisAsyncContext* context, int status) {
    auto* self = static_cast<RedisConnection*>(context->data);
    if (self == nullptr) return;
    if (!self->dropping_ && status != REDIS_OK && context->errstr != nullptr) self->last_error_ = context->errstr;
    self->disconnected();
  });
  redisAsyncSetConnectCallback(context_, [](const redisAsyncContext* context, int status) {
    auto* self = static_cast<RedisConnection*>(context->data);
    if (self == nullptr) return;
    if (status == REDIS_OK) return self->connected();
    self->last_error_ = fmt::format("connect to {}: {}", self->options_.address, context->errstr);
    self->disconnected();  // hiredis frees the context
  });
}

void RedisConnection::connected() {
  established_ = true;
  if (!options_.password.empty()) {
    std::vector<std::string_view> auth{"AUTH"};
    if (!options_.user.empty()) auth.emplace_back(options_.user);
    auth.emplace_back(options_.password);
    raw_send(auth, [this](const redisReply* reply) {
      if (is_error(reply)) drop(fmt::format("redis refused the credentials: {}", text(reply)));
    });
  }
  if (role_ == Role::kCommands) return greet();
  auto subscribed = [](redisAsyncContext* context, void* reply, void*) {
    auto* self = static_cast<RedisConnection*>(context->data);
    const auto* message = static_cast<const redisReply*>(reply);
    if (self == nullptr || message == nullptr) return;
    if (is_error(message)) return self->drop(fmt::format("cannot subscribe: {}", text(message)));
    if (text(at(message, 0)) == "pmessage") {
      self->callbacks_.wake(text(at(message, 2)));
    } else if (text(at(message, 0)) == "psubscribe") {
      self->ready_ = true;
      self->failures_ = 0;
      self->setup_timer_.reset();
      self->callbacks_.ready();
    }
  };
  redisAsyncCommand(context_, subscribed, nullptr, "PSUBSCRIBE %b", kWakePattern.data(), kWakePattern.size());
}

void RedisConnection::greet() {
  raw_send({"INFO", "server", "replication"}, [this](const redisReply* reply) {
    if (reply == nullptr) return;
    run_id_ = info_field(text(reply), "run_id");
    if (run_id_.empty()) return drop(fmt::format("no greeting: {}", text(reply)));
    if (info_field(text(reply), "role") != "master") return drop("the server is a replica");
    load_scripts([this](bool loaded) {
      if (!loaded) return;
      // A server that is not yet ready_ lets nobody else in: raw.
      enter(false, [this](bool entered) {
        if (!entered) return;
        setup_timer_.reset();
        ready_ = true;
        failures_ = 0;
        callbacks_.ready();
      });
    });
  });
}

void RedisConnection::load_scripts(std::function<void(bool)> done) {
  shas_.assign(kScripts.size(), "");
  for (size_t i = 0; i < kScripts.size(); ++i) {
    raw_send({"SCRIPT", "LOAD", kScripts[i]}, [this, i, done](const redisReply* reply) {
      if (reply == nullptr) return done(false);
      if (reply->type != REDIS_REPLY_STRING) {
        if (context_ != nullptr && i == 0) drop(fmt::format("cannot load scripts: {}", text(reply)));
        return done(false);
      }
      shas_[i] = text(reply);
      if (i + 1 == kScripts.size()) done(true);
    });
  }
}

bool RedisConnection::enter(bool raise, std::function<void(bool)> done) {
  std::string seen = std::to_string(shared_.epoch);
  return run(Script::kEnter, {run_id_, seen, raise ? "1" : "0"}, [this, done](const redisReply* reply) {
    if (reply == nullptr) return done(false);
    if (reply->type != REDIS_REPLY_STRING) {
      done(false);
      return drop(fmt::format("cannot enter: {}", text(reply)));
    }
    token_ = text(reply);
    auto epoch = number(token_);
    if (epoch > shared_.epoch) {
      LOG(INFO) << "redis entered address=" << options_.address << " epoch=" << epoch;
      shared_.epoch = epoch;
    }
    done(true);
  });
}

void RedisConnection::greeted_elsewhere(const std::string& token) {
  auto server = [](std::string_view t) { return t.substr(std::min(t.find(' '), t.size())); };
  if (!token_.empty() && server(token_) == server(token) && number(token_) < number(token)) token_ = token;
}

bool RedisConnection::send(const std::vector<std::string_view>& argv, Reply reply) {
  return ready_ && raw_send(argv, std::move(reply));
}

bool RedisConnection::run(Script script, const std::vector<std::string_view>& arguments, Reply reply) {
  std::vector<std::string_view> argv;
  argv.reserve(arguments.size() + 4);
  argv.insert(argv.end(), {"EVALSHA", shas_.at(static_cast<size_t>(script)), "1", kEpochKey});
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  return raw_send(argv, std::move(reply));
}

bool RedisConnection::raw_send(const std::vector<std::string_view>& argv, Reply reply) {
  if (context_ == nullptr || !established_) return false;
  std::vector<const char*> words;
  std::vector<size_t> lengths;
  words.reserve(argv.size());
  lengths.reserve(argv.size());
  for (auto word : argv) {
    words.push_back(word.data() == nullptr ? "" : word.data());
    lengths.push_back(word.size());
  }
  auto answered = [](redisAsyncContext* context, void* raw, void* data) {
    std::unique_ptr<Pending> pending(static_cast<Pending*>(data));
    auto* self = static_cast<RedisConnection*>(context->data);
    if (self == nullptr) return;
    if (!self->sent_.empty()) self->sent_.pop_front();
    if (raw == nullptr) self->ready_ = false;  // the rest of the pipeline is lost too
    if (pending->reply) pending->reply(static_cast<const redisReply*>(raw));
  };
  auto* pending = new Pending{std::move(reply)};
  int status =
      redisAsyncCommandArgv(context_, answered, pending, static_cast<int>(words.size()), words.data(), lengths.data());
  if (status != REDIS_OK) {
    delete pending;
    return false;
  }
  sent_.push_back(loop_.now());
  return true;
}

void RedisConnection::drop(std::string why) {
  if (context_ == nullptr || dropping_) return;
  dropping_ = true;  // the first reason is the one to tell
  last_error_ = std::move(why);
  // Not from inside a reply: hiredis would go on reading a context that is being freed.
  loop_.post([this, context = context_, guard = std::weak_ptr(alive_)] {
    if (guard.expired() || context_ != context) return;
    redisAsyncFree(context);
    if (context_ == context) disconnected();  // hiredis tells only of connections that were established
  });
  ready_ = false;
}

void RedisConnection::disconnected() {
  ready_ = false;
  context_ = nullptr;
  established_ = false;
  sent_.clear();
  setup_timer_.reset();
  dropping_ = false;
  VLOG(1) << "redis connection lost address=" << options_.address << " reason=\"" << last_error_ << '"';
  callbacks_.lost();
  retry();
}

void RedisConnection::retry() {
  retry_timer_ = loop_.after(back_off(failures_++), [this] { connect(); });
}

void RedisConnection::watch_stall() {
  if (!sent_.empty() && loop_.now() - sent_.front() > options_.command_timeout) drop("no answer in time");
}

}  // namespace gantry::state

#include "libs/bus/nats_bus.h"

#include "libs/base/ids.h"
#include "libs/bus/nats_worker.h"
#include "libs/bus/pending_requests.h"
#include "libs/bus/subject.h"

namespace gantry::bus {
namespace {

using std::chrono::seconds;

constexpr size_t kDefaultMaxPayload = 8u << 20;  // until a server has told
constexpr Duration kFlushTimeout = seconds(30);
constexpr std::string_view kFlushToken = "flush.";

/// Subjects go into the protocol as they are: nothing in them may end a word or a line.
bool valid_subject(std::string_view subject) {
  return !subject.empty() && subject.size() < 4096 &&
         std::none_of(subject.begin(), subject.end(), [](unsigned char c) { return c <= ' ' || c == 127; });
}

}  // namespace

/// Shared with callbacks that may come after the bus is gone.
struct NatsBus::Core : std::enable_shared_from_this<NatsBus::Core> {
  struct Sub {
    std::weak_ptr<Core> core;
    uint64_t sid = 0;
    std::string subject, queue;
    Handler handler;  // null: the inbox
  };
  class Handle;

  Core(UvLoop& uv, NatsOptions o)
      : loop(uv),
        options(std::move(o)),
        requests(uv),
        flushes(uv),
        inbox(inbox_prefix(options.identity) + "." + new_uid()) {
    NatsWorker::Events events;
    events.message = [this](uint64_t sid, natsMsg* msg) { deliver(sid, msg); };
    events.connection = [this](bool up, size_t limit, const std::string& reason) { changed(up, limit, reason); };
    events.error = [this](const std::string& text) {
      ++counters.violations;
      LOG_EVERY_N(WARNING, 20) << "identity=" << options.identity << " nats: " << text;
    };
    worker = std::make_unique<NatsWorker>(loop, options, std::move(events));
  }

  void changed(bool up, size_t limit, const std::string& reason) {
    if (up == connected) return;
    connected = up;
    auto self = shared_from_this();
    if (up) {
      max_payload = limit > 0 ? limit : kDefaultMaxPayload;
      ++counters.connects;
      LOG(INFO) << "identity=" << options.identity << " connected to " << options.url;
    } else {
      LOG(WARNING) << "identity=" << options.identity << " lost its connection to " << options.url << ": " << reason;
      tainted |= unflushed;
      flushes.fail_all(Error{Code::kUnavailable, "the connection to the bus was lost"});
    }
    std::erase_if(watchers, [](auto& weak) { return weak.expired(); });
    for (auto& weak : std::vector(watchers)) {
      if (auto watcher = weak.lock(); watcher && !closed) (*watcher)(connected);
    }
  }

  Status publish(std::string_view subject, std::string_view reply, std::string_view message_id, std::string_view data) {
    if (data.size() > max_payload) {
      return Error{Code::kTooLarge, fmt::format("message of {} bytes on {} is above the bus' limit of {}", data.size(),
                                                subject, max_payload)};
    }
    if (!valid_subject(subject) || (!reply.empty() && !valid_subject(reply))) {
      return Error{Code::kInvalid, fmt::format("not a subject: '{}'", subject)};
    }
    if (worker->buffered() + data.size() > options.outgoing_limit) {
      ++counters.refused;
      return Error{Code::kUnavailable, connected ? "the bus does not take more for now" : "not connected to the bus"};
    }
    ++counters.published;
    unflushed = true;
    worker->publish(std::string(subject), std::string(reply), std::string(message_id), std::string(data));
    return Done{};
  }

  void deliver(uint64_t sid, natsMsg* msg) {
    ++counters.received;
    auto it = subs.find(sid);
    if (it == subs.end()) return;
    auto sub = it->second;  // the handler may unsubscribe
    auto self = shared_from_this();
    std::string_view subject = natsMsg_GetSubject(msg);
    const char* reply = natsMsg_GetReply(msg);
    std::string_view data(natsMsg_GetData(msg), static_cast<size_t>(natsMsg_GetDataLength(msg)));
    if (sub->handler) return sub->handler({subject, reply ? std::string_view(reply) : std::string_view(), data});
    auto token = subject.substr(std::min(subject.size(), inbox.size() + 1));
    if (token.starts_with(kFlushToken)) {
      flushes.complete(token.substr(kFlushToken.size()), std::string());
    } else if (natsMsg_IsNoResponders(msg)) {
      requests.complete(token, Error{Code::kUnavailable, "nobody listens on the request's subject"});
    } else {
      requests.complete(token, std::string(data));
    }
  }

  std::shared_ptr<Sub> add(std::string subject, std::string queue, Handler handler) {
    auto sub = std::make_shared<Sub>(
        Sub{weak_from_this(), next_sid++, std::move(subject), std::move(queue), std::move(handler)});
    if (!valid_subject(sub->subject) || (!sub->queue.empty() && !valid_subject(sub->queue))) {
      LOG(DFATAL) << "not a subject: '" << sub->subject << "' '" << sub->queue << "'";
      return sub;
    }
    subs.emplace(sub->sid, sub);
    worker->subscribe(sub->sid, sub->subject, sub->queue);
    return sub;
  }

  void remove(const Sub& sub) {
    if (subs.erase(sub.sid) > 0) worker->unsubscribe(sub.sid);
  }

  void close() {
    closed = true;
    worker.reset();
    connected = false;
    subs.clear();
  }

  UvLoop& loop;
  NatsOptions options;
  bool connected = false, closed = false;
  bool unflushed = false;                         // something was published since the last flush
  bool tainted = false;                           // and a connection was lost meanwhile: the next flush says so
  std::map<uint64_t, std::shared_ptr<Sub>> subs;  // by sid, which stays over reconnects
  uint64_t next_sid = 1;
  PendingRequests requests;
  PendingRequests flushes;  // a message to our own inbox: the server has then processed what came before it
  std::string inbox;
  std::vector<std::weak_ptr<std::function<void(bool)>>> watchers;
  size_t max_payload = kDefaultMaxPayload;
  Counters counters;
  std::unique_ptr<NatsWorker> worker;  // last: its thread must end before the rest goes
};

class NatsBus::Core::Handle final : public Subscription {
 public:
  explicit Handle(std::shared_ptr<Sub> sub) : sub_(std::move(sub)) {}
  ~Handle() override {
    if (auto core = sub_->core.lock(); core && !core->closed) core->remove(*sub_);
  }
  uint64_t dropped() const override {
    auto core = sub_->core.lock();
    return core && core->worker ? core->worker->dropped(sub_->sid) : 0;
  }

 private:
  std::shared_ptr<Sub> sub_;
};

NatsBus::NatsBus(UvLoop& loop, NatsOptions options) : core_(std::make_shared<Core>(loop, std::move(options))) {
  core_->add(core_->inbox + ".>", "", nullptr);
}

NatsBus::~NatsBus() { core_->close(); }

Status NatsBus::publish(std::string_view subject, std::string_view data, std::string_view reply) {
  return core_->publish(subject, reply, {}, data);
}

Status NatsBus::publish_with_id(std::string_view subject, std::string_view data, std::string_view message_id) {
  if (message_id.find_first_of("\r\n") != std::string_view::npos) return Error{Code::kInvalid, "not a message id"};
  return core_->publish(subject, {}, message_id, data);
}

std::unique_ptr<Subscription> NatsBus::subscribe(std::string subject, std::string queue, Handler handler) {
  return std::make_unique<Core::Handle>(core_->add(std::move(subject), std::move(queue), std::move(handler)));
}

void NatsBus::request(std::string_view subject, std::string_view data, Duration timeout,
                      std::function<void(Result<std::string>)> done) {
  auto token = core_->requests.add(timeout, std::move(done));
  auto status = core_->publish(subject, core_->inbox + "." + token, {}, data);
  if (status) return;
  core_->loop.post([weak = std::weak_ptr(core_), token, error = status.error()] {
    if (auto core = weak.lock(); core && !core->closed) core->requests.complete(token, error);
  });
}

void NatsBus::flush(std::function<void(Status)> done) {
  core_->unflushed = false;
  if (!core_->connected || std::exchange(core_->tainted, false)) {
    return core_->loop.post([done = std::move(done)] {
      done(Error{Code::kUnavailable, "the connection to the bus was lost: what was published may be lost"});
    });
  }
  auto token = core_->flushes.add(kFlushTimeout, [done = std::move(done)](Result<std::string> result) {
    done(result.ok() ? Status(Done{}) : Status(result.error()));
  });
  core_->worker->publish(fmt::format("{}.{}{}", core_->inbox, kFlushToken, token), {}, {}, {});
}

bool NatsBus::connected() const { return core_->connected; }

std::shared_ptr<void> NatsBus::on_connection(std::function<void(bool)> changed) {
  auto watcher = std::make_shared<std::function<void(bool)>>(std::move(changed));
  std::erase_if(core_->watchers, [](auto& weak) { return weak.expired(); });
  core_->watchers.push_back(watcher);
  return watcher;
}

size_t NatsBus::max_payload() const { return core_->max_payload; }
const NatsBus::Counters& NatsBus::counters() const { return core_->counters; }
size_t NatsBus::buffered() const { return core_->worker ? core_->worker->buffered() : 0; }

}  // namespace gantry::bus

#include "libs/bus/nats_bus.h"

#include <nlohmann/json.hpp>
#include <random>

#include "libs/base/ids.h"
#include "libs/bus/nats_link.h"
#include "libs/bus/pending_requests.h"
#include "libs/bus/subject.h"

namespace gantry::bus {
namespace {

using std::chrono::milliseconds;

constexpr Duration kMinBackoff = milliseconds(50), kMaxBackoff = milliseconds(2000);
constexpr size_t kDefaultMaxPayload = 8u << 20;  // until a server has told

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
    Handler handler;
  };
  class Handle;

  Core(UvLoop& uv, NatsOptions o)
      : loop(uv),
        options(std::move(o)),
        requests(uv),
        inbox(inbox_prefix(options.identity) + "." + new_uid()),
        random(std::random_device{}()) {
    auto parsed = parse_nats_urls(options.url);
    if (!parsed) {
      LOG(ERROR) << parsed.error().message;
      return;
    }
    servers = std::move(*parsed);
    std::shuffle(servers.begin(), servers.end(), random);
  }

  void dial() {
    if (servers.empty()) return;
    const auto& server = servers[next_server++ % servers.size()];
    NatsLink::Events events;
    auto mine = [weak = weak_from_this(), number = ++dials]() -> std::shared_ptr<Core> {
      auto self = weak.lock();
      return self && !self->closed && self->dials == number ? self : nullptr;
    };
    events.ready = [mine](std::string_view info) {
      if (auto self = mine()) self->ready(info);
    };
    events.message = [this](uint64_t sid, std::string_view subject, std::string_view reply, std::string_view status,
                            std::string_view data) { deliver(sid, subject, reply, status, data); };
    events.info = [this](std::string_view info) { learn(info); };
    events.error = [this](std::string_view text) {
      ++counters.violations;
      LOG_EVERY_N(WARNING, 20) << "identity=" << options.identity << " nats: " << text;
    };
    events.lost = [mine](const std::string& reason) {
      if (auto self = mine()) self->lost(reason);
    };
    link = NatsLink::open(loop, {server, options.ca_file, options.creds_file, options.identity}, std::move(events));
  }

  void learn(std::string_view text) {
    auto info = nlohmann::json::parse(text, nullptr, false);
    if (!info.is_object()) return;
    if (auto limit = info.value("max_payload", int64_t{0}); limit > 0) max_payload = static_cast<size_t>(limit);
  }

  void ready(std::string_view info) {
    learn(info);
    connected = true;
    backoff = kMinBackoff;
    last_reason.clear();
    ++counters.connects;
    LOG(INFO) << "identity=" << options.identity << " connected to " << options.url;
    for (auto& [sid, sub] : subs) subscribe(*sub);
    link->write({outgoing});  // after the subscriptions: an answer finds its inbox
    outgoing.clear();
    notify();
  }

  void lost(const std::string& reason) {
    link.reset();
    bool was = std::exchange(connected, false);
    if (was || std::exchange(last_reason, reason) != reason) {
      LOG(WARNING) << "identity=" << options.identity << (was ? " lost its connection to " : " cannot connect to ")
                   << options.url << ": " << reason;
    }
    // Half to one and a half of the back-off, so that a fleet does not come back in step.
    auto wait = backoff / 2 + Duration(static_cast<int64_t>(random() % static_cast<uint64_t>(backoff.count())));
    backoff = std::min(backoff * 2, kMaxBackoff);
    redial = loop.after(wait, [this] { dial(); });
    if (!was) return;
    auto self = shared_from_this();
    for (auto& [number, done] : std::exchange(flushes, {}))
      done(Error{Code::kUnavailable, "the connection to the bus was lost"});
    notify();
  }

  void notify() {
    auto self = shared_from_this();
    std::erase_if(watchers, [](auto& weak) { return weak.expired(); });
    for (auto& weak : std::vector(watchers)) {
      if (auto watcher = weak.lock(); watcher && !closed) (*watcher)(connected);
    }
  }

  void subscribe(const Sub& sub) {
    link->write({"SUB ", sub.subject, sub.queue.empty() ? "" : " ", sub.queue, " ", std::to_string(sub.sid), "\r\n"});
  }

  Status publish(std::string_view subject, std::string_view reply, std::string_view headers, std::string_view data) {
    if (data.size() + headers.size() > max_payload) {
      return Error{Code::kTooLarge, fmt::format("message of {} bytes on {} is above the bus' limit of {}", data.size(),
                                                subject, max_payload)};
    }
    if (!valid_subject(subject) || (!reply.empty() && !valid_subject(reply))) {
      return Error{Code::kInvalid, fmt::format("not a subject: '{}'", subject)};
    }
    if (buffered() + data.size() > options.outgoing_limit) {
      ++counters.refused;
      return Error{Code::kUnavailable, connected ? "the bus does not take more for now" : "not connected to the bus"};
    }
    ++counters.published;
    char sizes[48];
    auto* end = headers.empty() ? fmt::format_to(sizes, " {}\r\n", data.size())
                                : fmt::format_to(sizes, " {} {}\r\n", headers.size(), headers.size() + data.size());
    std::string_view tail(sizes, static_cast<size_t>(end - sizes)), op = headers.empty() ? "PUB " : "HPUB ",
                                                                    space = reply.empty() ? "" : " ";
    if (connected) {
      link->write({op, subject, space, reply, tail, headers, data, "\r\n"});
    } else {
      for (auto part : {op, subject, space, reply, tail, headers, data, std::string_view("\r\n")})
        outgoing.append(part);
    }
    return Done{};
  }

  size_t buffered() const { return connected ? link->buffered() : outgoing.size(); }

  void deliver(uint64_t sid, std::string_view subject, std::string_view reply, std::string_view status,
               std::string_view data) {
    ++counters.received;
    auto it = subs.find(sid);
    if (it == subs.end()) return;
    auto sub = it->second;  // the handler may unsubscribe
    auto self = shared_from_this();
    if (sub->handler) return sub->handler({subject, reply, data});
    auto token = subject.substr(std::min(subject.size(), inbox.size() + 1));
    if (status == "503") {
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
    if (connected) subscribe(*sub);
    return sub;
  }

  void remove(const Sub& sub) {
    if (subs.erase(sub.sid) > 0 && connected) link->write({"UNSUB ", std::to_string(sub.sid), "\r\n"});
  }

  void close() {
    closed = true;
    redial.reset();
    if (link) std::exchange(link, nullptr)->close();
    connected = false;
    subs.clear();
  }

  UvLoop& loop;
  NatsOptions options;
  std::vector<NatsServerAddress> servers;
  size_t next_server = 0;
  uint64_t dials = 0;
  std::shared_ptr<NatsLink> link;  // while it dials or is connected
  bool connected = false, closed = false;
  Duration backoff = kMinBackoff;
  Timer redial;
  std::string last_reason;
  std::map<uint64_t, std::shared_ptr<Sub>> subs;  // by sid, which stays over reconnects
  uint64_t next_sid = 1;
  PendingRequests requests;
  std::string inbox;
  std::map<uint64_t, std::function<void(Status)>> flushes;
  uint64_t next_flush = 1;
  std::string outgoing;  // protocol text that waits for a connection
  std::vector<std::weak_ptr<std::function<void(bool)>>> watchers;
  size_t max_payload = kDefaultMaxPayload;
  Counters counters;
  std::mt19937 random;
};

class NatsBus::Core::Handle final : public Subscription {
 public:
  explicit Handle(std::shared_ptr<Sub> sub) : sub_(std::move(sub)) {}
  ~Handle() override {
    if (auto core = sub_->core.lock(); core && !core->closed) core->remove(*sub_);
  }
  uint64_t dropped() const override { return 0; }

 private:
  std::shared_ptr<Sub> sub_;
};

NatsBus::NatsBus(UvLoop& loop, NatsOptions options) : core_(std::make_shared<Core>(loop, std::move(options))) {
  core_->add(core_->inbox + ".*", "", nullptr);
  core_->dial();
}

NatsBus::~NatsBus() { core_->close(); }

Status NatsBus::publish(std::string_view subject, std::string_view data, std::string_view reply) {
  return core_->publish(subject, reply, {}, data);
}

Status NatsBus::publish_with_id(std::string_view subject, std::string_view data, std::string_view message_id) {
  if (message_id.find_first_of("\r\n") != std::string_view::npos) return Error{Code::kInvalid, "not a message id"};
  return core_->publish(subject, {}, fmt::format("NATS/1.0\r\nNats-Msg-Id: {}\r\n\r\n", message_id), data);
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
  if (!core_->connected) {
    return core_->loop.post([done = std::move(done)] { done(Error{Code::kUnavailable, "not connected to the bus"}); });
  }
  auto number = core_->next_flush++;
  core_->flushes.emplace(number, std::move(done));
  core_->link->ping([core = core_.get(), number] {  // not called after a loss
    auto node = core->flushes.extract(number);
    if (!node.empty()) node.mapped()(gantry::Done{});
  });
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
size_t NatsBus::buffered() const { return core_->buffered(); }

}  // namespace gantry::bus

#include "libs/bus/testing/fake_bus.h"

#include "libs/bus/subject.h"

namespace gantry::testing {
namespace {
constexpr size_t kOutgoingBuffer = 8u << 20;
}

struct FakeNetwork::Sub {
  uint64_t id = 0;
  FakeBus* bus = nullptr;  // null: unsubscribed
  std::string pattern, queue;
  bus::Handler handler;
};

struct FakeNetwork::Payload {
  std::string subject, reply, data;
};

/// Subscriptions by token of their pattern.
struct FakeNetwork::TreeNode {
  std::map<std::string, std::unique_ptr<TreeNode>, std::less<>> children;
  std::map<uint64_t, std::shared_ptr<Sub>> subs;

  void match(const std::vector<std::string_view>& tokens, size_t at, std::map<uint64_t, std::shared_ptr<Sub>>& found) {
    if (at == tokens.size()) {
      found.insert(subs.begin(), subs.end());
      return;
    }
    if (auto it = children.find(tokens[at]); it != children.end()) it->second->match(tokens, at + 1, found);
    if (auto it = children.find("*"); it != children.end()) it->second->match(tokens, at + 1, found);
    if (auto it = children.find(">"); it != children.end()) {
      found.insert(it->second->subs.begin(), it->second->subs.end());
    }
  }
};

class FakeNetwork::Handle final : public bus::Subscription {
 public:
  explicit Handle(std::shared_ptr<Sub> sub) : sub_(std::move(sub)) {}
  ~Handle() override {
    if (sub_->bus != nullptr) std::exchange(sub_->bus, nullptr)->network_.remove(sub_);
  }
  uint64_t dropped() const override { return 0; }

 private:
  std::shared_ptr<Sub> sub_;
};

FakeNetwork::FakeNetwork(Loop& loop, uint64_t seed) : loop_(loop), random_(seed), root_(std::make_unique<TreeNode>()) {}
FakeNetwork::~FakeNetwork() = default;

std::unique_ptr<FakeBus> FakeNetwork::connect(std::string identity, std::optional<bus::Permissions> permissions) {
  return std::unique_ptr<FakeBus>(new FakeBus(*this, std::move(identity), std::move(permissions)));
}

bool FakeNetwork::chance(double probability) {
  return probability > 0 && static_cast<double>(random_() >> 11) < probability * static_cast<double>(1ull << 53);
}

void FakeNetwork::add(const std::shared_ptr<Sub>& sub) {
  auto* node = root_.get();
  for (auto token : bus::subject_tokens(sub->pattern)) {
    auto& child = node->children[std::string(token)];
    if (!child) child = std::make_unique<TreeNode>();
    node = child.get();
  }
  node->subs.emplace(sub->id, sub);
}

void FakeNetwork::remove(const std::shared_ptr<Sub>& sub) {
  std::vector<std::pair<TreeNode*, std::string>> path;
  auto* node = root_.get();
  for (auto token : bus::subject_tokens(sub->pattern)) {
    path.emplace_back(node, token);
    node = node->children.at(std::string(token)).get();
  }
  node->subs.erase(sub->id);
  for (auto it = path.rbegin(); it != path.rend() && node->subs.empty() && node->children.empty(); ++it) {
    it->first->children.erase(it->second);
    node = it->first;
  }
}

size_t FakeNetwork::route(std::string_view subject, std::string_view data, std::string_view reply) {
  ++counters_.published;
  std::map<uint64_t, std::shared_ptr<Sub>> found;
  root_->match(bus::subject_tokens(subject), 0, found);
  auto payload = std::make_shared<const Payload>(Payload{std::string(subject), std::string(reply), std::string(data)});
  std::map<std::pair<std::string, std::string>, std::vector<std::shared_ptr<Sub>>> groups;
  size_t receivers = 0;
  for (auto& [id, sub] : found) {
    auto& endpoint = *sub->bus;
    if (!endpoint.connected_ || (endpoint.permissions_ && endpoint.permissions_->withheld(subject))) continue;
    ++receivers;
    if (sub->queue.empty()) {
      send(sub, payload);
    } else {
      groups[{sub->pattern, sub->queue}].push_back(sub);
    }
  }
  for (auto& [key, members] : groups) send(members[random_() % members.size()], payload);
  return receivers;
}

void FakeNetwork::send(const std::shared_ptr<Sub>& sub, const std::shared_ptr<const Payload>& payload) {
  if (faults_.only && !faults_.only(payload->subject)) return deliver_later(Duration::zero(), sub, payload);
  if (chance(faults_.drop)) {
    ++counters_.dropped;
    return;
  }
  int copies = chance(faults_.duplicate) ? 2 : 1;
  counters_.duplicated += copies - 1;
  for (; copies > 0; --copies) {
    Duration delay = faults_.min_delay;
    if (faults_.max_delay > faults_.min_delay) {
      delay += Duration(random_() % static_cast<uint64_t>((faults_.max_delay - faults_.min_delay).count() + 1));
    }
    deliver_later(delay, sub, payload);
  }
}

void FakeNetwork::deliver_later(Duration delay, const std::shared_ptr<Sub>& sub,
                                const std::shared_ptr<const Payload>& payload) {
  auto deliver = [sub, payload, connection = sub->bus->connection_] {
    if (sub->bus == nullptr || !sub->bus->connected_ || sub->bus->connection_ != connection) return;
    ++sub->bus->network_.counters_.delivered;
    if (sub->bus->permissions_ && sub->bus->permissions_->respond && !payload->reply.empty()) {
      ++sub->bus->responses_[payload->reply];
    }
    sub->handler({payload->subject, payload->reply, payload->data});
  };
  if (delay <= Duration::zero()) return loop_.post(std::move(deliver));
  uint64_t id = next_id_++;
  delayed_[id] = loop_.after(delay, [this, id, deliver = std::move(deliver)] {
    auto timer = std::move(delayed_[id]);
    delayed_.erase(id);
    deliver();
  });
}

FakeBus::FakeBus(FakeNetwork& network, std::string identity, std::optional<bus::Permissions> permissions)
    : network_(network), permissions_(std::move(permissions)), pending_(network.loop_) {
  inbox_ = bus::inbox_prefix(identity) + "." + std::to_string(network_.next_endpoint_++);
  inbox_sub_ = subscribe(inbox_ + ".*", "", [this](const bus::Message& message) {
    pending_.complete(message.subject.substr(inbox_.size() + 1), std::string(message.data));
  });
}

FakeBus::~FakeBus() {
  for (auto& weak : subs_) {
    if (auto sub = weak.lock(); sub && sub->bus != nullptr) {
      sub->bus = nullptr;
      network_.remove(sub);
    }
  }
}

bool FakeBus::allowed(bool publish, std::string_view subject) {
  if (!permissions_) return true;
  if (publish ? permissions_->may_publish(subject) : permissions_->may_subscribe(subject)) return true;
  if (auto it = responses_.find(subject); publish && it != responses_.end()) {
    if (--it->second == 0) responses_.erase(it);
    return true;
  }
  violations_.emplace_back(subject);
  ++network_.counters_.violations;
  return false;
}

Status FakeBus::publish(std::string_view subject, std::string_view data, std::string_view reply) {
  if (data.size() > max_payload_) {
    return Error{Code::kTooLarge, fmt::format("message of {} bytes on {} is above the bus' limit of {}", data.size(),
                                              subject, max_payload_)};
  }
  if (!connected_) {
    if (buffered_ + data.size() > kOutgoingBuffer) return Error{Code::kUnavailable, "not connected to the bus"};
    buffered_ += data.size();
    buffer_.push_back({std::string(subject), std::string(data), std::string(reply)});
    return Done{};
  }
  if (allowed(true, subject)) network_.route(subject, data, reply);
  return Done{};  // as in NATS, a violation shows as an asynchronous error only
}

std::unique_ptr<bus::Subscription> FakeBus::subscribe(std::string subject, std::string queue, bus::Handler handler) {
  auto sub = std::make_shared<FakeNetwork::Sub>();
  sub->id = network_.next_id_++;
  sub->pattern = std::move(subject);
  sub->queue = std::move(queue);
  sub->handler = std::move(handler);
  if (allowed(false, sub->pattern)) {
    sub->bus = this;
    network_.add(sub);
    std::erase_if(subs_, [](const auto& weak) { return weak.expired(); });
    subs_.push_back(sub);
  }
  return std::make_unique<FakeNetwork::Handle>(std::move(sub));
}

void FakeBus::request(std::string_view subject, std::string_view data, Duration timeout,
                      std::function<void(Result<std::string>)> done) {
  if (data.size() > max_payload_) {
    return network_.loop_.post([done] { done(Error{Code::kTooLarge, "request above the bus' limit"}); });
  }
  auto token = pending_.add(timeout, std::move(done));
  auto reply = inbox_ + "." + token;
  if (!connected_) {
    if (auto sent = publish(subject, data, reply); sent) return;
  } else if (!allowed(true, subject) || network_.route(subject, data, reply) > 0) {
    return;
  }
  network_.loop_.post([this, token, sub = std::weak_ptr(subs_.front()), subject = std::string(subject)] {
    auto alive = sub.lock();  // the inbox's: gone with this bus
    if (!alive || alive->bus == nullptr) return;
    pending_.complete(token, Error{Code::kUnavailable, "nobody listens on " + subject});
  });
}

void FakeBus::flush(std::function<void(Status)> done) {
  network_.loop_.post([done = std::move(done), up = connected_] {
    done(up ? Status(gantry::Done{}) : Status(Error{Code::kUnavailable, "not connected to the bus"}));
  });
}

std::shared_ptr<void> FakeBus::on_connection(std::function<void(bool)> changed) {
  auto watcher = std::make_shared<std::function<void(bool)>>(std::move(changed));
  std::erase_if(watchers_, [](const auto& weak) { return weak.expired(); });
  watchers_.push_back(watcher);
  return watcher;
}

void FakeBus::set_connected(bool connected) {
  if (connected == connected_) return;
  connected_ = connected;
  ++connection_;
  if (connected) {
    auto buffer = std::move(buffer_);
    buffer_.clear();
    buffered_ = 0;
    for (auto& entry : buffer) (void)publish(entry.subject, entry.data, entry.reply);
  }
  for (auto& weak : watchers_) {
    network_.loop_.post([weak, connected] {
      if (auto watcher = weak.lock()) (*watcher)(connected);
    });
  }
}

}  // namespace gantry::testing

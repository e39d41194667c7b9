#include "services/apigw/sessions/client_sessions.h"

#include "services/apigw/sessions/pod_target.h"

namespace gantry::apigw {
namespace {

/// One direction: what `from` says goes to `to`.
class Flow {
 public:
  Flow(std::unique_ptr<bus::Session>& from, std::unique_ptr<bus::Session>& to) : from_(from), to_(to) {}

  void take(node::Channel channel, std::string_view data, bool end) {
    if (!to_) return;
    owed_ += data.size();
    if (!data.empty() && to_->write(channel, data)) repay();
    if (end) to_->end(channel);
  }
  /// All that was taken is on its way.
  void repay() {
    if (from_ && owed_ > 0) from_->consume(std::exchange(owed_, 0));
  }

 private:
  std::unique_ptr<bus::Session>&from_, &to_;
  size_t owed_ = 0;  // bytes whose credit `from` has not got back
};

}  // namespace

class ClientSessions::Bridge : public std::enable_shared_from_this<Bridge> {
 public:
  explicit Bridge(std::function<void()> finished) : finished_(std::move(finished)) {}

  void start(Loop& loop, Api& api, bus::Bus& bus, const std::string& identity, bus::SessionAcceptor::Offer offer) {
    auto request = offer.request;
    find_pod_target(api, identity_of_bus(identity), std::move(request),
                    [weak = weak_from_this(), &loop, &bus, offer = std::move(offer)](Result<PodTarget> target) {
                      auto self = weak.lock();
                      if (!self) return;
                      if (!target.ok()) return self->refuse(offer, target.error());
                      self->join(loop, bus, *target, offer);
                    });
  }

 private:
  void join(Loop& loop, bus::Bus& bus, const PodTarget& target, const bus::SessionAcceptor::Offer& offer) {
    bus::Session::Callbacks callbacks{
        .data = [this](node::Channel channel, std::string_view data, bool end) { to_client_.take(channel, data, end); },
        .closed =
            [this](const bus::SessionEnd& end) {
              if (client_) client_->close(end);  // what waits for the client's credit goes first
            },
        .writable = [this] { to_node_.repay(); }};
    bus::open_session(loop, bus, target.node, target.request, std::move(callbacks),
                      [weak = weak_from_this(), offer](Result<std::unique_ptr<bus::Session>> session) {
                        auto self = weak.lock();
                        if (!self) return;  // dropping the session tells the node
                        if (!session.ok()) return self->refuse(offer, session.error());
                        self->node_ = std::move(*session);
                        self->client_ = offer.accept(self->client_callbacks());
                      });
  }

  bus::Session::Callbacks client_callbacks() {
    return {
        .data = [this](node::Channel channel, std::string_view data, bool end) { to_node_.take(channel, data, end); },
        .closed = [this](const bus::SessionEnd&) { finished_(); },
        .writable = [this] { to_client_.repay(); }};
  }

  void refuse(const bus::SessionAcceptor::Offer& offer, const Error& error) {
    offer.refuse(error);
    finished_();
  }

  std::function<void()> finished_;
  std::unique_ptr<bus::Session> client_, node_;
  Flow to_client_{node_, client_}, to_node_{client_, node_};
};

ClientSessions::ClientSessions(Loop& loop, Api& api, bus::Bus& bus, size_t max_open)
    : loop_(loop), api_(api), bus_(bus), max_open_(max_open), alive_(std::make_shared<ClientSessions*>(this)) {
  acceptor_ = bus::accept_client_sessions(
      loop, bus,
      [this](const std::string& identity, bus::SessionAcceptor::Offer offer) { offered(identity, std::move(offer)); });
}

ClientSessions::~ClientSessions() = default;

void ClientSessions::offered(const std::string& identity, bus::SessionAcceptor::Offer offer) {
  if (bridges_.size() >= max_open_) {
    return offer.refuse({.code = Code::kTooManyRequests, .message = "the gateway has too many sessions"});
  }
  const uint64_t number = next_++;
  // Posted: a bridge does not go while it is on the stack.
  auto bridge = std::make_shared<Bridge>([this, number] {
    loop_.post([weak = std::weak_ptr(alive_), number] {
      if (auto alive = weak.lock()) (*alive)->bridges_.erase(number);
    });
  });
  bridges_.emplace(number, bridge);
  bridge->start(loop_, api_, bus_, identity, std::move(offer));
}

}  // namespace gantry::apigw

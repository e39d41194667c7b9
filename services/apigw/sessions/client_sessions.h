// Sessions of clients on the bus (`gantry logs`, `gantry exec`): authorized as over HTTP, then joined to a session with
// the pod's node. Credit goes back to one side only after the other has taken the bytes, so a slow reader holds the
// sender through both.
#pragma once

#include <memory>
#include <unordered_map>

#include "libs/bus/session.h"
#include "services/apigw/core/api.h"

namespace gantry::apigw {

/// Loop's thread only. Destroying it ends every session. All that it is given outlives it.
class ClientSessions {
 public:
  /// More than `max_open` at a time are refused with kTooManyRequests.
  ClientSessions(Loop& loop, Api& api, bus::Bus& bus, size_t max_open = 1000);
  ~ClientSessions();
  ClientSessions(const ClientSessions&) = delete;
  ClientSessions& operator=(const ClientSessions&) = delete;

  size_t open() const { return bridges_.size(); }

 private:
  class Bridge;
  void offered(const std::string& identity, bus::SessionAcceptor::Offer offer);

  Loop& loop_;
  Api& api_;
  bus::Bus& bus_;
  size_t max_open_;
  uint64_t next_ = 1;
  std::unordered_map<uint64_t, std::shared_ptr<Bridge>> bridges_;
  std::shared_ptr<ClientSessions*> alive_;  // for what is posted
  std::unique_ptr<bus::Subscription> acceptor_;
};

}  // namespace gantry::apigw

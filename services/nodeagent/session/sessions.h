// What the gateway asks of this node beside running pods: logs, exec, attach, port-forward and connections
// for its proxy, over the bus.
#pragma once

#include <list>
#include <memory>
#include <string>

#include "libs/base/uv_loop.h"
#include "libs/bus/session.h"
#include "services/nodeagent/agent/agent.h"

namespace gantry::nodeagent {

/// Loop's thread only; everything passed by reference outlives it.
class Sessions {
 public:
  /// `own_address`: the agent's health server as ip:port, which the proxy of the node itself reaches; empty: none.
  Sessions(UvLoop& loop, bus::Bus& bus, Runtime& runtime, Executor& executor, Agent& agent, const std::string& node,
           std::function<std::string()> own_address = {});
  ~Sessions();
  size_t open() const { return open_.size(); }

 private:
  /// A session under way; erased on a later turn of the loop than the one that ends it.
  struct Open {
    std::shared_ptr<void> session;
  };
  using Place = std::list<Open>::iterator;
  void on_offer(bus::SessionAcceptor::Offer offer);
  void logs(const std::shared_ptr<bus::SessionAcceptor::Offer>& offer, const PodWorker& pod,
            const std::string& container);
  /// exec and attach
  void command(const std::shared_ptr<bus::SessionAcceptor::Offer>& offer, const PodWorker& pod,
               const std::string& container);
  void trace(const std::shared_ptr<bus::SessionAcceptor::Offer>& offer, const PodWorker& pod);
  void dial(const std::shared_ptr<bus::SessionAcceptor::Offer>& offer);
  void forward(const std::shared_ptr<bus::SessionAcceptor::Offer>& offer, const PodWorker& pod);
  /// A callback that ends the session at `place`.
  std::function<void()> closer(Place place);

  UvLoop& loop_;
  Runtime& runtime_;
  Executor& executor_;
  Agent& agent_;
  std::function<std::string()> own_address_;
  std::list<Open> open_;
  std::unique_ptr<bus::Subscription> subscription_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace gantry::nodeagent

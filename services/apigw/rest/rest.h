// The Kubernetes REST API on libs/http: translates requests into commands for the core and answers back. Stateless but
// for running watches and sessions. Loop's thread only.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "libs/base/loop.h"
#include "libs/bus/bus.h"
#include "libs/http/message.h"
#include "libs/http/responder.h"
#include "services/apigw/core/alive.h"
#include "services/apigw/core/api.h"
#include "services/apigw/render/frames.h"
#include "services/apigw/rest/accept.h"
#include "services/apigw/rest/body.h"
#include "services/apigw/rest/flow.h"
#include "services/apigw/rest/respond.h"
#include "services/apigw/rest/route.h"

namespace gantry::apigw {

struct RestConfig {
  std::string server_address;  // what /api tells clients, IP:PORT
  /// Must hold for /readyz and /healthz, beside the projections; by name.
  std::vector<std::pair<std::string, std::function<Status()>>> checks = {};
  /// Runs on another thread what parses large bodies, so that nobody waits for it; false: not now. Without it they are
  /// parsed where they come.
  std::function<bool(std::function<void()> work)> offload = {};
};

class Rest {
 public:
  /// `bus` is for logs and exec; all outlive the Rest.
  Rest(Loop& loop, Api& api, bus::Bus& bus, RestConfig config);
  ~Rest();

  void handle(http::Request request, std::shared_ptr<http::Responder> responder);
  const Frames::Counters& frames() const { return frames_.counters(); }
  const FlowControl& flow() const { return flow_; }

 private:
  struct Exchange;
  void identified(std::shared_ptr<Exchange> exchange);
  void resource(std::shared_ptr<Exchange> exchange);
  void watch(Exchange& exchange);
  void serve(const std::shared_ptr<Exchange>& exchange);
  void document(Exchange& exchange);
  void health(Exchange& exchange);
  bool parse_apart(const std::shared_ptr<Exchange>& exchange);

  Loop& loop_;
  Api& api_;
  bus::Bus& bus_;
  RestConfig config_;
  Frames frames_;
  FlowControl flow_;
  Turns turns_;
  Alive alive_;
};

/// One request on its way.
struct Rest::Exchange {
  http::Request request;
  std::shared_ptr<http::Responder> responder;
  Identity identity;
  Route route;
  Accepted accepted;
  FlowControl::Seat seat;
  Timer deadline;
  bool answered = false;

  void fail(const Error& error) const;
  /// JSON that is no object.
  void send(int status, std::string body) const;
};

// Each takes over the exchange and keeps itself alive until its end.
void start_watch(Loop& loop, Api& api, Frames& frames, const http::Request& request, const Route& route,
                 const Identity& identity, const Shape& shape, FlowControl::Seat seat,
                 std::shared_ptr<http::Responder> responder);
void start_logs(Loop& loop, Api& api, bus::Bus& bus, http::Request request, const Route& route,
                const Identity& identity, std::shared_ptr<http::Responder> responder);

}  // namespace gantry::apigw

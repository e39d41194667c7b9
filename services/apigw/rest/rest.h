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
#include "services/apigw/core/api.h"
#include "services/apigw/rest/body.h"
#include "services/apigw/rest/route.h"

namespace gantry::apigw {

struct RestConfig {
  std::string server_address;  // what /api tells clients, IP:PORT
};

class Rest {
 public:
  /// `bus` is for logs and exec; all outlive the Rest.
  Rest(Loop& loop, Api& api, bus::Bus& bus, RestConfig config);
  ~Rest();

  void handle(http::Request request, std::shared_ptr<http::Responder> responder);

 private:
  struct Exchange;
  void resource(std::shared_ptr<Exchange> exchange);
  void document(Exchange& exchange);
  void health(Exchange& exchange);

  Loop& loop_;
  Api& api_;
  bus::Bus& bus_;
  RestConfig config_;
};

/// One request on its way.
struct Rest::Exchange {
  http::Request request;
  std::shared_ptr<http::Responder> responder;
  Identity identity;
  Route route;
  Accepted accepted;
  RowObject rows = RowObject::kMetadata;

  void fail(const Error& error) const;
  void send(int status, std::string body, const std::vector<std::string>& warnings = {}) const;
};

// Each takes over the exchange and keeps itself alive until its end.
void start_watch(Loop& loop, Api& api, const http::Request& request, const Route& route, const Identity& identity,
                 const Accepted& accepted, RowObject rows, std::shared_ptr<http::Responder> responder);
void start_logs(Loop& loop, Api& api, bus::Bus& bus, http::Request request, const Route& route,
                const Identity& identity, std::shared_ptr<http::Responder> responder);
void start_exec(Loop& loop, Api& api, bus::Bus& bus, http::Request request, const Route& route,
                const Identity& identity, std::shared_ptr<http::Responder> responder);

/// Answers with a Status.
void send_failure(http::Responder& responder, const Error& error);

}  // namespace gantry::apigw

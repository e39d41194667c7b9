#include "services/apigw/rest/rest.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <unordered_map>

#include "libs/http/gzip.h"
#include "services/apigw/render/render.h"
#include "services/apigw/rest/body.h"
#include "services/apigw/rest/credentials.h"
#include "services/apigw/rest/discovery.h"
#include "services/apigw/rest/openapi.h"
#include "services/apigw/streams/streams.h"

namespace gantry::apigw {
namespace {

constexpr size_t kWorthGzip = 16 * 1024;

/// A document that stays where it is, a piece at a time as the client takes it.
class DocumentSender : public std::enable_shared_from_this<DocumentSender> {
 public:
  DocumentSender(std::shared_ptr<http::Responder> responder, std::string_view document)
      : responder_(std::move(responder)), left_(document) {}

  void next() {
    constexpr size_t kPiece = 64 * 1024;
    while (!left_.empty() && responder_->buffered() <= http::kLowWater) {
      if (responder_->closed()) return;
      responder_->write(left_.substr(0, kPiece));
      left_.remove_prefix(std::min(kPiece, left_.size()));
    }
    if (left_.empty()) return responder_->end();
    responder_->on_drained([self = shared_from_this()] { self->next(); });
  }

 private:
  std::shared_ptr<http::Responder> responder_;
  std::string_view left_;
};

/// Compressed once: the document stays as it is.
std::string_view compressed(const OpenApiDocument& document) {
  static auto* all = new std::unordered_map<const OpenApiDocument*, std::string>();
  auto [it, fresh] = all->try_emplace(&document);
  if (fresh) http::Gzip().add(document.body, true, it->second);
  return it->second;
}

/// A client that has it already hears so.
void send_openapi(const http::Request& request, const OpenApiDocument& document,
                  const std::shared_ptr<http::Responder>& responder) {
  const bool known =
      std::string_view(request.headers.get("If-None-Match")).find(document.etag) != std::string_view::npos;
  const bool by_hash = request.query.has("hash");  // the address changes with the content
  http::Headers headers{{"Content-Type", document.content_type},
                        {"Etag", document.etag},
                        {"Vary", "Accept, Accept-Encoding"},
                        {"Cache-Control", by_hash ? "public, immutable" : "no-cache, private"}};
  if (known) return responder->send(304, std::move(headers), "");
  const bool gzip = document.body.size() > kWorthGzip && http::accepts_gzip(request.headers);
  if (gzip) headers.add("Content-Encoding", "gzip");
  responder->start(200, std::move(headers));
  std::make_shared<DocumentSender>(responder, gzip ? compressed(document) : document.body)->next();
}

/// How long the client is willing to wait, as `timeout=30s`; no longer than the server is.
Result<Duration> time_limit(const http::Query& query) {
  constexpr Duration kMost = std::chrono::seconds(60);
  const std::string text(query.get("timeout"));
  if (text.empty()) return kMost;
  char* unit = nullptr;
  const double value = std::strtod(text.c_str(), &unit);
  const std::string_view name(unit);
  const double seconds = name == "s" ? 1 : name == "ms" ? 0.001 : name == "m" ? 60 : name == "h" ? 3600 : 0;
  const bool good = unit != text.c_str() && seconds != 0 && std::isfinite(value) && value >= 0;
  if (!good) return Error{Code::kBadRequest, "invalid timeout specified in the request URL - time: invalid duration"};
  const double wanted = value * seconds * 1e6;
  if (wanted == 0) return kMost;
  return wanted < static_cast<double>(kMost.count()) ? Duration(static_cast<int64_t>(wanted)) : kMost;
}

/// What a request costs, in seats: everything at once costs more than one object or a page.
size_t width_of(const Route& route, const http::Query& query) {
  const bool all = (route.verb == "list" || route.verb == "watch" || route.verb == "deletecollection") &&
                   query.get("limit").empty() && route.name.empty();
  return all ? 4 : 1;
}

}  // namespace

void Rest::Exchange::fail(const Error& error) const { send_failure(*responder, error, accepted.shape); }

void Rest::Exchange::send(int status, std::string body) const {
  responder->send(status, {{"Content-Type", "application/json"}, {"Cache-Control", "no-cache, private"}},
                  std::move(body));
}

Rest::Rest(Loop& loop, Api& api, bus::Bus& bus, RestConfig config)
    : loop_(loop), api_(api), bus_(bus), config_(std::move(config)), flow_(loop), turns_(loop) {}
Rest::~Rest() = default;

void Rest::handle(http::Request request, std::shared_ptr<http::Responder> responder) {
  auto exchange = std::make_shared<Exchange>();
  exchange->request = std::move(request);
  exchange->responder = std::move(responder);
  exchange->route = find_route(exchange->request);
  if (exchange->route.target == Route::Target::kHealth) return health(*exchange);
  auto credentials = credentials_of(exchange->request);
  if (!credentials.ok()) return exchange->fail(credentials.error());
  api_.authenticate(std::move(*credentials), [this, exchange](Result<Identity> identity) {
    if (!identity.ok()) return exchange->fail(identity.error());
    exchange->identity = std::move(*identity);
    identified(exchange);
  });
}

void Rest::identified(std::shared_ptr<Exchange> exchange) {
  if (exchange->route.target == Route::Target::kResource) return resource(std::move(exchange));
  document(*exchange);
}

void Rest::health(Exchange& exchange) {
  const auto parts = *http::path_segments(exchange.route.rest);
  const auto excluded = exchange.request.query.all("exclude");
  std::vector<std::pair<std::string, std::function<Status()>>> checks{{"ping", [] { return Status(Done{}); }}};
  if (parts[0] != "livez") {
    checks.insert(checks.end(), config_.checks.begin(), config_.checks.end());
    checks.emplace_back("projections", [this]() -> Status {
      if (api_.ready()) return Done{};
      return Error{Code::kUnavailable, "not loaded yet"};
    });
  }
  bool ok = true, known = parts.size() == 1;
  std::string told;
  for (const auto& [name, check] : checks) {
    if (parts.size() > 1 && name != parts[1]) continue;
    known = true;
    const bool left_out = std::find(excluded.begin(), excluded.end(), name) != excluded.end();
    const Status status = left_out ? Status(Done{}) : check();
    ok = ok && status.ok();
    told += status.ok() ? fmt::format("[+]{} {}\n", name, left_out ? "excluded: ok" : "ok")
                        : fmt::format("[-]{} failed: {}\n", name, status.error().message);
  }
  if (!known || parts.size() > 2)
    return exchange.fail({Code::kNotFound, "the server could not find the requested resource"});
  told += fmt::format("{} check {}\n", parts[0], ok ? "passed" : "failed");
  const bool brief = ok && !exchange.request.query.has("verbose");
  exchange.responder->send(ok ? 200 : 503,
                           {{"Content-Type", "text/plain; charset=utf-8"}, {"X-Content-Type-Options", "nosniff"}},
                           brief ? "ok" : std::move(told));
}

void Rest::document(Exchange& exchange) {
  const auto& route = exchange.route;
  Attributes attributes;
  attributes.verb = route.verb;
  attributes.path = exchange.request.path;
  auto allowed = api_.authorize(exchange.identity, attributes);
  if (!allowed.ok()) return exchange.fail(allowed.error());
  if (route.target != Route::Target::kNone && exchange.request.method != "GET" && exchange.request.method != "HEAD") {
    return exchange.fail({Code::kMethodNotAllowed, "the server does not allow this method on the requested resource"});
  }
  auto accepted = parse_accept(exchange.request.headers.get("Accept"));
  switch (route.target) {
    case Route::Target::kRoot: {
      // A client that asks for nothing but an older aggregated form gets the plain one, and falls back.
      bool aggregated = accepted.ok() && accepted->aggregated_discovery;
      exchange.responder->send(
          200, {{"Content-Type", aggregated ? kAggregatedContentType : "application/json"}, {"Vary", "Accept"}},
          root_document(route.core, aggregated, config_.server_address));
      return;
    }
    case Route::Target::kGroup:
      return exchange.send(200, group_document(route.group));
    case Route::Target::kResources:
      return exchange.send(200, resources_document(route.group, route.version));
    case Route::Target::kVersion:
      return exchange.send(200, version_document());
    case Route::Target::kOpenApi:
      if (const auto* document = openapi_document(exchange.request.path, exchange.request.headers.get("Accept"))) {
        return send_openapi(exchange.request, *document, exchange.responder);
      }
      break;
    default:
      break;
  }
  // How others check ServiceAccount tokens.
  if (exchange.request.path == "/openid/v1/jwks")
    return exchange.responder->send(200, {{"Content-Type", "application/jwk-set+json"}}, api_.tokens().key_set());
  if (exchange.request.path == "/.well-known/openid-configuration")
    return exchange.send(200, api_.tokens().discovery_document());
  if (exchange.request.path == "/")
    return exchange.send(
        200,
        R"({"paths":["/api","/api/v1","/apis","/healthz","/livez","/openapi/v2","/openapi/v3","/readyz","/version"]})");
  Error error{Code::kNotFound, "the server could not find the requested resource"};
  exchange.fail(error);
}

void Rest::resource(std::shared_ptr<Exchange> exchange) {
  const auto& route = exchange->route;
  const auto& request = exchange->request;
  if (route.subresource == "log") {
    if (request.method != "GET")
      return exchange->fail(
          {Code::kMethodNotAllowed, "the server does not allow this method on the requested resource"});
    return start_logs(loop_, api_, bus_, std::move(exchange->request), exchange->route, exchange->identity,
                      exchange->responder);
  }
  if (is_stream(route.subresource)) {
    StreamRequest stream;
    stream.ns = route.ns;
    stream.name = route.name;
    stream.subresource = route.subresource;
    stream.resource = route.kind->resource;
    stream.rest = route.rest;
    stream.identity = exchange->identity;
    stream.responder = exchange->responder;
    stream.request = std::move(exchange->request);
    return start_stream({loop_, api_, bus_}, std::move(stream));
  }
  const bool watch = route.verb == "watch";
  auto accepted = accepted_by(request, watch                                     ? AcceptUse::kWatch
                                       : !route.kind->type->wire.entries.empty() ? AcceptUse::kAnswer
                                                                                 : AcceptUse::kAnswerWithoutProtobuf);
  if (!accepted.ok()) return exchange->fail(accepted.error());
  exchange->accepted = *accepted;
  const auto limit = time_limit(request.query);
  if (!limit.ok()) return exchange->fail(limit.error());
  if (!watch) {
    exchange->deadline = loop_.after(*limit, [weak = std::weak_ptr(exchange)] {
      const auto late = weak.lock();
      if (!late || std::exchange(late->answered, true)) return;
      late->fail({Code::kTimeout, "request did not complete within the allotted timeout"});
      late->seat.reset();
    });
  }
  FlowControl::Ticket ticket;
  ticket.level = FlowControl::level_of(exchange->identity);
  ticket.flow = exchange->identity.user + "/" + route.ns;
  ticket.width = width_of(route, request.query);
  ticket.begin = [this, exchange](FlowControl::Seat seat) {
    if (exchange->answered || exchange->responder->closed()) return;
    exchange->seat = std::move(seat);
    exchange->route.verb == "watch" ? this->watch(*exchange) : serve(exchange);
  };
  ticket.refuse = [exchange](const Error& error) {
    if (!std::exchange(exchange->answered, true)) exchange->fail(error);
  };
  flow_.enter(std::move(ticket));
}

// It holds a seat only while it tells what there is.
void Rest::watch(Exchange& exchange) {
  start_watch(loop_, api_, frames_, exchange.request, exchange.route, exchange.identity, exchange.accepted.shape,
              std::move(exchange.seat), exchange.responder);
}

// Large YAML becomes JSON on another thread; then the request goes on. False: there is nothing to do apart.
bool Rest::parse_apart(const std::shared_ptr<Exchange>& exchange) {
  constexpr size_t kLarge = 128 * 1024;
  auto& request = exchange->request;
  if (!config_.offload || request.body.size() < kLarge || !is_yaml(request)) return false;
  auto then = alive_.guard([this, exchange](Result<std::string> json) {
    if (exchange->answered || exchange->responder->closed()) return exchange->seat.reset();
    if (auto replaced = replace_yaml(exchange->request, std::move(json)); !replaced.ok()) {
      exchange->seat.reset();
      exchange->answered = true;
      return exchange->fail(replaced.error());
    }
    serve(exchange);
  });
  auto yaml = std::make_shared<std::string>(std::move(request.body));
  // What answers goes along with the answer: the exchange must not end on the other thread.
  const bool begun = config_.offload([&loop = loop_, yaml, then = std::move(then)]() mutable {
    loop.post([then = std::move(then), json = yaml_to_json(*yaml)]() mutable { then(std::move(json)); });
  });
  if (!begun) request.body = std::move(*yaml);
  return begun;
}

void Rest::serve(const std::shared_ptr<Exchange>& exchange) {
  if (parse_apart(exchange)) return;
  auto command = to_command(exchange->route, exchange->request);
  if (!command.ok()) return exchange->fail(command.error());
  // A delete that has only begun.
  const bool waits = command->verb == bus::Verb::Delete && command->propagation == "Foreground";
  api_.handle(exchange->identity, std::move(*command), [this, exchange, waits](Result<Answer> answer) {
    exchange->seat.reset();
    if (std::exchange(exchange->answered, true)) return;
    if (!answer.ok()) return exchange->fail(answer.error());
    const ResponseStyle style{exchange->accepted.shape, http::accepts_gzip(exchange->request.headers),
                              waits ? 202 : 200};
    send_answer(loop_, turns_, exchange->responder, style, *exchange->route.kind, std::move(*answer));
  });
}

}  // namespace gantry::apigw

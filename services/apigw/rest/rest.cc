#include "services/apigw/rest/rest.h"

#include <fmt/format.h>

#include "libs/model/json.h"
#include "services/apigw/render/render.h"
#include "services/apigw/rest/discovery.h"

namespace gantry::apigw {
namespace {

/// A warning header as RFC 7234 has it; quotes and backslashes escaped, control characters dropped.
std::string warning_header(const std::string& text) {
  std::string out = "299 - \"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (static_cast<unsigned char>(c) >= 0x20) out += c;
  }
  return out + "\"";
}

Result<RowObject> parse_include_object(const http::Query& query) {
  auto value = query.get("includeObject");
  if (value.empty() || value == "Metadata") return RowObject::kMetadata;
  if (value == "None") return RowObject::kNone;
  if (value == "Object") return RowObject::kObject;
  return Error{Code::kBadRequest, fmt::format("unrecognized includeObject value: {}", value)};
}

/// Kinds whose delete answers with the object as it was; the others with a Status.
bool answers_with_object(const model::Kind& kind) {
  static constexpr std::string_view kKinds[] = {"pods",
                                                "services",
                                                "podtemplates",
                                                "resourcequotas",
                                                "persistentvolumes",
                                                "persistentvolumeclaims",
                                                "serviceaccounts",
                                                "storageclasses",
                                                "volumeattachments",
                                                "csinodes",
                                                "csidrivers"};
  return std::find(std::begin(kKinds), std::end(kKinds), kind.resource) != std::end(kKinds);
}

Result<Identity> identify(const http::Request& request) {
  if (request.peer) return identity_of_user(request.peer->common_name, request.peer->organizations);
  if (request.headers.has("Authorization")) return Error{Code::kUnauthorized, "Unauthorized"};
  return anonymous();
}

}  // namespace

void send_failure(http::Responder& responder, const Error& error) {
  http::Headers headers{{"Content-Type", "application/json"}};
  if (error.code == Code::kTooManyRequests || error.code == Code::kUnavailable) {
    headers.add("Retry-After", std::to_string(std::max(1U, error.retry_after_seconds)));
  }
  responder.send(http_status(error.code), std::move(headers), status_json(error));
}

void Rest::Exchange::fail(const Error& error) const { send_failure(*responder, error); }

void Rest::Exchange::send(int status, std::string body, const std::vector<std::string>& warnings) const {
  http::Headers headers{{"Content-Type", "application/json"}, {"Cache-Control", "no-cache, private"}};
  for (const auto& warning : warnings) headers.add("Warning", warning_header(warning));
  responder->send(status, std::move(headers), std::move(body));
}

Rest::Rest(Loop& loop, Api& api, bus::Bus& bus, RestConfig config)
    : loop_(loop), api_(api), bus_(bus), config_(std::move(config)) {}
Rest::~Rest() = default;

void Rest::handle(http::Request request, std::shared_ptr<http::Responder> responder) {
  auto exchange = std::make_shared<Exchange>();
  exchange->request = std::move(request);
  exchange->responder = std::move(responder);
  auto identity = identify(exchange->request);
  if (!identity.ok()) return exchange->fail(identity.error());
  exchange->identity = std::move(*identity);
  exchange->route = find_route(exchange->request);
  if (exchange->route.target == Route::Target::kHealth) return health(*exchange);
  if (exchange->route.target == Route::Target::kResource) return resource(std::move(exchange));
  document(*exchange);
}

void Rest::health(Exchange& exchange) {
  bool ready = api_.ready();
  bool ask_ready = exchange.route.rest != "/livez";
  bool ok = ready || !ask_ready;
  std::string body = ok ? "ok" : "[-]projections failed: not loaded yet\nreadyz check failed\n";
  if (ok && exchange.request.query.has("verbose")) {
    body = fmt::format("[+]ping ok\n[+]projections ok\n{} check passed\n", exchange.route.rest.substr(1));
  }
  exchange.responder->send(
      ok ? 200 : 503, {{"Content-Type", "text/plain; charset=utf-8"}, {"X-Content-Type-Options", "nosniff"}}, body);
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
      if (auto body = openapi_document(exchange.request.path)) return exchange.send(200, *body);
      break;
    default:
      break;
  }
  if (exchange.request.path == "/")
    return exchange.send(
        200, R"({"paths":["/api","/api/v1","/apis","/healthz","/livez","/openapi/v3","/readyz","/version"]})");
  Error error{Code::kNotFound, "the server could not find the requested resource"};
  exchange.fail(error);
}

void Rest::resource(std::shared_ptr<Exchange> exchange) {
  const auto& route = exchange->route;
  const auto& request = exchange->request;
  auto rows = parse_include_object(request.query);
  if (!rows.ok()) return exchange->fail(rows.error());
  exchange->rows = *rows;
  if (route.subresource == "log") {
    if (request.method != "GET")
      return exchange->fail(
          {Code::kMethodNotAllowed, "the server does not allow this method on the requested resource"});
    return start_logs(loop_, api_, bus_, std::move(exchange->request), exchange->route, exchange->identity,
                      exchange->responder);
  }
  if (route.subresource == "exec") {
    return start_exec(loop_, api_, bus_, std::move(exchange->request), exchange->route, exchange->identity,
                      exchange->responder);
  }
  auto accepted = parse_accept(request.headers.get("Accept"));
  if (!accepted.ok()) {
    // Typed clients may ask for protobuf alone; JSON is better than nothing only where they also accept it.
    return exchange->fail(accepted.error());
  }
  exchange->accepted = *accepted;
  if (route.verb == "watch") {
    return start_watch(loop_, api_, request, route, exchange->identity, *accepted, *rows, exchange->responder);
  }
  auto command = to_command(route, request);
  if (!command.ok()) return exchange->fail(command.error());
  // A delete that has only begun.
  const bool waits = command->verb == bus::Verb::Delete && command->propagation == "Foreground";
  api_.handle(exchange->identity, std::move(*command), [this, exchange, waits](Result<Answer> result) {
    if (!result.ok()) return exchange->fail(result.error());
    const auto& answer = *result;
    auto form = exchange->accepted.form;
    switch (answer.outcome) {
      case Answer::Outcome::kList:
        exchange->send(
            200,
            list_json(*exchange->route.kind, answer.items, {answer.revision, answer.continue_token, answer.remaining},
                      form, exchange->rows, loop_.wall()),
            answer.warnings);
        return;
      case Answer::Outcome::kObject:
      case Answer::Outcome::kCreated:
        exchange->send(answer.outcome == Answer::Outcome::kCreated ? 201
                       : waits                                     ? 202
                                                                   : 200,
                       object_json(answer.object, form, exchange->rows, loop_.wall()), answer.warnings);
        return;
      case Answer::Outcome::kDeleted: {
        bool whole = answer.object && answers_with_object(answer.object.kind());
        exchange->send(
            200, whole ? object_json(answer.object, form, exchange->rows, loop_.wall()) : success_json(&answer.object),
            answer.warnings);
        return;
      }
      default:
        exchange->send(201, success_json(), answer.warnings);
    }
  });
}

}  // namespace gantry::apigw

// gantry-apigw: the Kubernetes API over HTTPS, commands on NATS, the relay; the only writer of Redis.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <fstream>

#include "libs/base/background.h"
#include "libs/bus/command.h"
#include "libs/http/server.h"
#include "libs/service/service.h"
#include "libs/state/redis_store.h"
#include "libs/usage/usage_board.h"
#include "services/apigw/commands/commands.h"
#include "services/apigw/commands/csi_relay.h"
#include "services/apigw/commands/history.h"
#include "services/apigw/core/api.h"
#include "services/apigw/relay/relay.h"
#include "services/apigw/render/render.h"
#include "services/apigw/rest/rest.h"
#include "services/apigw/sessions/client_sessions.h"

namespace gantry::apigw {
namespace {

constexpr size_t kMaxCommands = 50'000;  // from the bus, that wait for their turn or their commit

struct Options {
  state::RedisOptions redis{.address = "127.0.0.1:6379"};
  std::string redis_password_file;
  std::vector<std::string> listen{"127.0.0.1:6443"};
  http::ServerOptions http;  // of each
  ApiConfig api;
  std::string node_port_range = "30000-32767";
  std::string signing_key_file, root_ca_file;
  std::vector<std::string> key_files;
  uint64_t keep_log = RelayConfig().keep;
};

void add_flags(CLI::App& flags, Options& o) {
  flags.add_option("--redis", o.redis.address, "Redis: unix:/path or host:port")->capture_default_str();
  flags.add_option("--redis-user", o.redis.user, "ACL user");
  flags.add_option("--redis-password-file", o.redis_password_file, "File with that user's password");
  flags
      .add_option("--redis-wait-replicas", o.redis.wait_replicas,
                  "Replicas that must have a commit before it is answered")
      ->capture_default_str();
  flags.add_option("--listen", o.listen, "HTTPS: host:port; may be repeated")->capture_default_str();
  flags.add_option("--tls-cert", o.http.tls_cert_file, "PEM chain of the server; without it plain HTTP");
  flags.add_option("--tls-key", o.http.tls_key_file, "PEM key of the server");
  flags.add_option("--client-ca", o.http.client_ca_file, "PEM of the authority that signs client certificates");
  flags.add_option("--service-cidr", o.api.service_cidr, "Cluster IPs of Services")->capture_default_str();
  flags.add_option("--node-port-range", o.node_port_range, "Node ports of Services: first-last")->capture_default_str();
  flags.add_option("--advertise-address", o.api.advertise_address,
                   "IP:PORT at which pods reach this gateway: endpoint of the kubernetes Service");
  flags.add_option("--service-account-signing-key-file", o.signing_key_file,
                   "PEM key (RSA or P-256) that signs ServiceAccount tokens, the same at every gateway; without it the "
                   "tokens of this one are good here only, until it ends");
  flags.add_option("--service-account-key-file", o.key_files,
                   "PEM keys or certificates whose tokens are accepted too; may be repeated");
  flags.add_option("--service-account-issuer", o.api.tokens.issuer, "Issuer of the tokens")->capture_default_str();
  flags.add_option("--api-audiences", o.api.tokens.audiences, "Audiences that this API answers to; the issuer if none")
      ->delimiter(',');
  flags.add_option("--service-account-max-token-expiration-seconds", o.api.tokens.max_seconds,
                   "Longest life of a token that is asked for; 0: no limit");
  flags.add_flag("--anonymous-auth,!--no-anonymous-auth", o.api.anonymous,
                 "Requests without credentials are system:anonymous; else they are refused");
  flags.add_option("--root-ca-file", o.root_ca_file,
                   "PEM of the authority that pods check this API's certificate with; --client-ca if not given");
  flags.add_option("--keep-log", o.keep_log, "Entries of each change log that stay for replays")->capture_default_str();
}

Result<std::string> read_text(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  if (in.is_open() && !text.empty()) return text;
  return Error{Code::kInvalid, fmt::format("{}: cannot be read", file)};
}

Status load_keys(Options& o) {
  std::vector<std::string> files = o.key_files;
  if (!o.signing_key_file.empty()) files.insert(files.begin(), o.signing_key_file);
  for (const auto& file : files) {
    auto pem = read_text(file);
    if (!pem.ok()) return pem.error();
    auto key = TokenKey::from_pem(*pem);
    if (!key.ok()) return Error{Code::kInvalid, fmt::format("{}: {}", file, key.error().message)};
    o.api.tokens.keys.push_back(std::move(*key));
  }
  LOG_IF(WARNING, files.empty()) << "no --service-account-signing-key-file: tokens end with this process";
  const std::string& ca = o.root_ca_file.empty() ? o.http.client_ca_file : o.root_ca_file;
  if (ca.empty()) return Done{};
  auto pem = read_text(ca);
  if (!pem.ok()) return pem.error();
  o.api.root_ca_pem = std::move(*pem);
  return Done{};
}

Status complete(Options& o) {
  const size_t dash = o.node_port_range.find('-');
  const auto number = [](std::string_view text, uint16_t& out) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
    return error == std::errc() && end == text.data() + text.size() && out > 0;
  };
  if (dash == std::string::npos || !number(std::string_view(o.node_port_range).substr(0, dash), o.api.node_port_min) ||
      !number(std::string_view(o.node_port_range).substr(dash + 1), o.api.node_port_max) ||
      o.api.node_port_min > o.api.node_port_max) {
    return Error{Code::kInvalid, fmt::format("--node-port-range {}: want first-last", o.node_port_range)};
  }
  if (auto loaded = load_keys(o); !loaded.ok()) return loaded;
  if (o.redis_password_file.empty()) return Done{};
  std::ifstream file(o.redis_password_file);
  if (!std::getline(file, o.redis.password)) {
    return Error{Code::kInvalid, fmt::format("--redis-password-file {}: cannot be read", o.redis_password_file)};
  }
  return Done{};
}

Error of_http(int status, std::string_view message) {
  switch (status) {
    case 413:
      return {Code::kTooLarge, std::string(message)};
    case 500:
      return {Code::kInternal, std::string(message)};
    case 503:
      return {Code::kUnavailable, std::string(message)};
    default:
      return {Code::kBadRequest, std::string(message)};
  }
}

ApiConfig with_usage(ApiConfig config, const usage::UsageBoard& usage) {
  config.usage = &usage;
  return config;
}

/// All that runs in the process, in the order in which it depends on one another.
struct Gateway {
  Gateway(service::Service& service, const Options& o)
      : store(service.loop(), o.redis),
        usage(service.loop(), service.bus()),
        api(make_api(service.loop(), store, with_usage(o.api, usage))),
        rest(service.loop(), *api, service.bus(), rest_config(o)),
        relay(service.loop(), store, service.bus(), RelayConfig{.holder = service.instance(), .keep = o.keep_log}),
        commands(bus::make_command_server(service.loop(), service.bus(),
                                          with_history(service.loop(), service.bus(), *api, RelayConfig().stream,
                                                       with_csi(service.bus(), command_handler(service.loop(), *api))),
                                          kMaxCommands)),
        sessions(service.loop(), *api, service.bus()) {
    for (const auto& listen : o.listen) {
      auto options = o.http;
      options.listen = listen;
      servers.push_back(std::make_unique<http::Server>(
          service.loop(), options, [this](http::Request request, std::shared_ptr<http::Responder> responder) {
            rest.handle(std::move(request), std::move(responder));
          }));
    }
  }

  RestConfig rest_config(const Options& o) {
    RestConfig config{.server_address = o.api.advertise_address};
    config.checks.emplace_back("redis", [this] { return redis_ready(); });
    config.offload = [this](std::function<void()> work) { return background.run(std::move(work)); };
    return config;
  }
  Status redis_ready() const {
    if (store.ready()) return Done{};
    return Error{Code::kUnavailable, store.last_error()};
  }

  Status start() {
    for (auto& server : servers) {
      if (auto started = server->start(); !started.ok()) return started;
    }
    return Done{};
  }
  void drain(std::function<void()> done) {
    auto left = std::make_shared<size_t>(servers.size());
    for (auto& server : servers) {
      server->drain([left, done] {
        if (--*left == 0) done();
      });
    }
  }

  state::RedisStore store;
  usage::UsageBoard usage;
  std::unique_ptr<Api> api;
  Background background;
  Rest rest;
  Relay relay;
  std::shared_ptr<bus::CommandServer> commands;
  ClientSessions sessions;
  std::vector<std::unique_ptr<http::Server>> servers;
};

/// Priority and fairness, by level.
void add_flow_metrics(service::Metrics& metrics, const FlowControl& flow) {
  for (size_t i = 0; i < flow.levels().size(); ++i) {
    const service::Labels level{{"level", flow.levels()[i].name}};
    auto& begun = metrics.counter("gantry_flow_requests_total", "Requests that were served.", level);
    auto& waited = metrics.counter("gantry_flow_waited_total", "Requests that had to wait for their turn.", level);
    auto& refused = metrics.counter("gantry_flow_refused_total", "Requests that were told to come again (429).", level);
    auto& seats = metrics.gauge("gantry_flow_seats", "Seats of the level; 0: without limit.", level);
    auto& used = metrics.gauge("gantry_flow_seats_used", "Seats taken.", level);
    auto& waiting = metrics.gauge("gantry_flow_waiting", "Requests that wait.", level);
    auto& flows = metrics.gauge("gantry_flow_flows_waiting", "Flows (user and namespace) that wait.", level);
    auto& longest =
        metrics.gauge("gantry_flow_longest_line", "Requests of the flow that has most of them waiting.", level);
    metrics.collect([&, i] {
      const auto now = flow.levels()[i];
      begun.set(now.counters.begun);
      waited.set(now.counters.waited);
      refused.set(now.counters.refused);
      seats.set(static_cast<double>(now.seats));
      used.set(static_cast<double>(now.used));
      waiting.set(static_cast<double>(now.waiting));
      flows.set(static_cast<double>(now.flows));
      longest.set(static_cast<double>(now.longest));
    });
  }
}

void add_metrics(service::Metrics& metrics, const Gateway& gateway) {
  auto& events = metrics.counter("gantry_relay_events_total", "Events published.");
  auto& rewinds = metrics.counter("gantry_relay_rewinds_total", "Times that events were published again.");
  auto& active = metrics.gauge("gantry_relay_active", "1 if this gateway relays.");
  auto& commands = metrics.counter("gantry_commands_total", "Commands received on the bus.");
  auto& shed = metrics.counter("gantry_commands_shed_total", "Commands refused because too many were in flight.");
  auto& sessions = metrics.gauge("gantry_client_sessions", "Sessions (logs, exec) of clients on the bus.");
  auto& requests = metrics.counter("gantry_http_requests_total", "HTTP requests.");
  auto& connections = metrics.gauge("gantry_http_connections", "Open HTTP connections.");
  auto& commits = metrics.counter("gantry_store_commits_total", "Commits sent to Redis.");
  auto& in_flight = metrics.gauge("gantry_store_in_flight", "Commits without an answer.");
  metrics.collect([&] {
    events.set(gateway.relay.counters().events);
    rewinds.set(gateway.relay.counters().rewinds);
    active.set(gateway.relay.active() ? 1 : 0);
    commands.set(gateway.commands->counters().commands);
    shed.set(gateway.commands->counters().shed);
    sessions.set(static_cast<double>(gateway.sessions.open()));
    uint64_t served = 0;
    size_t open = 0;
    for (const auto& server : gateway.servers) {
      served += server->stats().requests;
      open += server->stats().connections;
    }
    requests.set(served);
    connections.set(static_cast<double>(open));
    const auto store = gateway.store.stats();
    commits.set(store.commits);
    in_flight.set(static_cast<double>(store.in_flight));
  });
}

Status start(service::Service& service, Options& o) {
  if (auto completed = complete(o); !completed.ok()) return completed;
  o.http.render_error = [](int status, std::string_view message) {
    return std::pair(status_json(of_http(status, message)), std::string("application/json"));
  };
  auto gateway = service.keep(std::make_shared<Gateway>(service, o));
  auto* g = gateway.get();
  service.add_ready("redis", [g] { return g->redis_ready(); });
  service.add_ready("projection", [g]() -> Status {
    if (g->api->ready()) return Done{};
    return Error{Code::kUnavailable, "projections are loading"};
  });
  add_metrics(service.metrics(), *g);
  add_flow_metrics(service.metrics(), g->rest.flow());
  service.on_drain("http", [g](auto done) { g->drain(std::move(done)); });
  service.on_drain("commands", [g](auto done) { g->commands->drain(std::move(done)); });
  service.on_drain("relay", [g](auto done) { g->relay.resign(std::move(done)); });
  return g->start();
}

}  // namespace
}  // namespace gantry::apigw

int main(int argc, char** argv) {
  gantry::service::Service service("apigw", "The gateway: the Kubernetes API over HTTPS and commands over NATS");
  gantry::apigw::Options options;
  gantry::apigw::add_flags(service.flags(), options);
  return service.run(argc, argv, [&](gantry::service::Service& s) { return gantry::apigw::start(s, options); });
}

#include "tools/load/hollow.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "libs/model/object.h"
#include "schemas/api/core_v1_generated.h"
#include "tools/load/phases.h"

namespace gantry::load {
namespace {

using Clock = std::chrono::steady_clock;
using nlohmann::json;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// Turns the loop until `done` holds; kTimeout otherwise. Looks after the cluster's processes meanwhile.
Status await(UvLoop& loop, const Cluster* cluster, int timeout_seconds, const std::string& what,
             const std::function<bool()>& done) {
  const auto start = Clock::now();
  Status broken = Done{};
  const auto tick = loop.every(std::chrono::milliseconds(50), [&] {
    if (cluster != nullptr) broken = cluster->check();
  });
  while (!done()) {
    if (!broken) return broken;
    if (seconds_since(start) > timeout_seconds)
      return Error{.code = Code::kTimeout, .message = fmt::format("{}: not within {} s", what, timeout_seconds)};
    loop.run_once();
  }
  return Done{};
}

Status settle(UvLoop& loop, const Cluster& cluster, int seconds) {
  const auto start = Clock::now();
  return await(loop, &cluster, seconds + 5, "settling", [&] { return seconds_since(start) >= seconds; });
}

std::unique_ptr<bus::Subscription> listen(bus::Bus& bus, Phases& phases) {
  return bus.subscribe("gantry.events.>", "", [&phases](const bus::Message& message) {
    flatbuffers::Verifier verifier(reinterpret_cast<const uint8_t*>(message.data.data()), message.data.size());
    if (verifier.VerifyBuffer<bus::Event>(nullptr))
      phases.on_event(*flatbuffers::GetRoot<bus::Event>(message.data.data()));
  });
}

bool is_ready(const model::Object& node) {
  const auto* status = node.as<api::core_v1::Node>()->status();
  if (status == nullptr || status->conditions() == nullptr) return false;
  return std::any_of(status->conditions()->begin(), status->conditions()->end(), [](const auto* c) {
    return model::str(c->type()) == "Ready" && model::str(c->status()) == "True";
  });
}

int ready_nodes(client::Gateway& gateway) {
  const auto* kind = model::Schema::get().by_resource("nodes");
  bus::Command command;
  command.verb = bus::Verb::List;
  command.resource = "nodes";
  command.limit = 500;
  int ready = 0;
  do {
    auto page = gateway.send(command);
    if (!page) return 0;
    for (const auto& item : page->items)
      ready += model::verify(*kind->type, item.object) && is_ready(model::Object(*kind, item.object));
    command.continue_token = page->continue_token;
  } while (!command.continue_token.empty());
  return ready;
}

bus::Command deployment(int pods) {
  const json labels = {{"app", "load"}};
  const json container = {{"name", "main"},
                          {"image", "gantry.local/pause:1"},
                          {"resources", {{"requests", {{"cpu", "10m"}, {"memory", "16Mi"}}}}}};
  bus::Command command;
  command.verb = bus::Verb::Create;
  command.resource = "deployments";
  command.ns = "default";
  command.name = "load";
  command.json = json{{"apiVersion", "apps/v1"},
                      {"kind", "Deployment"},
                      {"metadata", {{"name", "load"}, {"namespace", "default"}}},
                      {"spec",
                       {{"replicas", pods},
                        {"selector", {{"matchLabels", labels}}},
                        {"template", {{"metadata", {{"labels", labels}}}, {"spec", {{"containers", {container}}}}}}}}}
                     .dump();
  return command;
}

void print_usage(const std::vector<std::pair<std::string, std::vector<Usage>>>& stages) {
  fmt::print("\n| process |");
  for (const auto& [stage, usage] : stages) fmt::print(" {}: RSS MB (anonymous) | CPU s |", stage);
  fmt::print("\n|---|");
  for (size_t i = 0; i < stages.size(); ++i) fmt::print("---|---|");
  for (size_t row = 0; row < stages.back().second.size(); ++row) {
    fmt::print("\n| {} |", stages.back().second[row].name);
    for (const auto& [stage, usage] : stages) {
      if (row < usage.size()) {
        fmt::print(" {:.1f} ({:.1f}) | {:.2f} |", usage[row].rss_mb, usage[row].private_mb, usage[row].cpu_seconds);
      } else {
        fmt::print(" - | - |");
      }
    }
  }
  fmt::print("\n| all |");
  for (const auto& [stage, usage] : stages) {
    Usage sum;
    for (const auto& one : usage) {
      sum.rss_mb += one.rss_mb;
      sum.private_mb += one.private_mb;
      sum.cpu_seconds += one.cpu_seconds;
    }
    fmt::print(" {:.1f} ({:.1f}) | {:.2f} |", sum.rss_mb, sum.private_mb, sum.cpu_seconds);
  }
  fmt::print("\n\n");
}

}  // namespace

Status await_gateway(client::Gateway& gateway, const Cluster& cluster) {
  bus::Command command;
  command.verb = bus::Verb::List;
  command.resource = "namespaces";
  for (const auto start = Clock::now();;) {
    auto answered = gateway.send(command);
    if (answered) return Done{};
    if (answered.code() != Code::kUnavailable || seconds_since(start) > 30) return answered.error();
    if (auto done = settle(gateway.loop(), cluster, 1); !done) return done;
  }
}

Status run_hollow(const HollowOptions& options) {
  Cluster cluster(options.cluster);
  std::vector<std::pair<std::string, std::vector<Usage>>> stages;
  if (auto done = cluster.start_control_plane(); !done) return done;
  auto gateway = client::Gateway::connect(cluster.connect_options());
  if (!gateway) return gateway.error();
  auto& loop = (*gateway)->loop();
  Phases phases;
  const auto subscription = listen((*gateway)->bus(), phases);
  auto start = Clock::now();
  if (auto done = await_gateway(**gateway, cluster); !done) return done;
  if (auto done = settle(loop, cluster, options.settle_seconds); !done) return done;
  stages.emplace_back("no nodes", cluster.usage());

  start = Clock::now();
  if (auto done = cluster.start_hollow(options.nodes, options.capacity); !done) return done;
  while (ready_nodes(**gateway) < options.nodes) {
    if (seconds_since(start) > options.timeout_seconds)
      return Error{.code = Code::kTimeout, .message = "the hollow nodes do not become Ready"};
    if (auto done = settle(loop, cluster, 1); !done) return done;
  }
  fmt::print("{} hollow nodes Ready after {:.1f} s\n", options.nodes, seconds_since(start));
  if (auto done = settle(loop, cluster, options.settle_seconds); !done) return done;
  stages.emplace_back(fmt::format("{} nodes", options.nodes), cluster.usage());

  start = Clock::now();
  const uint64_t events_before = phases.events();
  if (auto created = (*gateway)->send(deployment(options.pods)); !created) return created.error();
  const auto target = static_cast<size_t>(options.pods);
  auto all =
      await(loop, &cluster, options.timeout_seconds, "all pods Running", [&] { return phases.running() >= target; });
  const double took = seconds_since(start);
  const uint64_t events = phases.events() - events_before;
  fmt::print(
      "{} of {} pods Running ({} created, {} bound) {:.2f} s after the Deployment was sent: {:.0f} pods/s; {} events, "
      "{:.0f}/s\n\n",
      phases.running(), target, phases.created(), phases.bound(), took, static_cast<double>(phases.running()) / took,
      events, static_cast<double>(events) / took);
  fmt::print("{}", phases.report());
  if (auto done = settle(loop, cluster, options.settle_seconds); !done) return done;
  stages.emplace_back(fmt::format("{} pods", options.pods), cluster.usage());
  print_usage(stages);
  return all;
}

Status run_phases(const client::ConnectOptions& connect, int seconds) {
  auto gateway = client::Gateway::connect(connect);
  if (!gateway) return gateway.error();
  Phases phases;
  const auto subscription = listen((*gateway)->bus(), phases);
  const auto start = Clock::now();
  if (auto done =
          await((*gateway)->loop(), nullptr, seconds + 5, "listening", [&] { return seconds_since(start) >= seconds; });
      !done) {
    return done;
  }
  fmt::print("{} events\n\n{}", phases.events(), phases.report());
  return Done{};
}

}  // namespace gantry::load

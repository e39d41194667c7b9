// gantry-controllers: turns what was declared into objects. One process can run all controllers, or a part of them;
// each is elected on its own.
#include <CLI/CLI.hpp>
#include <fstream>
#include <iterator>

#include "libs/service/service.h"
#include "services/controllers/team.h"

namespace {

using namespace gantry;  // NOLINT(google-build-using-namespace)

void expose(service::Metrics& metrics, const controllers::Team& team) {
  for (const auto& member : team.members()) {
    service::Labels labels = {{"controller", std::string(member->controller->name())}};
    const auto& c = member->runner->counters();
    metrics.gauge("gantry_controller_leading", "1 while this process decides.", labels).set(member->runner->leading());
    metrics.gauge("gantry_controller_queued", "Keys to decide.", labels)
        .set(static_cast<double>(member->runner->queued()));
    metrics.gauge("gantry_controller_in_flight", "Commands without an answer.", labels)
        .set(static_cast<double>(member->runner->in_flight()));
    metrics.counter("gantry_controller_decisions_total", "Decisions taken.", labels).set(c.decisions);
    metrics.counter("gantry_controller_commands_total", "Commands sent.", labels).set(c.commands);
    metrics.counter("gantry_controller_failures_total", "Commands refused.", labels).set(c.failures);
    metrics.counter("gantry_controller_resends_total", "Commands sent again because their outcome was unknown.", labels)
        .set(c.resends);
  }
  metrics.counter("gantry_events_shed_total", "Events that were not recorded.").set(team.recorder().shed());
}

Result<std::string> contents(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  std::string text(std::istreambuf_iterator<char>(in), {});
  if (text.empty()) return Error{Code::kInvalid, file + ": cannot be read"};
  return text;
}

struct SigningFlags {
  std::string certificate, key;
  int64_t hours = 8760;
};

Result<std::shared_ptr<const controllers::Authority>> authority_of(const SigningFlags& flags) {
  if (flags.certificate.empty() && flags.key.empty()) return std::shared_ptr<const controllers::Authority>();
  auto certificate = contents(flags.certificate), key = contents(flags.key);
  if (!certificate.ok()) return certificate.error();
  if (!key.ok()) return key.error();
  return controllers::Authority::load(*certificate, *key, std::chrono::hours(flags.hours));
}

}  // namespace

int main(int argc, char** argv) {
  service::Service service("controllers", "Turns what was declared into objects");
  controllers::TeamConfig config;
  std::string cluster_cidr = "10.244.0.0/16";
  int node_mask = 24;
  std::string load_balancer_range;
  std::string root_ca_file;
  SigningFlags signing;
  double grace = 40;
  int64_t lease_ttl = 15;
  auto& flags = service.flags();
  flags.add_option("--controllers", config.controllers, "Which controllers this process runs (default: all)")
      ->delimiter(',')
      ->check(CLI::IsMember(controllers::Team::names()));
  flags.add_option("--cluster-cidr", cluster_cidr, "The network of all pods")->capture_default_str();
  flags.add_option("--node-cidr-mask-size", node_mask, "The prefix length of each node's part")->capture_default_str();
  flags.add_option(
      "--load-balancer-range", load_balancer_range,
      "The network that Services of type LoadBalancer without a class get their addresses from; it must be "
      "routed to the nodes (default: none, they wait for somebody else)");
  flags.add_option("--node-monitor-grace", grace, "Seconds without a heartbeat until a node is Unknown")
      ->check(CLI::Range(1.0, 3600.0))
      ->capture_default_str();
  flags.add_option(
      "--root-ca-file", root_ca_file,
      "PEM of the authority that pods check the API's certificate with: kube-root-ca.crt of each namespace");
  flags.add_option("--cluster-signing-cert-file", signing.certificate,
                   "PEM of the authority that signs certificates of nodes and users; without it nobody does");
  flags.add_option("--cluster-signing-key-file", signing.key, "Its key in PEM");
  flags.add_option("--cluster-signing-hours", signing.hours, "How long a certificate lasts at most")
      ->check(CLI::Range(1, 24 * 3650))
      ->capture_default_str();
  flags.add_option("--lease-seconds", lease_ttl, "How long a lease lasts without renewal")
      ->check(CLI::Range(3, 300))
      ->capture_default_str();
  return service.run(argc, argv, [&](service::Service& s) -> Status {
    auto network = controllers::PodCidrController::parse(cluster_cidr, node_mask);
    if (!network.ok()) return network.error();
    config.pod_network = *network;
    if (!load_balancer_range.empty()) {
      auto range = controllers::AddressRange::parse(load_balancer_range);
      if (!range.ok()) return range.error();
      config.load_balancer_range = *range;
    }
    config.node_monitor_grace = Duration(static_cast<int64_t>(grace * 1e6));
    config.lease_ttl = std::chrono::seconds(lease_ttl);
    if (!root_ca_file.empty()) {
      auto pem = contents(root_ca_file);
      if (!pem.ok()) return pem.error();
      config.root_ca_pem = std::move(*pem);
    }
    auto authority = authority_of(signing);
    if (!authority.ok()) return authority.error();
    config.authority = std::move(*authority);
    config.instance = s.instance();
    auto team = s.keep(std::make_shared<controllers::Team>(s.loop(), s.bus(), s.commands(), config));
    s.add_ready("caches", [team = team.get()]() -> Status {
      if (team->synced()) return Done{};
      return Error{.code = Code::kUnavailable, .message = "caches have no snapshot yet"};
    });
    s.on_drain("leases", [team = team.get()](auto done) { team->drain(std::move(done)); });
    s.metrics().collect([&s, team = team.get()] { expose(s.metrics(), *team); });
    return Done{};
  });
}

#include "services/netproxy/proxy.h"

#include <glog/logging.h>

#include <fstream>

#include "libs/model/workload.h"

namespace gantry::netproxy {
namespace {

using std::chrono::milliseconds;

constexpr Duration kMinInterval = milliseconds(20), kRetry = milliseconds(1000);

const model::Kind& kind(const char* resource) { return *model::Schema::get().by_resource(resource); }

/// Of this network namespace. A file that is not there names a feature that the kernel does not have or need.
void set_sysctl(const std::string& path, const std::string& value) {
  std::ofstream file("/proc/sys/net/" + path);
  if (!file || !(file << value << std::flush)) LOG(WARNING) << "cannot set net/" << path << " to " << value;
}

}  // namespace

Proxy::Proxy(UvLoop& loop, bus::Bus& bus, bus::Commands& commands, ProxyConfig config)
    : loop_(loop),
      bus_(bus),
      commands_(commands),
      config_(std::move(config)),
      services_(kind("services")),
      slices_(kind("endpointslices")),
      nodes_(kind("nodes")),
      policies_(kind("networkpolicies")),
      ruleset_config_{config_.cluster_cidr},
      nft_(ruleset_config_),
      overlay_(config_.overlay),
      zone_(services_, slices_, config_.cluster_domain) {
  add_service_index(slices_);
  Zone::add_address_index(services_);
  for (auto* cache : {&services_, &slices_, &nodes_, &policies_}) {
    bool service = cache == &services_ || cache == &slices_;
    cache->on_change([this, service](const projection::Change&) {
      services_changed_ = services_changed_ || service;
      schedule();
    });
    cache->on_synced([this] { schedule(); });
  }
  policies_.on_change([this](const projection::Change& change) {
    if (policy_watch_) policy_watch_->policy(change);
  });
}

Status Proxy::start() {
  set_sysctl("ipv4/ip_forward", "1");
  // Pods of one node on one bridge: without it, answers to a ClusterIP go past the translation.
  set_sysctl("bridge/bridge-nf-call-iptables", "1");
  if (!config_.dns_listen.empty()) {
    auto ip = config_.dns_listen.substr(0, config_.dns_listen.find(':'));
    auto address = overlay_.add_local_address(ip);
    if (!address.ok()) return address;
    DnsOptions options{config_.dns_listen, config_.dns_upstream};
    auto server = DnsServer::start(loop_, zone_, options, [this] { return services_.synced() && slices_.synced(); });
    if (!server.ok()) return server.error();
    dns_ = std::move(*server);
  }
  for (auto* cache : {&services_, &slices_, &nodes_, &policies_}) {
    feeds_.push_back(projection::attach(loop_, bus_, commands_, *cache, bus::Chain{cache->kind().resource, "", ""}));
  }
  return Done{};
}

Status Proxy::ready() const {
  if (!synced()) return Error{Code::kUnavailable, "the projections are not loaded"};
  if (!applied_once_ || !problem_.empty())
    return Error{Code::kUnavailable, problem_.empty() ? "nothing applied yet" : problem_};
  return Done{};
}

bool Proxy::synced() const { return services_.synced() && slices_.synced() && nodes_.synced() && policies_.synced(); }

void Proxy::follow_policies() {
  if (policies_.size() == 0) {
    policy_watch_.reset();
  } else if (!policy_watch_) {
    policy_watch_ = std::make_unique<PolicyWatch>(loop_, bus_, commands_, config_.node, [this] { schedule(); });
    policies_.for_each([this](const model::Object& policy) { policy_watch_->policy({{}, policy}); });
  }
}

std::string Proxy::zone() const {
  const model::Object* node = nodes_.find("", config_.node);
  return node == nullptr ? "" : std::string(model::label(node->meta(), "topology.kubernetes.io/zone"));
}

void Proxy::schedule() {
  // Before the first full view there is nothing to say: an empty one would cut every connection that an earlier run
  // made.
  if (!synced() || pending_) return;
  pending_ = loop_.after(kMinInterval, [this] { sync(); });
}

void Proxy::sync() {
  pending_.reset();
  follow_policies();
  // Whole or not at all: the rules of an earlier run stay until there is all that the policies speak of.
  if (policy_watch_ && !policy_watch_->synced() && !applied_once_) return;
  if (auto now = zone(); now != zone_name_) zone_name_ = std::move(now), services_changed_ = true;
  auto frontends = services_changed_ ? collect_frontends(services_, slices_, config_.node, zone_name_) : installed_;
  if (services_changed_) service_rules_ = build_ruleset(frontends, ruleset_config_);
  Ruleset rules = service_rules_;
  if (policy_watch_ && policy_watch_->synced()) policy_watch_->book().add_to(rules);
  auto status = nft_.apply(rules);
  if (status.ok()) {
    services_changed_ = false;
    if (auto purged = purge_stale_udp(installed_, frontends))
      LOG(INFO) << "forgot stale UDP connections count=" << purged;
    installed_ = std::move(frontends);
    status = overlay_.sync(overlay_state(nodes_, config_.node));
  }
  if (status.ok()) {
    ++counters_.applied;
    applied_once_ = true;
    problem_.clear();
    return;
  }
  ++counters_.failed;
  if (problem_ != status.error().message) LOG(ERROR) << "node=" << config_.node << " " << status.error().message;
  problem_ = status.error().message;
  pending_ = loop_.after(kRetry, [this] { sync(); });
}

}  // namespace gantry::netproxy

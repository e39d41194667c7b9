#include "libs/bus/permissions.h"

#include <fmt/format.h>

#include <algorithm>

#include "libs/base/ids.h"
#include "libs/bus/subject.h"

namespace gantry::bus {
namespace {

/// What every identity may do.
Permissions base(std::string_view identity) {
  Permissions p;
  p.publish = {fmt::format("gantry.cmd.{}.*", encode_token(identity)), inbox_prefix(identity) + ".>"};
  p.subscribe = {inbox_prefix(identity) + ".>"};
  return p;
}

void add(std::vector<std::string>& to, std::initializer_list<std::string> patterns) {
  to.insert(to.end(), patterns.begin(), patterns.end());
}

bool any_covers(const std::vector<std::string>& patterns, std::string_view subject) {
  return std::any_of(patterns.begin(), patterns.end(), [&](const auto& p) { return pattern_covers(p, subject); });
}

constexpr std::string_view kNodePrefix = "node-", kNetproxyPrefix = "netproxy-";

}  // namespace

bool Permissions::may_publish(std::string_view subject) const {
  return any_covers(publish, subject) && !any_covers(publish_deny, subject);
}

bool Permissions::may_subscribe(std::string_view pattern) const {
  return any_covers(subscribe, pattern) && !any_covers(subscribe_deny, pattern);
}

bool Permissions::withheld(std::string_view subject) const { return any_covers(subscribe_deny, subject); }

Permissions apigw_permissions() {
  Permissions p;
  p.publish = {"gantry.>", "_INBOX.>", "$JS.API.>", "$JS.ACK.>"};
  p.subscribe = {"gantry.>", "_INBOX.apigw.>"};
  return p;
}

Permissions controllers_permissions() {
  auto p = base("controllers");
  add(p.subscribe, {"gantry.events.>", "gantry.heads.>", "gantry.node.*.up.heartbeat", "gantry.node.*.up.stats",
                    "gantry.metrics.>"});
  // How much waits in a stream, and for a consumer: what workloads may be scaled by.
  add(p.publish, {"$JS.API.STREAM.INFO.*", "$JS.API.CONSUMER.INFO.*.*"});
  return p;
}

Permissions scheduler_permissions() {
  auto p = base("scheduler");
  add(p.subscribe, {"gantry.events.>", "gantry.heads.>"});
  p.subscribe_deny = {"gantry.events.secrets.>"};
  return p;
}

Permissions node_permissions(std::string_view node) {
  auto p = base(fmt::format("{}{}", kNodePrefix, node));
  auto token = encode_token(node);
  add(p.publish, {fmt::format("gantry.node.{}.up.>", token), fmt::format("gantry.session.{}.*.out", token)});
  add(p.subscribe, {fmt::format("gantry.node.{}.down.>", token), fmt::format("gantry.session.{}.*.in", token),
                    fmt::format("gantry.events.*.{}.>", token), fmt::format("gantry.heads.*.node.{}", token)});
  p.respond = true;  // to session requests
  return p;
}

Permissions hollow_permissions() {
  auto p = base("hollow");
  add(p.publish, {"gantry.node.*.up.heartbeat"});
  for (const char* resource : {"pods", "nodes"}) {
    add(p.subscribe, {fmt::format("gantry.events.{}.*.>", resource), fmt::format("gantry.heads.{}.node.*", resource)});
  }
  return p;
}

Permissions netproxy_permissions(std::string_view node) {
  auto p = base(fmt::format("{}{}", kNetproxyPrefix, node));
  for (const char* resource : {"services", "endpointslices", "nodes", "networkpolicies", "pods", "namespaces"}) {
    add(p.subscribe, {fmt::format("gantry.events.{}.>", resource), fmt::format("gantry.heads.{}.>", resource)});
  }
  return p;
}

Permissions operator_permissions(std::string_view identity) {
  auto p = base(identity);
  auto client = fmt::format("gantry.client.{}", encode_token(identity));
  add(p.publish, {client + ".open", client + ".*.in", "gantry.metrics.>"});
  add(p.subscribe, {"gantry.events.>", "gantry.heads.>", "gantry.node.*.up.trace", client + ".*.out"});
  return p;
}

Permissions integrator_permissions(std::string_view identity, std::vector<std::string> subscribe,
                                   std::vector<std::string> publish) {
  auto p = base(identity);
  p.subscribe.insert(p.subscribe.end(), subscribe.begin(), subscribe.end());
  p.publish.insert(p.publish.end(), publish.begin(), publish.end());
  if (!publish.empty()) p.publish_deny = {"gantry.events.>", "gantry.heads.>", "gantry.node.>", "gantry.session.>"};
  return p;
}

bool reserved_identity(std::string_view identity) {
  return identity == "apigw" || identity == "controllers" || identity == "scheduler" || identity == "hollow" ||
         identity.starts_with(kNodePrefix) || identity.starts_with(kNetproxyPrefix);
}

Permissions permissions_for(std::string_view identity) {
  if (identity == "apigw") return apigw_permissions();
  if (identity == "controllers") return controllers_permissions();
  if (identity == "scheduler") return scheduler_permissions();
  if (identity == "hollow") return hollow_permissions();
  if (identity.starts_with(kNodePrefix)) return node_permissions(identity.substr(kNodePrefix.size()));
  if (identity.starts_with(kNetproxyPrefix)) return netproxy_permissions(identity.substr(kNetproxyPrefix.size()));
  return operator_permissions(identity);
}

}  // namespace gantry::bus

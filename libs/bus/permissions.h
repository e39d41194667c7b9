// What each role may say and hear on the bus. The table is in permissions.cc; identity.h writes it into user JWTs and
// nats-server enforces it. Pure functions; any thread.
//
// Everyone: publishes gantry.cmd.<identity>.* (commands) and into its own inbox, subscribes _INBOX.<identity>.>. Nobody
// but apigw may publish events, heads or answers, so that what arrives under those subjects is apigw's word.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace gantry::bus {

struct Permissions {
  std::vector<std::string> publish, subscribe;            // allow lists of subject patterns; nothing else is allowed
  std::vector<std::string> publish_deny, subscribe_deny;  // taken out of them
  bool respond = false;                                   // may publish one answer to each request it received
  bool operator==(const Permissions&) const = default;

  bool may_publish(std::string_view subject) const;
  bool may_subscribe(std::string_view pattern) const;
  /// True if a message on `subject` is withheld from a subscription that is wider than a deny.
  bool withheld(std::string_view subject) const;
};

/// The gateway: everything under gantry.>, the answers to everybody, and JetStream's API for the stream of events.
Permissions apigw_permissions();
/// Reads all events (a Secret's carries metadata only, which garbage collection needs), hears heartbeats and metrics,
/// and asks JetStream how much waits.
Permissions controllers_permissions();
/// Reads all events but those of secrets.
Permissions scheduler_permissions();
/// Identity `node-<node>`: the partition, the sessions and the heartbeats of its own node, nothing of another.
Permissions node_permissions(std::string_view node);
/// Identity `hollow`: all the hollow nodes of one process, for benchmarks. Subjects have no patterns within a token, so
/// it speaks and hears for any node, but neither for sessions nor about what pods refer to.
Permissions hollow_permissions();
/// Identity `netproxy-<node>`: events of services, endpointslices, nodes, and what policies speak of.
Permissions netproxy_permissions(std::string_view node);
/// A person or tool with `gantry`: sends commands as `identity`, reads all events, opens sessions with pods (logs,
/// exec) whose frames nobody but the gateway shares.
Permissions operator_permissions(std::string_view identity);
/// Reads exactly `subscribe`, e.g. gantry.events.*.*.team-a.>, says `publish`, e.g. gantry.metrics.team-a.> (nothing
/// that only services say), and may send commands (what they may do is apigw's to decide).
Permissions integrator_permissions(std::string_view identity, std::vector<std::string> subscribe,
                                   std::vector<std::string> publish = {});

/// Names that only services and nodes may bear: an operator or integrator must not be called so.
bool reserved_identity(std::string_view identity);
/// The permissions of a service's or node's identity by its name (apigw, controllers, scheduler, hollow, node-<n>,
/// netproxy-<n>); of an operator otherwise.
Permissions permissions_for(std::string_view identity);

}  // namespace gantry::bus

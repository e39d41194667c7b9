// One NetworkPolicy as chains of nftables rules, which accept what the policy allows and let the rest pass to their
// end. They speak of pods only by named sets, so that a pod that comes or goes changes elements and no rule. A pure
// function. IPv4.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "libs/model/object.h"
#include "libs/model/selector.h"

namespace gantry::netproxy {

enum class Direction : uint8_t { kIngress, kEgress };

/// The pods that a peer means: of the namespace `ns`, or, when it is empty, of those that `namespaces` selects.
struct PodSelection {
  std::string ns;
  model::LabelSelector namespaces, pods;
};

/// A port that pods declare by name; protocol as nft writes it.
struct NamedPort {
  std::string protocol, name;
};

struct CompiledPolicy {
  std::string ns;
  model::LabelSelector subject;  // pods of `ns`
  std::string ingress, egress;   // the chain to jump to; empty: the policy does not speak of this direction
  std::map<std::string, std::vector<std::string>> chains;
  std::map<std::string, PodSelection> selections;  // set of addresses -> whose
  std::map<std::string, NamedPort> ports;          // set of address . port -> which

  const std::string& chain(Direction direction) const { return direction == Direction::kIngress ? ingress : egress; }
};

/// What apigw would refuse (a selector that does not parse) selects nothing.
CompiledPolicy compile(const model::Object& policy);

}  // namespace gantry::netproxy

// What a Service's endpoints should be, from its pods. Pure functions.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "libs/model/object.h"

namespace gantry::controllers {

struct Port {
  std::string name, protocol, app_protocol;
  std::optional<int32_t> port;
  auto operator<=>(const Port&) const = default;
};

struct Endpoint {
  std::string address, node, zone, hostname;
  std::string pod, pod_uid;
  std::string hint_zone, hint_node;  // whose clients should come here
  bool ready = false, serving = false, terminating = false;
  bool operator==(const Endpoint&) const = default;
};

/// Named target ports may resolve to other numbers on other pods: endpoints with the same numbers go together.
using EndpointGroups = std::map<std::vector<Port>, std::vector<Endpoint>>;

/// The Service's selector; null: somebody else looks after its endpoints.
bool selects(const model::Object& service, const model::Object& pod);
bool has_selector(const model::Object& service);

/// Endpoints by port set, in the order of their pods' names. `zone_of` answers a node's zone, "" when it has none.
EndpointGroups desired_endpoints(const model::Object& service, const std::vector<model::Object>& pods,
                                 const std::function<std::string(std::string_view node)>& zone_of);

}  // namespace gantry::controllers

// Where a DaemonSet's pods belong, and what they are made of. Pure functions.
#pragma once

#include <string>
#include <string_view>

#include "libs/model/object.h"
#include "schemas/api/apps_more_v1_generated.h"

namespace gantry::controllers {

struct Place {
  bool run = false;   // a pod should be made here
  bool stay = false;  // one that is here may stay
};
/// By the template's node name, selector and required affinity, and by the node's taints. A pod of a DaemonSet
/// tolerates what would keep others away from a node in trouble.
Place place_of(const model::Object& set, const model::Object& node);

/// The node that a pod runs on or was made for; "" when it says neither.
std::string node_of(const model::Object& pod);
model::Bytes make_daemon(const model::Object& set, std::string_view node, std::string_view hash);

}  // namespace gantry::controllers

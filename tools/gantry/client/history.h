// What became of objects: their events as JetStream has kept them, read through the gateway.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "libs/model/object.h"
#include "schemas/bus_generated.h"
#include "tools/gantry/client/gateway.h"

namespace gantry::client {

/// One commit to one object.
struct Step {
  const model::Kind* kind = nullptr;
  std::string ns, name, uid, node;
  uint64_t revision = 0;
  WallMicros time = 0;
  bool created = false, deleted = false;
  std::string identity, verb;  // who, and how
  std::string because;  // what it was done for: "<resource>/[<namespace>/]<name>@<revision>", or words; empty: itself
  std::string command_id;
  model::Object object;  // after it; what was, if deleted
};

struct History {
  std::vector<Step> steps;  // by revision; each once
  WallMicros since = 0;     // what was before is not known
};

/// False for what is no change of the object: that it left a node, or that something of its pod's changed.
bool read_step(const bus::Event& event, Step& step);

/// Of one object, or (name empty) of all of the namespace, or (both empty) of the cluster. kForbidden, kUnavailable
/// without JetStream.
Result<History> read_history(Gateway& gateway, const model::Kind& kind, const std::string& ns, const std::string& name);
using ReadHistory =
    std::function<Result<History>(const model::Kind& kind, const std::string& ns, const std::string& name)>;

/// What to say of an object without any event: that it is not there, or that it has not changed for so long.
Error no_history(Gateway& gateway, const model::Kind& kind, const std::string& ns, const std::string& name,
                 WallMicros since);

// Pure functions.

/// "kubernetes-admin", "system:gantry:controllers (deployment)".
std::string who(const Step& step);
/// "spec.replicas: 2 -> 3", one for each field; without what changes with every commit.
std::vector<std::string> what_changed(const nlohmann::json& before, const nlohmann::json& after);
/// `step` in words, beside the one before it (null: not known): "created", "spec.replicas: 2 -> 3; and 4 more".
std::string in_words(const Step* before, const Step& step, size_t most);
/// RFC 3339, or how long ago: 90s, 15m, 1h30m, 2d.
Result<WallMicros> parse_moment(const std::string& text, WallMicros now);
std::string clock(WallMicros time);  // 2026-01-02 03:04:05.678

}  // namespace gantry::client

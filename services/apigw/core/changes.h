// From a change of one object to the operation and the event that commit it.
#pragma once

#include <string>

#include "libs/base/loop.h"
#include "libs/model/object.h"
#include "libs/state/store.h"

namespace gantry::apigw {

class World;

/// Who and what caused a change.
struct Origin {
  std::string user, verb, because, command_id;
  WallMicros time = 0;
};

/// The node whose partition the object is on: a pod's spec.nodeName, a node's own name, else "".
std::string partition(const model::Object& object);

/// Writes `after`; `before` is empty when the object is new.
state::Operation put(const World& world, const model::Object& before, const model::Object& after, const Origin& origin);
state::Operation erase(const World& world, const model::Object& last, const Origin& origin);

/// What of an object may travel in an event: all of it, but of a Secret its metadata without annotations.
model::Bytes announced(const model::Object& object);

}  // namespace gantry::apigw

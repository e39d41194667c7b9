// What pods and claims ask for, as sums of quantities by resource name. Pure.
#pragma once

#include <map>
#include <string>

#include "libs/model/object.h"
#include "libs/model/quantity.h"
#include "schemas/api/core_v1_generated.h"

namespace gantry::apigw {

using Amounts = std::map<std::string, model::Quantity>;
using QuantityMap = flatbuffers::Vector<flatbuffers::Offset<api::meta_v1::StringEntry>>;

/// Entries that are no quantity are left out: validation says so.
Amounts amounts(const QuantityMap* map);
void add(Amounts& to, const Amounts& what);
void raise(Amounts& to, const Amounts& at_least);

struct PodResources {
  Amounts requests, limits;
};
/// The sum over containers, or what the init containers need one after the other if that is more; sidecars run along;
/// with the overhead.
PodResources resources_of(const api::core_v1::PodSpec& spec);

}  // namespace gantry::apigw

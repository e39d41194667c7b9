#include "services/apigw/admission/resources.h"

namespace gantry::apigw {

using model::str;

Amounts amounts(const QuantityMap* map) {
  Amounts out;
  if (map == nullptr) return out;
  for (const auto* entry : *map) {
    const auto value = model::Quantity::parse(str(entry->value()));
    if (value.ok()) out[std::string(str(entry->key()))] = *value;
  }
  return out;
}

void add(Amounts& to, const Amounts& what) {
  for (const auto& [name, value] : what) {
    const auto [there, fresh] = to.try_emplace(name, value);
    if (!fresh) there->second = there->second + value;
  }
}

void raise(Amounts& to, const Amounts& at_least) {
  for (const auto& [name, value] : at_least) {
    const auto [there, fresh] = to.try_emplace(name, value);
    if (!fresh && there->second < value) there->second = value;
  }
}

PodResources resources_of(const api::core_v1::PodSpec& spec) {
  PodResources sum;
  if (spec.containers() != nullptr) {
    for (const auto* container : *spec.containers()) {
      if (container->resources() == nullptr) continue;
      add(sum.requests, amounts(container->resources()->requests()));
      add(sum.limits, amounts(container->resources()->limits()));
    }
  }
  if (spec.init_containers() != nullptr) {
    PodResources sidecars, most;
    for (const auto* container : *spec.init_containers()) {
      PodResources own;
      if (container->resources() != nullptr) {
        own.requests = amounts(container->resources()->requests());
        own.limits = amounts(container->resources()->limits());
      }
      if (str(container->restart_policy()) == "Always") {
        add(sum.requests, own.requests);
        add(sum.limits, own.limits);
        add(sidecars.requests, own.requests);
        add(sidecars.limits, own.limits);
        own = sidecars;
      } else {
        add(own.requests, sidecars.requests);
        add(own.limits, sidecars.limits);
      }
      raise(most.requests, own.requests);
      raise(most.limits, own.limits);
    }
    raise(sum.requests, most.requests);
    raise(sum.limits, most.limits);
  }
  if (const Amounts overhead = amounts(spec.overhead()); !overhead.empty()) {
    add(sum.requests, overhead);
    for (auto& [name, limit] : sum.limits) {
      if (const auto found = overhead.find(name); found != overhead.end()) limit = limit + found->second;
    }
  }
  return sum;
}

}  // namespace gantry::apigw

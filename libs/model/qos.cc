#include "libs/model/qos.h"

#include "libs/model/object.h"
#include "libs/model/quantity.h"

namespace gantry::model {
namespace {

namespace core = api::core_v1;

template <typename Map>
Quantity amount(const Map* map, const char* resource) {
  const auto* text = map == nullptr ? nullptr : lookup(map, resource);
  if (text == nullptr) return {};
  const auto parsed = Quantity::parse(str(text));
  return parsed.ok() ? *parsed : Quantity();
}

struct Seen {
  bool any = false, guaranteed = true;

  void look(const core::ResourceRequirements* r) {
    for (const char* resource : {"cpu", "memory"}) {
      const auto limit = amount(r ? r->limits() : nullptr, resource);
      auto request = amount(r ? r->requests() : nullptr, resource);
      if (request == Quantity()) request = limit;
      any = any || request > Quantity();
      guaranteed = guaranteed && limit > Quantity() && request == limit;
    }
  }
};

}  // namespace

Qos pod_qos(const core::PodSpec& spec) {
  Seen seen;
  const auto* own = spec.resources();
  const auto says = [](const auto* map) { return map != nullptr && map->size() > 0; };
  if (own != nullptr && (says(own->limits()) || says(own->requests()))) {
    seen.look(own);
  } else {
    for (const auto* list : {spec.containers(), spec.init_containers()}) {
      if (list == nullptr) continue;
      for (const auto* container : *list) seen.look(container->resources());
    }
  }
  return !seen.any ? Qos::kBestEffort : seen.guaranteed ? Qos::kGuaranteed : Qos::kBurstable;
}

const char* qos_name(Qos qos) {
  switch (qos) {
    case Qos::kGuaranteed:
      return "Guaranteed";
    case Qos::kBurstable:
      return "Burstable";
    case Qos::kBestEffort:
      break;
  }
  return "BestEffort";
}

}  // namespace gantry::model

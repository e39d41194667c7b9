#include "services/controllers/endpointslice/mirroring.h"

#include "libs/model/workload.h"
#include "schemas/api/core_v1_generated.h"
#include "schemas/api/discovery_v1_generated.h"
#include "services/controllers/endpointslice/slices.h"
#include "services/controllers/framework/commands.h"

namespace gantry::controllers {
namespace {

using model::str;

constexpr size_t kMaxMirrored = 1000;  // of each subset

bool mirrored(const View& view, const std::string& key, const model::Object* endpoints) {
  if (endpoints == nullptr || model::is_deleting(endpoints->meta()) ||
      model::label(endpoints->meta(), "endpointslice.kubernetes.io/skip-mirror") == "true" ||
      !model::annotation(endpoints->meta(), "control-plane.alpha.kubernetes.io/leader").empty())
    return false;
  const model::Object* service = view.find("services", key);
  if (service == nullptr || model::is_deleting(service->meta())) return false;
  const auto* spec = service->as<api::core_v1::Service>()->spec();
  return spec != nullptr && (spec->selector() == nullptr || spec->selector()->size() == 0);
}

/// Those of one address family.
EndpointGroups groups_of(const api::core_v1::Endpoints& endpoints, bool ipv6) {
  EndpointGroups groups;
  if (endpoints.subsets() == nullptr) return groups;
  for (const auto* subset : *endpoints.subsets()) {
    std::vector<Port> ports;
    if (subset->ports() != nullptr) {
      for (const auto* p : *subset->ports()) {
        std::string_view protocol = str(p->protocol());
        ports.push_back({std::string(str(p->name())), protocol.empty() ? "TCP" : std::string(protocol),
                         std::string(str(p->app_protocol())), p->port().value_or(0)});
      }
    }
    auto& group = groups[ports];
    size_t taken = 0;
    auto add = [&](const auto* addresses, bool ready) {
      if (addresses == nullptr) return;
      for (const auto* a : *addresses) {
        if ((str(a->ip()).find(':') != std::string_view::npos) != ipv6 || ++taken > kMaxMirrored) continue;
        Endpoint e;
        e.address = str(a->ip());
        e.node = str(a->node_name());
        e.hostname = str(a->hostname());
        if (a->target_ref() != nullptr && str(a->target_ref()->kind()) == "Pod") {
          e.pod = str(a->target_ref()->name());
          e.pod_uid = str(a->target_ref()->uid());
        }
        e.ready = e.serving = ready;
        group.push_back(std::move(e));
      }
    };
    add(subset->addresses(), true);
    add(subset->not_ready_addresses(), false);
    if (group.empty()) groups.erase(ports);
  }
  return groups;
}

}  // namespace

void EndpointSliceMirroringController::setup(View& view) {
  view.need("services");
  view.need("endpoints");
  view.index("endpointslices", "service", [](const model::Object& o, std::vector<std::string>& values) {
    std::string_view service = model::label(o.meta(), kServiceName);
    if (!service.empty()) values.push_back(make_key(o.ns(), service));
  });
}

void EndpointSliceMirroringController::keys_for(const View&, std::string_view resource,
                                                const projection::Change& change,
                                                std::vector<std::string>& keys) const {
  const model::Object& object = change.after ? change.after : change.before;
  if (resource != "endpointslices") {
    keys.push_back(make_key(object));
  } else if (model::label(object.meta(), kManagedBy) == kMirror) {
    keys.push_back(make_key(object.ns(), model::label(object.meta(), kServiceName)));
  }
}

Decision EndpointSliceMirroringController::decide(const View& view, const std::string& key, WallMicros,
                                                  const Memory&) const {
  Decision decision;
  std::vector<model::Object> slices[2];  // IPv4, IPv6
  view.each_by("endpointslices", "service", key, [&](const model::Object& slice) {
    if (model::label(slice.meta(), kManagedBy) != kMirror || model::is_deleting(slice.meta())) return;
    slices[str(slice.as<api::discovery_v1::EndpointSlice>()->address_type()) == "IPv6"].push_back(slice);
  });
  const model::Object* endpoints = view.find("endpoints", key);
  if (!mirrored(view, key, endpoints)) {
    for (const auto& family : slices) {
      for (const auto& slice : family) decision.add(remove(slice));
    }
    return decision;
  }
  SliceOwner owner{*endpoints, "Endpoints", mirror_labels(*endpoints), "", false};
  for (bool ipv6 : {false, true}) {
    std::sort(slices[ipv6].begin(), slices[ipv6].end(),
              [](const auto& a, const auto& b) { return a.name() < b.name(); });
    owner.address_type = ipv6 ? "IPv6" : "IPv4";
    plan_slices(owner, groups_of(*endpoints->as<api::core_v1::Endpoints>(), ipv6), slices[ipv6], decision);
  }
  return decision;
}

}  // namespace gantry::controllers

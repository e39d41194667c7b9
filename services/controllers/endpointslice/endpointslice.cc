#include "services/controllers/endpointslice/endpointslice.h"

#include "libs/model/workload.h"
#include "schemas/api/core_v1_generated.h"
#include "services/controllers/endpointslice/slices.h"

namespace gantry::controllers {
namespace {

using api::core_v1::Pod;
using model::str;

/// What endpoints say of a pod.
std::string facts(const model::Object& o) {
  const Pod& pod = *o.as<Pod>();
  const auto* spec = pod.spec();
  return fmt::format("{} {} {} {} {} {}", o.uid(),
                     pod.status() == nullptr ? std::string_view() : str(pod.status()->pod_ip()),
                     spec == nullptr ? std::string_view() : str(spec->node_name()), model::pod_ready(pod),
                     model::pod_terminal(pod), model::is_deleting(pod.metadata()));
}

}  // namespace

void EndpointSliceController::setup(View& view) {
  view.need("services");
  view.need("pods");
  view.need("nodes");
  view.need("endpoints");
  view.index("endpointslices", "service", [](const model::Object& o, std::vector<std::string>& values) {
    std::string_view service = model::label(o.meta(), kServiceName);
    if (!service.empty()) values.push_back(make_key(o.ns(), service));
  });
}

void EndpointSliceController::keys_for(const View& view, std::string_view resource, const projection::Change& change,
                                       std::vector<std::string>& keys) const {
  const model::Object& object = change.after ? change.after : change.before;
  if (resource == "services" || resource == "endpoints") {
    keys.push_back(make_key(object));
  } else if (resource == "endpointslices") {
    std::string_view service = model::label(object.meta(), kServiceName);
    if (!service.empty()) keys.push_back(make_key(object.ns(), service));
  } else {
    bool labels_same = change.before && change.after && change.before.meta()->labels() != nullptr &&
                       change.after.meta()->labels() != nullptr &&
                       change.before.meta()->labels()->size() == change.after.meta()->labels()->size();
    if (labels_same) {
      const auto &a = *change.before.meta()->labels(), &b = *change.after.meta()->labels();
      for (size_t i = 0; i < a.size() && labels_same; ++i) {
        labels_same = str(a[i]->key()) == str(b[i]->key()) && str(a[i]->value()) == str(b[i]->value());
      }
    }
    if (labels_same && facts(change.before) == facts(change.after)) return;  // most status reports
    view.cache("services").for_each_in(object.ns(), [&](const model::Object& service) {
      if ((change.after && selects(service, change.after)) || (change.before && selects(service, change.before)))
        keys.push_back(make_key(service));
    });
  }
}

Decision EndpointSliceController::decide(const View& view, const std::string& key, WallMicros, const Memory&) const {
  Decision decision;
  const model::Object* service = view.find("services", key);
  if (service == nullptr || !has_selector(*service) || model::is_deleting(service->meta()))
    return decision;  // slices go with their owner
  std::vector<model::Object> pods;
  view.cache("pods").for_each_in(service->ns(), [&](const model::Object& pod) {
    ++decision.weight;
    if (selects(*service, pod)) pods.push_back(pod);
  });
  auto zone_of = [&](std::string_view name) {
    const model::Object* node = view.find("nodes", "", name);
    return node == nullptr ? std::string() : std::string(model::label(node->meta(), "topology.kubernetes.io/zone"));
  };
  EndpointGroups groups = desired_endpoints(*service, pods, zone_of);
  std::vector<model::Object> slices;
  view.each_by("endpointslices", "service", key, [&](const model::Object& slice) {
    if (model::label(slice.meta(), kManagedBy) == kManager && !model::is_deleting(slice.meta()))
      slices.push_back(slice);
  });
  std::sort(slices.begin(), slices.end(), [](const auto& a, const auto& b) { return a.name() < b.name(); });
  plan_slices({*service, "Service", slice_labels(*service)}, groups, slices, decision);
  plan_endpoints(*service, groups, view.find("endpoints", key), decision);
  return decision;
}

}  // namespace gantry::controllers

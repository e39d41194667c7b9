// LimitRanges: defaults for what containers do not say, and bounds for what they ask.
#include <fmt/format.h>

#include "schemas/api/core_more_v1_generated.h"
#include "services/apigw/admission/admission.h"
#include "services/apigw/admission/resources.h"

namespace gantry::apigw {
namespace {

using model::Quantity;
using model::str;
namespace core = api::core_v1;

template <typename Visit>
void visit_items(const AdmissionRequest& a, const Visit& visit) {
  a.objects.visit_objects("limitranges", a.ns, [&](const model::Object& object) {
    const auto* spec = object.as<core::LimitRange>()->spec();
    if (spec == nullptr || spec->limits() == nullptr) return;
    for (const auto* item : *spec->limits()) visit(*item);
  });
}

// One thing (a container, a pod, a claim) against one item of a LimitRange.
class Bounds {
 public:
  Bounds(const core::LimitRangeItem& item, const Amounts& requests, const Amounts& limits,
         std::vector<std::string>& problems)
      : type_(str(item.type())), requests_(requests), limits_(limits), problems_(problems) {
    for (const auto& [name, bound] : amounts(item.min())) min(name, bound);
    for (const auto& [name, bound] : amounts(item.max())) max(name, bound);
    for (const auto& [name, bound] : amounts(item.max_limit_request_ratio())) ratio(name, bound);
  }

 private:
  static const Quantity* find(const Amounts& in, const std::string& name) {
    const auto found = in.find(name);
    return found == in.end() ? nullptr : &found->second;
  }
  void say(std::string_view what, const std::string& name, const Quantity& bound, std::string_view end) {
    problems_.push_back(fmt::format("{} {} usage per {} is {}{}", what, name, type_, bound.to_string(), end));
  }
  void min(const std::string& name, const Quantity& bound) {
    const auto *request = find(requests_, name), *limit = find(limits_, name);
    if (request == nullptr) return say("minimum", name, bound, ".  No request is specified");
    if (*request < bound) return say("minimum", name, bound, fmt::format(", but request is {}", request->to_string()));
    if (limit != nullptr && *limit < bound)
      say("minimum", name, bound, fmt::format(", but limit is {}", limit->to_string()));
  }
  void max(const std::string& name, const Quantity& bound) {
    const auto *request = find(requests_, name), *limit = find(limits_, name);
    if (limit == nullptr) return say("maximum", name, bound, ".  No limit is specified");
    if (*limit > bound) return say("maximum", name, bound, fmt::format(", but limit is {}", limit->to_string()));
    if (request != nullptr && *request > bound)
      say("maximum", name, bound, fmt::format(", but request is {}", request->to_string()));
  }
  void ratio(const std::string& name, const Quantity& bound) {
    const auto *request = find(requests_, name), *limit = find(limits_, name);
    const auto refuse = [&](std::string_view why) {
      problems_.push_back(
          fmt::format("{} max limit to request ratio per {} is {}, but {}", name, type_, bound.to_string(), why));
    };
    if (request == nullptr || request->milli() == 0) return refuse("no request is specified or request is 0");
    if (limit == nullptr || limit->milli() == 0) return refuse("no limit is specified or limit is 0");
    const double provided = static_cast<double>(limit->milli()) / static_cast<double>(request->milli());
    if (provided > static_cast<double>(bound.milli()) / 1000) refuse(fmt::format("provided ratio is {:f}", provided));
  }

  std::string_view type_;
  const Amounts &requests_, &limits_;
  std::vector<std::string>& problems_;
};

void check_pod(const core::LimitRangeItem& item, const core::PodSpec& spec, std::vector<std::string>& problems) {
  if (str(item.type()) == "Container") {
    const auto each = [&](const auto* containers) {
      for (flatbuffers::uoffset_t i = 0; containers != nullptr && i < containers->size(); ++i) {
        const auto* resources = containers->Get(i)->resources();
        const Amounts requests = resources == nullptr ? Amounts() : amounts(resources->requests());
        const Amounts limits = resources == nullptr ? Amounts() : amounts(resources->limits());
        Bounds(item, requests, limits, problems);
      }
    };
    each(spec.containers());
    each(spec.init_containers());
  }
  if (str(item.type()) == "Pod") {
    const PodResources all = resources_of(spec);
    Bounds(item, all.requests, all.limits, problems);
  }
}

}  // namespace

void add_limit_range_defaults(AdmissionRequest& a, const model::Object& pod, model::Draft& draft) {
  const auto* spec = pod.as<core::Pod>()->spec();
  if (spec == nullptr) return;
  Amounts limits, requests;
  visit_items(a, [&](const core::LimitRangeItem& item) {
    if (str(item.type()) != "Container") return;
    for (const auto& [name, value] : amounts(item.standard())) limits[name] = value;
    for (const auto& [name, value] : amounts(item.default_request())) requests[name] = value;
  });
  if (limits.empty() && requests.empty()) return;
  std::string told;
  const auto fill = [&](const auto* containers, const char* list, const char* what) {
    for (flatbuffers::uoffset_t i = 0; containers != nullptr && i < containers->size(); ++i) {
      const auto* container = containers->Get(i);
      const auto* own = container->resources();
      const auto set = [&](const Amounts& defaults, const QuantityMap* have, const char* map) {
        std::string names;
        for (const auto& [name, value] : defaults) {
          if (model::lookup(have, name) != nullptr) continue;
          draft.set(fmt::format("spec.{}[{}].resources.{}[{}]", list, i, map, name), value.to_string());
          names += (names.empty() ? "" : ", ") + name;
        }
        if (!names.empty())
          told += fmt::format("{}{} {} for {} {}", told.empty() ? "" : "; ", names,
                              map == std::string_view("limits") ? "limit" : "request", what, str(container->name()));
      };
      set(requests, own == nullptr ? nullptr : own->requests(), "requests");
      set(limits, own == nullptr ? nullptr : own->limits(), "limits");
    }
  };
  fill(spec->containers(), "containers", "container");
  fill(spec->init_containers(), "initContainers", "init container");
  if (!told.empty()) draft.set("metadata.annotations[kubernetes.io/limit-ranger]", "LimitRanger plugin set: " + told);
}

Status check_limit_ranges(AdmissionRequest& a, const model::Object& object) {
  const bool pod = a.kind.resource == "pods", claim = a.kind.resource == "persistentvolumeclaims";
  if ((!pod && !claim) || (!a.creates() && a.subresource != "resize") ||
      (!a.subresource.empty() && a.subresource != "resize"))
    return Done{};
  std::vector<std::string> problems;
  visit_items(a, [&](const core::LimitRangeItem& item) {
    if (pod && object.as<core::Pod>()->spec() != nullptr) check_pod(item, *object.as<core::Pod>()->spec(), problems);
    if (!claim || str(item.type()) != "PersistentVolumeClaim") return;
    const auto* spec = object.as<core::PersistentVolumeClaim>()->spec();
    const auto* resources = spec == nullptr ? nullptr : spec->resources();
    const Amounts requests = resources == nullptr ? Amounts() : amounts(resources->requests());
    Bounds(item, requests, requests, problems);
  });
  if (problems.empty()) return Done{};
  a.unsure.emplace_back("limitranges");
  std::string all;
  for (const auto& one : problems) all += (all.empty() ? "" : ", ") + one;
  return forbidden(a.kind, object.name(), problems.size() == 1 ? all : "[" + all + "]");
}

}  // namespace gantry::apigw

// RuntimeClasses shape the pods that name them. IngressClasses say that somebody acts on the Ingresses that name them:
// an Ingress of no class would have no effect, which is worse than a no.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "libs/model/json.h"
#include "libs/model/walk.h"
#include "libs/model/workload.h"
#include "services/apigw/admission/admission.h"

namespace gantry::apigw {
namespace {

using nlohmann::json;

std::string class_of(const model::Object& ingress) {
  const auto annotation = model::annotation(ingress.meta(), "kubernetes.io/ingress.class");
  return annotation.empty() ? model::text_at(ingress, "spec.ingressClassName") : std::string(annotation);
}

// The newest; of those of one second the first by name.
std::string default_ingress_class(const AdmissionRequest& a) {
  model::Object best;
  a.objects.visit_objects("ingressclasses", "", [&](const model::Object& one) {
    if (model::annotation(one.meta(), "ingressclass.kubernetes.io/is-default-class") != "true") return;
    if (!best || model::created_at(one.meta()) > model::created_at(best.meta())) best = one;
  });
  return best ? std::string(best.name()) : "";
}

Status add_scheduling(const json& scheduling, const json& spec, model::Draft& draft,
                      const std::function<Error(const std::string&)>& refuse) {
  const json selector = spec.value("nodeSelector", json::object());
  const json wanted = scheduling.value("nodeSelector", json::object());
  for (const auto& [key, value] : wanted.items()) {
    if (const auto own = selector.find(key); own != selector.end() && *own != value) {
      return refuse(
          fmt::format("conflict: runtimeClass.scheduling.nodeSelector[{}] = {}; pod.spec.nodeSelector[{}] = {}", key,
                      value.get<std::string>(), key, own->get<std::string>()));
    }
    draft.set(fmt::format("spec.nodeSelector[{}]", key), value.get<std::string>());
  }
  const json tolerations = spec.value("tolerations", json::array());
  const json more = scheduling.value("tolerations", json::array());
  for (const auto& one : more) {
    if (std::find(tolerations.begin(), tolerations.end(), one) != tolerations.end()) continue;
    if (auto set = draft.set_json("spec.tolerations[+]", one.dump()); !set.ok()) return set;
  }
  return Done{};
}

}  // namespace

Status add_runtime_class(AdmissionRequest& a, const model::Object& pod, model::Draft& draft) {
  const json tree = model::to_tree(pod);
  const json spec = tree.value("spec", json::object());
  const json overhead = spec.value("overhead", json::object());
  const auto refuse = [&](const std::string& why) { return forbidden(a.kind, pod.name(), "pod rejected: " + why); };
  const std::string name = spec.value("runtimeClassName", "");
  if (name.empty()) {
    if (!overhead.empty()) return refuse("Pod Overhead set without corresponding RuntimeClass defined Overhead");
    return Done{};
  }
  const model::Object* found = a.objects.find_object("runtimeclasses", "", name);
  if (found == nullptr) {
    a.unsure.emplace_back("runtimeclasses");
    return refuse(fmt::format("RuntimeClass \"{}\" not found", name));
  }
  const json runtime = model::to_tree(*found);
  const json fixed = runtime.value("overhead", json::object()).value("podFixed", json::object());
  if (!overhead.empty() && overhead != fixed) {
    return refuse(fixed.empty() ? "Pod Overhead set without corresponding RuntimeClass defined Overhead"
                                : "Pod's Overhead doesn't match RuntimeClass's defined Overhead");
  }
  for (const auto& [resource, amount] : fixed.items())
    draft.set(fmt::format("spec.overhead[{}]", resource), amount.get<std::string>());
  return add_scheduling(runtime.value("scheduling", json::object()), spec, draft, refuse);
}

void add_default_ingress_class(AdmissionRequest& a, const model::Object& ingress, model::Draft& draft) {
  if (!class_of(ingress).empty() || model::find(ingress, "spec.ingressClassName").present()) return;
  const std::string name = default_ingress_class(a);
  if (!name.empty()) draft.set("spec.ingressClassName", name);
}

Status check_ingress_class(AdmissionRequest& a, const model::Object& object) {
  if (a.kind.resource != "ingresses" || !a.creates() || !a.subresource.empty()) return Done{};
  const std::string name = class_of(object);
  if (!name.empty() && a.objects.find_object("ingressclasses", "", name) != nullptr) return Done{};
  a.unsure.emplace_back("ingressclasses");
  const std::string missing = name.empty() ? "it names no IngressClass and there is no default one"
                                           : fmt::format("there is no IngressClass \"{}\"", name);
  return forbidden(a.kind, object.name(),
                   missing +
                       ": it would have no effect; an Ingress is served by the controller that its IngressClass "
                       "names, install one that brings its class");
}

}  // namespace gantry::apigw

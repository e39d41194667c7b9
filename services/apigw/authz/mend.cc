#include "services/apigw/authz/mend.h"

#include <algorithm>

#include "services/apigw/authz/default_roles.h"

namespace gantry::apigw {
namespace {

using nlohmann::json;

std::vector<std::string> strings(const json& from, const char* name) {
  return from.value(name, std::vector<std::string>());
}

std::vector<Rule> rules_of(const json& object) {
  std::vector<Rule> rules;
  for (const auto& rule : object.value("rules", json::array())) {
    rules.push_back({strings(rule, "verbs"), strings(rule, "apiGroups"), strings(rule, "resources"),
                     strings(rule, "resourceNames"), strings(rule, "nonResourceURLs")});
  }
  return rules;
}

bool add_missing(json& there, const json& wanted) {
  bool changed = false;
  for (const auto& one : wanted) {
    if (std::find(there.begin(), there.end(), one) != there.end()) continue;
    there.push_back(one);
    changed = true;
  }
  return changed;
}

}  // namespace

std::optional<json> mend_default(const json& there, const json& wanted) {
  json out = there;
  auto& meta = out["metadata"];
  if (meta.value("annotations", json::object()).value(kAutoUpdate, "") != "true") return std::nullopt;
  bool changed = false;
  for (const auto& [key, value] : wanted["metadata"]["labels"].items()) {
    if (meta["labels"].value(key, json()) == value) continue;
    meta["labels"][key] = value;
    changed = true;
  }
  for (const auto& rule : uncovered(rules_of(there), rules_of(wanted))) {
    out["rules"].push_back(to_json(rule));
    changed = true;
  }
  if (wanted.contains("aggregationRule")) {
    changed |=
        add_missing(out["aggregationRule"]["clusterRoleSelectors"], wanted["aggregationRule"]["clusterRoleSelectors"]);
  }
  if (wanted.contains("subjects")) changed |= add_missing(out["subjects"], wanted["subjects"]);
  return changed ? std::optional(std::move(out)) : std::nullopt;
}

}  // namespace gantry::apigw

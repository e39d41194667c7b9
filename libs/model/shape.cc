#include "libs/model/shape.h"

#include <algorithm>
#include <array>
#include <unordered_set>

namespace gantry::model {

namespace {

using nlohmann::json;

// `+mapType=atomic`.
bool atomic_map(const Type& owner, const Field& field) {
  return (field.json == "selector" && (owner.name == "ServiceSpec" || owner.name == "ReplicationControllerSpec")) ||
         (field.json == "nodeSelector" && owner.name == "PodSpec");
}

std::string dumped(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }

}  // namespace

// A table, because the schema has no attribute for it.
bool atomic_struct(const Type& type) {
  static const std::unordered_set<std::string_view> kTypes = {"LabelSelector",
                                                              "ObjectReference",
                                                              "LocalObjectReference",
                                                              "TypedLocalObjectReference",
                                                              "SecretReference",
                                                              "ConfigMapKeySelector",
                                                              "SecretKeySelector",
                                                              "FileKeySelector",
                                                              "ObjectFieldSelector",
                                                              "ResourceFieldSelector",
                                                              "NodeSelector",
                                                              "NodeSelectorTerm",
                                                              "ScopeSelector",
                                                              "ScopedResourceSelectorRequirement",
                                                              "TopologySelectorTerm",
                                                              "EndpointAddress",
                                                              "EndpointPort",
                                                              "RoleRef",
                                                              "Subject",
                                                              "CrossVersionObjectReference",
                                                              "ServiceBackendPort",
                                                              "MatchResources",
                                                              "NamedRuleWithOperations",
                                                              "ParamKind",
                                                              "ParamRef"};
  // flowcontrol's Subject is a union and not atomic.
  return kTypes.contains(type.name) &&
         !(type.name == "Subject" && type.full_name.find("flowcontrol") != std::string::npos);
}

Shape shape_of(const Type& owner, const Field& f) {
  if (f.map) return atomic_map(owner, f) ? Shape::kLeaf : Shape::kMap;
  if (f.list) {
    if (f.list_type == "atomic") return Shape::kLeaf;
    if (f.list_type == "set") return Shape::kSet;
    if (f.list_type == "map") return Shape::kKeyed;
    if (!f.patch_merge) return Shape::kLeaf;
    return f.patch_key.empty() ? Shape::kSet : Shape::kKeyed;
  }
  if (f.scalar != Scalar::kTable || f.format != Format::kNone || f.type == nullptr) return Shape::kLeaf;
  return atomic_struct(*f.type) ? Shape::kLeaf : Shape::kStruct;
}

std::vector<const Field*> keys_of(const Field& field) {
  std::vector<const Field*> keys;
  if (field.list_keys.empty()) {
    keys.push_back(field.type->by_json(field.patch_key));
  } else {
    for (const auto& name : field.list_keys) keys.push_back(field.type->by_json(name));
  }
  std::erase(keys, nullptr);
  std::sort(keys.begin(), keys.end(), [](const Field* a, const Field* b) { return a->json < b->json; });
  return keys;
}

bool always_there(const Field& field) {
  static constexpr std::array<std::string_view, 7> kNames = {"metadata", "spec",           "status",     "template",
                                                             "strategy", "updateStrategy", "jobTemplate"};
  if (field.list || field.map) return field.mandatory;
  return field.scalar == Scalar::kTable && std::find(kNames.begin(), kNames.end(), field.json) != kNames.end();
}

json default_of(const Field& key) {
  // The one default of a key that the API has; its published schema does not say it.
  if (key.default_value.empty()) return key.json == "protocol" ? json("TCP") : json(nullptr);
  if (key.scalar == Scalar::kString) {
    auto value = json::parse(key.default_value, nullptr, false);  // some are written as JSON
    return value.is_string() ? value : json(key.default_value);
  }
  auto value = json::parse(key.default_value, nullptr, false);
  return value.is_discarded() ? json(nullptr) : value;
}

std::string keyed_element(const std::vector<const Field*>& keys, const json& element, std::string* missing) {
  json key = json::object();
  for (const Field* field : keys) {
    const auto it = element.is_object() ? element.find(field->json) : element.end();
    if (element.is_object() && it != element.end() && !it->is_null()) {
      key[field->json] = *it;
      continue;
    }
    json value = default_of(*field);
    if (!value.is_null()) {
      key[field->json] = std::move(value);
    } else if (missing != nullptr && missing->empty()) {
      *missing = field->json;
    }
  }
  return "k:" + dumped(key);
}

std::string value_element(const json& value) { return "v:" + dumped(value); }

}  // namespace gantry::model

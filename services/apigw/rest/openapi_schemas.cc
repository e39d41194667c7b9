// Types as OpenAPI schemas. What a field is beside its type goes into the extensions that kubectl and client libraries
// read.
#include <algorithm>
#include <charconv>

#include "libs/model/assembler.h"
#include "libs/model/shape.h"
#include "services/apigw/rest/openapi.h"

namespace gantry::apigw::openapi {
namespace {

using model::Field;
using model::Format;
using model::Scalar;
using model::Type;

constexpr const char* kMeta = "io.k8s.apimachinery.pkg.apis.meta.v1.";

/// `gantry.api.core_v1.Pod` -> {"core", "v1", "Pod"}
struct Parts {
  std::string group, version, name;
};
Parts parts_of(const Type& type) {
  std::string_view rest = type.full_name;
  rest.remove_prefix(std::min(rest.size(), sizeof("gantry.api.") - 1));
  const size_t dot = rest.find('.'), bar = rest.find('_');
  return {std::string(rest.substr(0, bar)), std::string(rest.substr(bar + 1, dot - bar - 1)), type.name};
}

/// Types that the schema language has no table for.
json special(const std::string& name) {
  if (name == "Quantity")
    return {{"type", "string"}, {"description", "A number with a unit suffix: 100m, 1.5, 2Gi, 3e6."}};
  if (name == "IntOrString")
    return {{"type", "string"},
            {"format", "int-or-string"},
            {"description", "An integer, or a string (a name or a percentage)."}};
  if (name == "Time" || name == "MicroTime")
    return {{"type", "string"}, {"format", "date-time"}, {"description", "A point in time, as RFC 3339 writes it."}};
  if (name == "FieldsV1")
    return {{"type", "object"}, {"description", "The fields that a manager owns, as nested keys."}};
  if (name == "JSON") return {{"description", "Any JSON value."}};
  return {{"type", "object"}, {"description", "Any JSON object."}};
}

const char* special_name(const Type& owner, const Field& f) {
  switch (f.format) {
    case Format::kTime:
      return "io.k8s.apimachinery.pkg.apis.meta.v1.Time";
    case Format::kMicroTime:
      return "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime";
    case Format::kQuantity:
      return "io.k8s.apimachinery.pkg.api.resource.Quantity";
    case Format::kIntOrString:
      return "io.k8s.apimachinery.pkg.util.intstr.IntOrString";
    case Format::kJson:
      if (owner.name == "ManagedFieldsEntry") return "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1";
      if (owner.name == "JSONSchemaProps") return "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON";
      return "io.k8s.apimachinery.pkg.runtime.RawExtension";
    default:
      return nullptr;
  }
}

class Builder {
 public:
  Builder(const std::string& refs, json& definitions) : refs_(refs), out_(definitions) {}

  void add(const Type& type) {
    const std::string name = name_of(type);
    if (out_.contains(name)) return;
    out_[name] = json::object();  // a type may contain itself
    json properties = json::object();
    std::vector<std::string> required;
    for (const Field& f : type.fields) {
      properties[f.json] = field(type, f);
      if (f.mandatory) required.push_back(f.json);
    }
    json schema = {{"type", "object"}};
    if (auto text = describe_type(type); !text.empty()) schema["description"] = text;
    if (!properties.empty()) schema["properties"] = std::move(properties);
    if (!required.empty()) {
      std::sort(required.begin(), required.end());
      schema["required"] = required;
    }
    if (model::atomic_struct(type)) schema["x-kubernetes-map-type"] = "atomic";
    out_[name] = std::move(schema);
  }

  json reference(const std::string& name) {
    if (!out_.contains(name)) out_[name] = special(name.substr(name.rfind('.') + 1));
    return {{"$ref", refs_ + name}};
  }

 private:
  json one(const Type& owner, const Field& f) {
    if (const char* name = special_name(owner, f)) return reference(name);
    switch (f.scalar) {
      case Scalar::kBool:
        return {{"type", "boolean"}};
      case Scalar::kInt32:
        return {{"type", "integer"}, {"format", "int32"}};
      case Scalar::kInt64:
        return {{"type", "integer"}, {"format", "int64"}};
      case Scalar::kDouble:
        return {{"type", "number"}, {"format", "double"}};
      case Scalar::kBytes:
        return {{"type", "string"}, {"format", "byte"}};
      case Scalar::kTable:
        add(*f.type);
        return {{"$ref", refs_ + name_of(*f.type)}};
      default:
        return {{"type", "string"}};
    }
  }

  json shape(const Type& owner, const Field& f) {
    if (f.map) {
      const Field& value = f.type->fields[1];
      json element = f.format == Format::kQuantity ? one(owner, f) : one(*f.type, value);
      if (value.list) element = {{"type", "array"}, {"items", element}};
      json out = {{"type", "object"}, {"additionalProperties", element}};
      if (f.list_type == "atomic") out["x-kubernetes-map-type"] = "atomic";
      return out;
    }
    if (!f.list) return one(owner, f);
    json out = {{"type", "array"}, {"items", one(owner, f)}};
    if (!f.enum_values.empty()) out["items"]["enum"] = f.enum_values;
    if (!f.list_type.empty()) out["x-kubernetes-list-type"] = f.list_type;
    if (!f.list_keys.empty()) out["x-kubernetes-list-map-keys"] = f.list_keys;
    return out;
  }

  static std::optional<json> default_of(const Field& f) {
    if (f.default_value.empty() || f.list) return std::nullopt;
    if (f.scalar == Scalar::kString) return json(f.default_value);
    auto value = json::parse(f.default_value, nullptr, false);
    return value.is_discarded() ? std::nullopt : std::optional(value);
  }

  json field(const Type& owner, const Field& f) {
    json out = shape(owner, f);
    json beside = json::object();
    if (auto text = describe_field(owner, f); !text.empty()) beside["description"] = text;
    if (auto value = default_of(f)) beside["default"] = *value;
    if (!f.enum_values.empty() && !f.list) beside["enum"] = f.enum_values;
    std::string strategy;
    if (f.patch_replace) strategy = "replace";
    if (f.patch_merge) strategy = "merge";
    if (f.patch_retain_keys) strategy += strategy.empty() ? "retainKeys" : ",retainKeys";
    if (!strategy.empty()) beside["x-kubernetes-patch-strategy"] = strategy;
    if (!f.patch_key.empty()) beside["x-kubernetes-patch-merge-key"] = f.patch_key;
    // Nothing may stand beside a $ref: v3 wraps it, v2 allows a description alone.
    if (out.contains("$ref") && !beside.empty() && refs_.starts_with("#/components")) {
      out = {{"allOf", json::array({out})}};
    }
    out.update(beside);
    return out;
  }

  const std::string& refs_;
  json& out_;
};

}  // namespace

std::string name_of(const Type& type) {
  auto [group, version, name] = parts_of(type);
  if (group == "meta") return kMeta + name;
  const char* prefix = group == "apiextensions"     ? "io.k8s.apiextensions-apiserver.pkg.apis."
                       : group == "apiregistration" ? "io.k8s.kube-aggregator.pkg.apis."
                                                    : "io.k8s.api.";
  return prefix + group + "." + version + "." + name;
}

void add_definitions(const Type& type, const std::string& refs, json& definitions) {
  Builder(refs, definitions).add(type);
}

void add_kind(const model::Kind& kind, const std::string& refs, json& definitions) {
  Builder builder(refs, definitions);
  builder.add(*kind.type);
  const std::string name = name_of(*kind.type);
  auto& schema = definitions[name];
  if (schema.contains("x-kubernetes-group-version-kind")) return;
  const json api_version = {{"type", "string"},
                            {"description", "The group and version of this representation of the object."}};
  const json kind_name = {{"type", "string"}, {"description", "The kind that this representation stands for."}};
  schema["properties"]["apiVersion"] = api_version;
  schema["properties"]["kind"] = kind_name;
  schema["x-kubernetes-group-version-kind"] = {{{"group", kind.group}, {"version", kind.version}, {"kind", kind.kind}}};
  if (kind.resource.empty()) return;
  json meta = {{"type", "object"}, {"description", "What holds for a whole list."}, {"properties", json::object()}};
  for (const char* field : {"continue", "resourceVersion", "selfLink"})
    meta["properties"][field] = {{"type", "string"}};
  meta["properties"]["remainingItemCount"] = {{"type", "integer"}, {"format", "int64"}};
  definitions[std::string(kMeta) + "ListMeta"] = meta;
  definitions[name + "List"] = {{"type", "object"},
                                {"description", kind.kind + "List is a list of objects of kind " + kind.kind + "."},
                                {"required", {"items"}},
                                {"properties",
                                 {{"apiVersion", api_version},
                                  {"kind", kind_name},
                                  {"metadata", {{"$ref", refs + kMeta + "ListMeta"}}},
                                  {"items", {{"type", "array"}, {"items", {{"$ref", refs + name}}}}}}},
                                {"x-kubernetes-group-version-kind",
                                 {{{"group", kind.group}, {"version", kind.version}, {"kind", kind.kind + "List"}}}}};
}

}  // namespace gantry::apigw::openapi

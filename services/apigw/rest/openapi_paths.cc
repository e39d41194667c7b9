// Paths and operations. Clients look here for which kind a path is of and which query parameters an operation knows.
#include <algorithm>

#include "libs/model/served.h"
#include "services/apigw/rest/openapi.h"
#include "services/apigw/rest/subresources.h"

namespace gantry::apigw::openapi {
namespace {

using model::Kind;

const char* type_of(std::string_view parameter) {
  for (std::string_view p : {"allowWatchBookmarks", "sendInitialEvents", "watch", "force", "orphanDependents",
                             "ignoreStoreReadErrorWithClusterBreakingPotential", "follow", "previous", "timestamps",
                             "stdin", "stdout", "stderr", "tty"}) {
    if (p == parameter) return "boolean";
  }
  for (std::string_view p :
       {"limit", "timeoutSeconds", "gracePeriodSeconds", "sinceSeconds", "tailLines", "limitBytes"}) {
    if (p == parameter) return "integer";
  }
  return "string";
}

using Names = std::vector<const char*>;
const Names kList = {
    "allowWatchBookmarks",  "continue",          "fieldSelector",  "labelSelector", "limit", "resourceVersion",
    "resourceVersionMatch", "sendInitialEvents", "timeoutSeconds", "watch"};
const Names kWrite = {"dryRun", "fieldManager", "fieldValidation"};
const Names kPatch = {"dryRun", "fieldManager", "fieldValidation", "force"};
const Names kDelete = {"dryRun", "gracePeriodSeconds", "ignoreStoreReadErrorWithClusterBreakingPotential",
                       "orphanDependents", "propagationPolicy"};
const Names kDeleteCollection = {"continue",
                                 "dryRun",
                                 "fieldSelector",
                                 "gracePeriodSeconds",
                                 "ignoreStoreReadErrorWithClusterBreakingPotential",
                                 "labelSelector",
                                 "limit",
                                 "orphanDependents",
                                 "propagationPolicy",
                                 "resourceVersion",
                                 "resourceVersionMatch",
                                 "sendInitialEvents",
                                 "timeoutSeconds"};

class Paths {
 public:
  explicit Paths(bool v3) : v3_(v3), refs_(v3 ? "#/components/schemas/" : "#/definitions/") {}

  void add(const Kind& kind, const std::string& base) {
    kind_ = &kind;
    id_ = kind.version + "_" + kind.kind + "_" + std::to_string(kind.group.size()) + kind.group;
    const auto& verbs = model::served(kind);
    const std::string all = base + "/" + kind.resource;
    const std::string collection = kind.namespaced ? base + "/namespaces/{namespace}/" + kind.resource : all;
    const std::string self = name_of(*kind.type);
    const auto gvk = gvk_of(kind.group, kind.version, kind.kind);
    const auto offer = [&](const std::string& path, const char* verb, const char* method, const char* action,
                           const Names& names, const std::string& body, const std::string& answer) {
      if (verbs.has_verb(verb)) put(path, method, action, gvk, names, body, answer);
    };
    if (kind.namespaced) offer(all, "list", "get", "list", kList, "", self + "List");
    offer(collection, "list", "get", "list", kList, "", self + "List");
    offer(collection, "create", "post", "post", kWrite, self, self);
    offer(collection, "deletecollection", "delete", "deletecollection", kDeleteCollection, "", "");
    const std::string one = collection + "/{name}";
    offer(one, "get", "get", "get", {}, "", self);
    offer(one, "update", "put", "put", kWrite, self, self);
    offer(one, "patch", "patch", "patch", kPatch, "Patch", self);
    offer(one, "delete", "delete", "delete", kDelete, "", "");
    for (const auto& name : kind.subresources) subresource(kind, name, one + "/" + name);
  }

  json take() { return std::move(out_); }

 private:
  static json gvk_of(const std::string& group, const std::string& version, const std::string& kind) {
    return {{"group", group}, {"version", version}, {"kind", kind}};
  }

  void subresource(const Kind& kind, const std::string& name, const std::string& path) {
    const auto sub = subresource_of(kind, name);
    const auto gvk = gvk_of(sub.group, sub.version, sub.kind);
    const auto* body = model::Schema::get().by_kind(sub.group, sub.version, sub.kind);
    if (body == nullptr || name == "log") {  // a stream: options in the query, and no object
      for (const auto& verb : sub.verbs) {
        const char* method = verb == "create" ? "post" : verb == "update" ? "put" : verb.c_str();
        put(path, method, name == "log" ? "get" : "connect", gvk, {}, "", "");
      }
      return;
    }
    const std::string type = name_of(*body->type);
    if (sub.has_verb("get")) put(path, "get", "get", gvk, {}, "", type);
    if (sub.has_verb("create")) put(path, "post", "post", gvk, kWrite, type, type);
    if (sub.has_verb("update")) put(path, "put", "put", gvk, kWrite, type, type);
    if (sub.has_verb("patch")) put(path, "patch", "patch", gvk, kPatch, "Patch", type);
  }

  json parameter(const char* name, const char* in) const {
    json out = {{"name", name}, {"in", in}};
    json type = {{"type", type_of(name)}, {"uniqueItems", true}};
    if (std::string_view(in) == "path") out["required"] = true;
    if (v3_) {
      out["schema"] = type;
    } else {
      out.update(type);
    }
    return out;
  }

  void put(const std::string& path, const char* method, const char* action, const json& gvk, const Names& names,
           const std::string& body, const std::string& answer) {
    auto& item = out_[path];
    if (item.is_null()) {
      json parameters = json::array();
      if (path.find("{name}") != std::string::npos) parameters.push_back(parameter("name", "path"));
      if (path.find("{namespace}") != std::string::npos) parameters.push_back(parameter("namespace", "path"));
      item = json::object();
      if (!parameters.empty()) item["parameters"] = parameters;
    }
    json parameters = json::array();
    for (const char* name : names) parameters.push_back(parameter(name, "query"));
    json operation = {{"x-kubernetes-action", action}, {"x-kubernetes-group-version-kind", gvk}};
    operation["operationId"] = std::string(method) + "_" + std::to_string(++count_) + "_" + id_;
    json ok = {{"description", "OK"}};
    const auto reference = [&](const std::string& name) -> json {
      return name == "Patch" ? json{{"type", "object"}} : json{{"$ref", refs_ + name}};
    };
    if (v3_) {
      if (!answer.empty()) ok["content"] = {{"application/json", {{"schema", reference(answer)}}}};
      if (!body.empty()) {
        json content = json::object();
        if (body == "Patch") {
          for (const char* type : {"application/json-patch+json", "application/merge-patch+json",
                                   "application/strategic-merge-patch+json", "application/apply-patch+yaml"}) {
            content[type] = {{"schema", reference(body)}};
          }
        } else {
          content["*/*"] = {{"schema", reference(body)}};
        }
        operation["requestBody"] = {{"required", true}, {"content", content}};
      }
    } else {
      if (!answer.empty()) ok["schema"] = reference(answer);
      if (!body.empty()) {
        parameters.push_back({{"name", "body"}, {"in", "body"}, {"required", true}, {"schema", reference(body)}});
      }
      operation["produces"] = {"application/json", "application/yaml"};
    }
    if (!parameters.empty()) operation["parameters"] = parameters;
    operation["responses"] = {{"200", ok}, {"401", {{"description", "Unauthorized"}}}};
    item[method] = std::move(operation);
  }

  const bool v3_;
  const std::string refs_;
  const Kind* kind_ = nullptr;
  std::string id_;
  int count_ = 0;
  json out_ = json::object();
};

}  // namespace

json paths(const std::string& group, const std::string& version, bool v3) {
  Paths out(v3);
  const std::string base = group.empty() ? "/api/" + version : "/apis/" + group + "/" + version;
  for (const auto& kind : model::Schema::get().kinds()) {
    if (!kind.resource.empty() && kind.group == group && kind.version == version) out.add(kind, base);
  }
  return out.take();
}

}  // namespace gantry::apigw::openapi

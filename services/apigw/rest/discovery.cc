#include "services/apigw/rest/discovery.h"

#include <fmt/format.h>
#include <sys/utsname.h>

#include <nlohmann/json.hpp>

namespace gantry::apigw {
namespace {

using model::Kind;
using nlohmann::json;

constexpr const char* kGitVersion = "v1.34.0-gantry.1";

json verbs_of(const Kind&) {
  return {"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"};
}

struct Subresource {
  json verbs;
  std::string group, version, kind;
};

Subresource subresource_of(const Kind& kind, const std::string& name) {
  if (name == "scale") return {{"get", "patch", "update"}, "autoscaling", "v1", "Scale"};
  if (name == "binding") return {{"create"}, "", "v1", "Binding"};
  if (name == "eviction") return {{"create"}, "policy", "v1", "Eviction"};
  if (name == "log") return {{"get"}, "", "v1", "Pod"};
  if (name == "exec") return {{"create", "get"}, "", "v1", "PodExecOptions"};
  if (name == "finalize") return {{"update"}, "", "v1", "Namespace"};
  return {{"get", "patch", "update"}, kind.group, kind.version, kind.kind};
}

template <typename Visit>
void for_each_kind(const std::string& group, const std::string& version, Visit visit) {
  for (const auto& kind : model::Schema::get().kinds()) {
    if (!kind.resource.empty() && kind.group == group && kind.version == version) visit(kind);
  }
}

std::vector<std::string> versions_of(const std::string& group) {
  std::vector<std::string> out;
  for (const auto& kind : model::Schema::get().kinds()) {
    if (!kind.resource.empty() && kind.group == group && std::find(out.begin(), out.end(), kind.version) == out.end())
      out.push_back(kind.version);
  }
  return out;
}

json group_object(const std::string& group) {
  json versions = json::array();
  for (const auto& v : versions_of(group)) versions.push_back({{"groupVersion", group + "/" + v}, {"version", v}});
  return {{"name", group}, {"versions", versions}, {"preferredVersion", versions[0]}};
}

json aggregated_resources(const std::string& group, const std::string& version) {
  json resources = json::array();
  for_each_kind(group, version, [&](const Kind& kind) {
    json subresources = json::array();
    for (const auto& name : kind.subresources) {
      auto s = subresource_of(kind, name);
      subresources.push_back({{"subresource", name},
                              {"responseKind", {{"group", s.group}, {"version", s.version}, {"kind", s.kind}}},
                              {"verbs", s.verbs}});
    }
    json r = {{"resource", kind.resource},
              {"responseKind", {{"group", kind.group}, {"version", kind.version}, {"kind", kind.kind}}},
              {"scope", kind.namespaced ? "Namespaced" : "Cluster"},
              {"singularResource", kind.singular},
              {"verbs", verbs_of(kind)}};
    if (!kind.short_names.empty()) r["shortNames"] = kind.short_names;
    if (!kind.categories.empty()) r["categories"] = kind.categories;
    if (!subresources.empty()) r["subresources"] = subresources;
    resources.push_back(r);
  });
  return resources;
}

std::string aggregated(bool core) {
  json items = json::array();
  for (const auto& group : api_groups()) {
    if (group.empty() != core) continue;
    json versions = json::array();
    for (const auto& v : versions_of(group)) {
      versions.push_back({{"version", v}, {"freshness", "Current"}, {"resources", aggregated_resources(group, v)}});
    }
    json metadata = json::object();
    if (!group.empty()) metadata["name"] = group;
    items.push_back({{"metadata", metadata}, {"versions", versions}});
  }
  return json{{"kind", "APIGroupDiscoveryList"},
              {"apiVersion", "apidiscovery.k8s.io/v2"},
              {"metadata", json::object()},
              {"items", items}}
      .dump();
}

/// The paths of one group version with the parameters that clients look for: kubectl asks whether PATCH knows
/// fieldValidation before it leaves validation to the server.
json openapi_paths(const std::string& group, const std::string& version) {
  std::string base = group.empty() ? "/api/" + version : "/apis/" + group + "/" + version;
  auto parameter = [](const char* name) {
    return json{{"name", name}, {"in", "query"}, {"schema", {{"type", "string"}, {"uniqueItems", true}}}};
  };
  json paths = json::object();
  for_each_kind(group, version, [&](const Kind& kind) {
    json gvk = {{"group", kind.group}, {"version", kind.version}, {"kind", kind.kind}};
    auto operation = [&](const char* action, bool write) {
      json parameters = json::array();
      if (write) {
        for (const char* name : {"dryRun", "fieldManager", "fieldValidation"}) parameters.push_back(parameter(name));
      }
      return json{{"x-kubernetes-action", action},
                  {"x-kubernetes-group-version-kind", gvk},
                  {"parameters", parameters},
                  {"responses", {{"200", {{"description", "OK"}}}}}};
    };
    std::string collection = base + (kind.namespaced ? "/namespaces/{namespace}/" : "/") + kind.resource;
    paths[collection] = {{"get", operation("list", false)},
                         {"post", operation("post", true)},
                         {"delete", operation("deletecollection", false)}};
    paths[collection + "/{name}"] = {{"get", operation("get", false)},
                                     {"put", operation("put", true)},
                                     {"patch", operation("patch", true)},
                                     {"delete", operation("delete", false)}};
  });
  return paths;
}

}  // namespace

std::string root_document(bool core, bool want_aggregated, const std::string& server_address) {
  if (want_aggregated) return aggregated(core);
  if (core) {
    return json{
        {"kind", "APIVersions"},
        {"versions", {"v1"}},
        {"serverAddressByClientCIDRs", json::array({{{"clientCIDR", "0.0.0.0/0"}, {"serverAddress", server_address}}})}}
        .dump();
  }
  json groups = json::array();
  for (const auto& group : api_groups()) {
    if (!group.empty()) groups.push_back(group_object(group));
  }
  return json{{"kind", "APIGroupList"}, {"apiVersion", "v1"}, {"groups", groups}}.dump();
}

std::string group_document(const std::string& group) {
  json out = group_object(group);
  out["kind"] = "APIGroup";
  out["apiVersion"] = "v1";
  return out.dump();
}

std::string resources_document(const std::string& group, const std::string& version) {
  json resources = json::array();
  for_each_kind(group, version, [&](const Kind& kind) {
    json r = {{"name", kind.resource},
              {"singularName", kind.singular},
              {"namespaced", kind.namespaced},
              {"kind", kind.kind},
              {"verbs", verbs_of(kind)}};
    if (!kind.short_names.empty()) r["shortNames"] = kind.short_names;
    if (!kind.categories.empty()) r["categories"] = kind.categories;
    resources.push_back(r);
    for (const auto& name : kind.subresources) {
      auto s = subresource_of(kind, name);
      json sub = {{"name", kind.resource + "/" + name},
                  {"singularName", ""},
                  {"namespaced", kind.namespaced},
                  {"kind", s.kind},
                  {"verbs", s.verbs}};
      if (s.group != kind.group || s.version != kind.version) {
        sub["group"] = s.group;
        sub["version"] = s.version;
      }
      resources.push_back(sub);
    }
  });
  return json{{"kind", "APIResourceList"},
              {"apiVersion", "v1"},
              {"groupVersion", group.empty() ? version : group + "/" + version},
              {"resources", resources}}
      .dump();
}

std::string version_document() {
  utsname system{};
  uname(&system);
  return json{{"major", "1"},
              {"minor", "34"},
              {"gitVersion", kGitVersion},
              {"gitCommit", ""},
              {"gitTreeState", "clean"},
              {"buildDate", "1970-01-01T00:00:00Z"},
              {"goVersion", ""},
              {"compiler", "gcc " __VERSION__},
              {"platform", std::string("linux/") + (std::string_view(system.machine) == "aarch64" ? "arm64" : "amd64")}}
      .dump();
}

std::optional<std::string> openapi_document(const std::string& path) {
  if (path == "/openapi/v3") {
    json paths = json::object();
    for (const auto& group : api_groups()) {
      for (const auto& v : versions_of(group)) {
        std::string key = group.empty() ? "api/" + v : "apis/" + group + "/" + v;
        paths[key] = {{"serverRelativeURL", "/openapi/v3/" + key + "?hash=" + kGitVersion}};
      }
    }
    return json{{"paths", paths}}.dump();
  }
  for (const auto& group : api_groups()) {
    for (const auto& v : versions_of(group)) {
      if (path != "/openapi/v3/" + (group.empty() ? "api/" + v : "apis/" + group + "/" + v)) continue;
      return json{{"openapi", "3.0.0"},
                  {"info", {{"title", "Gantry"}, {"version", kGitVersion}}},
                  {"paths", openapi_paths(group, v)},
                  {"components", {{"schemas", json::object()}}}}
          .dump();
    }
  }
  return std::nullopt;
}

}  // namespace gantry::apigw

#include "services/apigw/rest/discovery.h"

#include <fmt/format.h>
#include <sys/utsname.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "libs/model/served.h"
#include "services/apigw/rest/subresources.h"

namespace gantry::apigw {
namespace {

using model::Kind;
using nlohmann::json;

constexpr const char* kGitVersion = "v1.34.0-gantry.1";

json verbs_of(const Kind& kind) { return model::served(kind).verbs; }

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
  std::sort(out.rbegin(), out.rend());  // the newest is preferred
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

}  // namespace gantry::apigw

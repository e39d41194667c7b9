#include "services/apigw/rest/openapi.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "libs/base/ids.h"
#include "libs/model/served.h"

namespace gantry::apigw {
namespace {

using nlohmann::json;

constexpr const char* kRefs3 = "#/components/schemas/";
constexpr const char* kGnostic = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
constexpr const char* kRefs2 = "#/definitions/";

/// FNV-1a: names a content, protects nothing.
std::string digest(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325ull;
  for (const unsigned char c : text) hash = (hash ^ c) * 0x100000001b3ull;
  return fmt::format("{:016X}", hash);
}

OpenApiDocument document(std::string body, const char* type = "application/json") {
  OpenApiDocument out;
  out.etag = "\"" + digest(body) + "\"";
  out.body = std::move(body);
  out.content_type = type;
  return out;
}

/// Group and version of every path: "api/v1", "apis/apps/v1".
const std::map<std::string, std::pair<std::string, std::string>>& group_versions() {
  static const auto* all = [] {
    auto* out = new std::map<std::string, std::pair<std::string, std::string>>();
    for (const auto& kind : model::Schema::get().kinds()) {
      if (kind.resource.empty()) continue;
      out->emplace(kind.group.empty() ? "api/" + kind.version : "apis/" + kind.group + "/" + kind.version,
                   std::pair(kind.group, kind.version));
    }
    return out;
  }();
  return *all;
}

json info() { return {{"title", "Gantry"}, {"version", "v1.34.0"}}; }

/// What stands in the paths of a group and version.
void add_kinds(const std::string& group, const std::string& version, const std::string& refs, json& definitions) {
  const auto& schema = model::Schema::get();
  std::set<std::string> wanted;  // kinds of other groups: bodies of subresources
  for (const auto& kind : schema.kinds()) {
    if (kind.group != group || kind.version != version) continue;
    openapi::add_kind(kind, refs, definitions);
    if (kind.has_subresource("scale"))
      openapi::add_kind(*schema.by_kind("autoscaling", "v1", "Scale"), refs, definitions);
    if (kind.has_subresource("eviction"))
      openapi::add_kind(*schema.by_kind("policy", "v1", "Eviction"), refs, definitions);
    if (kind.has_subresource("token"))
      openapi::add_kind(*schema.by_kind("authentication.k8s.io", "v1", "TokenRequest"), refs, definitions);
  }
}

const OpenApiDocument& v3_document(const std::string& key, const std::pair<std::string, std::string>& of) {
  static auto* made = new std::map<std::string, OpenApiDocument>();
  auto it = made->find(key);
  if (it != made->end()) return it->second;
  json schemas = json::object();
  add_kinds(of.first, of.second, kRefs3, schemas);
  json out = {{"openapi", "3.0.0"},
              {"info", info()},
              {"paths", openapi::paths(of.first, of.second, true)},
              {"components", {{"schemas", std::move(schemas)}}}};
  return made->emplace(key, document(out.dump())).first->second;
}

const OpenApiDocument& v3_index() {
  static const auto* index = [] {
    json paths = json::object();
    for (const auto& [key, of] : group_versions()) {
      const auto& etag = v3_document(key, of).etag;
      paths[key] = {{"serverRelativeURL", "/openapi/v3/" + key + "?hash=" + etag.substr(1, etag.size() - 2)}};
    }
    return new OpenApiDocument(document(json{{"paths", paths}}.dump()));
  }();
  return *index;
}

const json& v2_tree() {
  static const auto* tree = [] {
    json definitions = json::object(), paths = json::object();
    for (const auto& [key, of] : group_versions()) {
      add_kinds(of.first, of.second, kRefs2, definitions);
      paths.update(openapi::paths(of.first, of.second, false));
    }
    return new json{
        {"swagger", "2.0"}, {"info", info()}, {"paths", std::move(paths)}, {"definitions", std::move(definitions)}};
  }();
  return *tree;
}

const OpenApiDocument& v2_document(std::string_view accept) {
  // Clients of old ask with "@" where later ones have "."; all of them can parse only the latter in the answer.
  constexpr std::string_view kAsked[] = {"application/com.github.proto-openapi.spec.v2@v1.0+protobuf", kGnostic};
  if (std::any_of(std::begin(kAsked), std::end(kAsked),
                  [&](auto t) { return accept.find(t) != std::string_view::npos; })) {
    static const auto* message = new OpenApiDocument(document(openapi::to_gnostic(v2_tree()), kGnostic));
    return *message;
  }
  static const auto* text = new OpenApiDocument(document(v2_tree().dump()));
  return *text;
}

}  // namespace

const OpenApiDocument* openapi_document(std::string_view path, std::string_view accept) {
  while (path.ends_with('/')) path.remove_suffix(1);
  if (path == "/openapi/v3") return &v3_index();
  if (path == "/openapi/v2") return &v2_document(accept);
  constexpr std::string_view kV3 = "/openapi/v3/";
  if (!path.starts_with(kV3)) return nullptr;
  const std::string key(path.substr(kV3.size()));
  const auto it = group_versions().find(key);
  return it == group_versions().end() ? nullptr : &v3_document(key, it->second);
}

}  // namespace gantry::apigw

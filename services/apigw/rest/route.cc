#include "services/apigw/rest/route.h"

#include <algorithm>

#include "libs/model/served.h"
#include "services/apigw/rest/options.h"
#include "services/apigw/rest/subresources.h"

namespace gantry::apigw {
namespace {

/// "" for what no resource of this kind allows. `bare`: no subresource.
std::string verb_of(const http::Request& request, bool collection, bool bare) {
  const auto& m = request.method;
  if (m == "GET" || m == "HEAD") {
    if (!collection) return "get";  // whatever ?watch says
    return query_flag(request.query, "watch") ? "watch" : "list";
  }
  if (m == "POST") return collection || !bare ? "create" : "";
  if (m == "PUT") return collection ? "" : "update";
  if (m == "PATCH") return collection ? "" : "patch";
  if (m == "DELETE") return collection ? "deletecollection" : "delete";
  return "";
}

/// Subresources that are no objects.
bool has_stream(const model::Kind& kind, const std::string& subresource) {
  if (!kind.group.empty()) return false;
  if (kind.resource == "pods") return subresource == "attach" || subresource == "portforward" || subresource == "proxy";
  return subresource == "proxy" && (kind.resource == "services" || kind.resource == "nodes");
}

Route resource_route(const http::Request& request, Route route, const std::vector<std::string>& parts, size_t i) {
  // parts[i...]: [namespaces/<ns>/]<resource>[/<name>[/<subresource>[/...]]]
  route.target = Route::Target::kResource;
  auto at = [&](size_t n) { return n < parts.size() ? parts[n] : std::string(); };
  const bool watch = at(i) == "watch";  // the old way to ask for one: /api/v1/watch/pods
  if (watch) ++i;
  if (at(i) == "namespaces" && parts.size() > i + 2 && at(i + 2) != "status" && at(i + 2) != "finalize") {
    route.ns = at(i + 1);
    i += 2;
  }
  route.kind = model::kind_by_path(route.group, route.version, at(i));
  if (route.kind == nullptr || (!route.ns.empty() && !route.kind->namespaced)) {
    route.target = Route::Target::kNone;
    route.unknown_resource = at(i);
    return route;
  }
  route.name = at(i + 1);
  route.subresource = at(i + 2);
  for (size_t n = i + 3; n < parts.size(); ++n) route.rest += "/" + parts[n];
  route.verb = verb_of(request, route.name.empty(), route.subresource.empty());
  if (watch) {
    if (parts.size() > i + 2) route.target = Route::Target::kNone;
    route.verb = request.method == "GET" ? "watch" : "";
  }
  bool needs_namespace = route.kind->namespaced && route.ns.empty() && !route.name.empty();
  const bool stream = has_stream(*route.kind, route.subresource);
  bool known_subresource = route.subresource.empty() || route.kind->has_subresource(route.subresource) || stream;
  if (needs_namespace || !known_subresource) {
    route.target = Route::Target::kNone;
  } else if (stream || route.subresource == "exec") {
    return route;  // judges its methods itself
  } else if (route.subresource.empty() ? !model::served(*route.kind).has_verb(route.verb)
                                       : !subresource_of(*route.kind, route.subresource).has_verb(route.verb)) {
    route.verb.clear();  // the method is not allowed
  } else if (route.kind->namespaced && route.ns.empty() &&
             (route.verb == "create" || route.verb == "deletecollection")) {
    route.verb.clear();  // in one namespace only
  }
  return route;
}

}  // namespace

std::vector<std::string> api_groups() {
  std::vector<std::string> out;
  for (const auto& kind : model::Schema::get().kinds()) {
    if (!kind.resource.empty() && std::find(out.begin(), out.end(), kind.group) == out.end()) out.push_back(kind.group);
  }
  // Where two groups have a resource of one name, clients take the first.
  const auto rank = [](const std::string& group) {
    return group.empty() ? 0 : group == "apps" ? 1 : group == "events.k8s.io" ? 3 : 2;
  };
  std::stable_sort(out.begin(), out.end(), [&](const auto& a, const auto& b) { return rank(a) < rank(b); });
  return out;
}

Route find_route(const http::Request& request) {
  Route route;
  route.verb = request.method;
  for (char& c : route.verb) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  route.rest = request.path;
  auto parsed = http::path_segments(request.raw_path);
  if (!parsed || parsed->empty()) return route;
  const auto& parts = *parsed;
  const auto& first = parts[0];
  if (first == "version" && parts.size() == 1) {
    route.target = Route::Target::kVersion;
  } else if (first == "livez" || first == "readyz" || first == "healthz") {
    route.target = Route::Target::kHealth;
  } else if (first == "openapi") {
    route.target = Route::Target::kOpenApi;
  } else if (first == "api") {
    route.core = true;
    route.version = "v1";
    if (parts.size() == 1) {
      route.target = Route::Target::kRoot;
    } else if (parts[1] == "v1") {
      if (parts.size() == 2) {
        route.target = Route::Target::kResources;
      } else {
        route.rest.clear();
        return resource_route(request, std::move(route), parts, 2);
      }
    }
  } else if (first == "apis") {
    if (parts.size() == 1) {
      route.target = Route::Target::kRoot;
      return route;
    }
    route.group = parts[1];
    auto groups = api_groups();
    if (route.group.empty() || std::find(groups.begin(), groups.end(), route.group) == groups.end()) return route;
    if (parts.size() == 2) {
      route.target = Route::Target::kGroup;
      return route;
    }
    route.version = parts[2];
    bool known = std::any_of(model::Schema::get().kinds().begin(), model::Schema::get().kinds().end(),
                             [&](const model::Kind& k) {
                               return !k.resource.empty() && k.group == route.group && k.version == route.version;
                             });
    if (!known) return route;
    if (parts.size() == 3) {
      route.target = Route::Target::kResources;
    } else {
      route.rest.clear();
      return resource_route(request, std::move(route), parts, 3);
    }
  }
  return route;
}

}  // namespace gantry::apigw

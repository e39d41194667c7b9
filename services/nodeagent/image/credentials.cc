#include "services/nodeagent/image/credentials.h"

#include <fnmatch.h>

#include <nlohmann/json.hpp>

#include "libs/model/base64.h"
#include "schemas/api/core_v1_generated.h"

namespace gantry::nodeagent {

namespace {

namespace core = api::core_v1;
using model::str;

// https://index.docker.io/v1/ -> index.docker.io
std::string key_of(std::string_view server) {
  for (std::string_view scheme : {"https://", "http://"}) {
    if (server.starts_with(scheme)) server.remove_prefix(scheme.size());
  }
  const auto slash = server.find('/');
  auto host = server.substr(0, slash);
  auto path = slash == std::string_view::npos ? std::string_view() : server.substr(slash);
  if (path.starts_with("/v1/") || path.starts_with("/v2/")) path.remove_prefix(3);
  if (path == "/v1" || path == "/v2" || path == "/") path = {};
  while (path.ends_with('/')) path.remove_suffix(1);
  return std::string(host) + std::string(path);
}

struct Host {
  std::string_view name, port, path;
};

Host split(std::string_view text) {
  Host out;
  const auto slash = text.find('/');
  auto host = text.substr(0, slash);
  if (slash != std::string_view::npos) out.path = text.substr(slash + 1);
  const auto colon = host.rfind(':');
  out.name = host.substr(0, colon);
  if (colon != std::string_view::npos) out.port = host.substr(colon + 1);
  return out;
}

bool matches(std::string_view pattern, std::string_view target) {
  const auto want = split(pattern), have = split(target);
  if (want.port != have.port) return false;
  if (std::count(want.name.begin(), want.name.end(), '.') != std::count(have.name.begin(), have.name.end(), '.'))
    return false;
  // A star stands for a part of one label: the dots are counted above, and each label is compared alone.
  auto names = want.name, labels = have.name;
  while (true) {
    const auto a = names.find('.'), b = labels.find('.');
    if (fnmatch(std::string(names.substr(0, a)).c_str(), std::string(labels.substr(0, b)).c_str(), 0) != 0)
      return false;
    if (a == std::string_view::npos) break;
    names.remove_prefix(a + 1);
    labels.remove_prefix(b + 1);
  }
  return want.path.empty() || have.path == want.path ||
         (have.path.starts_with(want.path) && have.path[want.path.size()] == '/');
}

std::string text(const nlohmann::json& entry, const char* name) {
  const auto it = entry.find(name);
  return it != entry.end() && it->is_string() ? it->get<std::string>() : std::string();
}

}  // namespace

Status Credentials::add(std::string_view json, bool legacy) {
  const auto tree = nlohmann::json::parse(json, nullptr, false);
  if (!tree.is_object()) return Error{Code::kInvalid, "registry credentials are no JSON object"};
  const auto auths = legacy ? tree : tree.value("auths", nlohmann::json::object());
  if (!auths.is_object()) return Error{Code::kInvalid, "\"auths\" is no JSON object"};
  for (const auto& [server, entry] : auths.items()) {
    if (!entry.is_object()) continue;
    RegistryAuth auth{text(entry, "username"), text(entry, "password"), server, text(entry, "identitytoken"),
                      text(entry, "registrytoken")};
    std::string decoded;
    size_t bad_at = 0;
    if (model::base64_decode(text(entry, "auth"), decoded, bad_at) && auth.username.empty()) {
      const auto colon = decoded.find(':');
      if (colon != std::string::npos) {
        auth.username = decoded.substr(0, colon);
        auth.password = decoded.substr(colon + 1);
        while (auth.password.ends_with('\0')) auth.password.pop_back();
      }
    }
    if (auth.username.empty() && auth.identity_token.empty() && auth.registry_token.empty()) continue;
    entries_.emplace(key_of(server), std::move(auth));
  }
  return Done{};
}

Status Credentials::add(const model::Object& object) {
  const auto* secret = object.as<core::Secret>();
  if (secret == nullptr || secret->data() == nullptr) return Done{};
  const auto type = str(secret->type());
  const bool legacy = type == "kubernetes.io/dockercfg";
  if (!legacy && type != "kubernetes.io/dockerconfigjson") return Done{};
  const auto* entry = secret->data()->LookupByKey(legacy ? ".dockercfg" : ".dockerconfigjson");
  if (entry == nullptr || entry->value() == nullptr) return Done{};
  return add({reinterpret_cast<const char*>(entry->value()->data()), entry->value()->size()}, legacy);
}

std::vector<RegistryAuth> Credentials::find(const ImageReference& image) const {
  std::vector<RegistryAuth> out;
  const auto target = image.registry + "/" + image.path;
  for (const auto& [key, auth] : entries_) {
    const bool default_registry = image.registry == "docker.io" && (key == "index.docker.io" || key == "docker.io");
    if (default_registry || matches(key, target)) out.push_back(auth);
  }
  return out;
}

}  // namespace gantry::nodeagent

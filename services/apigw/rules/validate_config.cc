#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "libs/model/workload.h"
#include "services/apigw/rules/checks.h"
#include "services/apigw/rules/kinds.h"
#include "services/apigw/rules/rules.h"

namespace gantry::apigw {
namespace {

using model::Object;
using model::str;

constexpr size_t kMaxBytes = 1 << 20;

size_t validate_map(const auto* map, const std::string& at, Problems& problems) {
  size_t bytes = 0;
  if (map == nullptr) return bytes;
  for (const auto* entry : *map) {
    const std::string_view key = str(entry->key());
    problems.check(fmt::format("{}[{}]", at, key), key, check_config_key(key));
    bytes += entry->value() == nullptr ? 0 : entry->value()->size();
  }
  return bytes;
}

bool same_field(const Object& a, const Object& b, std::string_view json_field) {
  model::Draft restored(a);
  restored.copy_field("", json_field, b.root());
  return model::equal(*a.kind().type, restored.build().root(), a.root());
}

void validate_immutable(bool was, bool is, const Object& now, const Object& before,
                        std::initializer_list<const char*> fields, Problems& problems) {
  if (!was) return;
  constexpr const char* kSet = "field is immutable when `immutable` is set";
  if (!is) problems.forbidden("immutable", kSet);
  for (const char* field : fields) {
    if (!same_field(now, before, field)) problems.forbidden(field, kSet);
  }
}

}  // namespace

void validate_configmap(const Object& object, Problems& problems) {
  const auto* map = object.as<api::core_v1::ConfigMap>();
  size_t bytes = validate_map(map->data(), "data", problems);
  bytes += validate_map(map->binary_data(), "binaryData", problems);
  if (map->data() != nullptr && map->binary_data() != nullptr) {
    for (const auto* entry : *map->binary_data()) {
      if (map->data()->LookupByKey(entry->key()->c_str()) != nullptr) {
        problems.invalid(fmt::format("data[{}]", str(entry->key())), str(entry->key()),
                         "duplicate of key present in data");
      }
    }
  }
  if (bytes > kMaxBytes) problems.too_long("", kMaxBytes);
}

void validate_configmap_update(const Object& now, const Object& before, Problems& problems) {
  validate_immutable(before.as<api::core_v1::ConfigMap>()->immutable().value_or(false),
                     now.as<api::core_v1::ConfigMap>()->immutable().value_or(false), now, before,
                     {"data", "binaryData"}, problems);
}

void validate_secret(const Object& object, Problems& problems) {
  const auto* secret = object.as<api::core_v1::Secret>();
  validate_map(secret->string_data(), "stringData", problems);
  if (validate_map(secret->data(), "data", problems) > kMaxBytes) problems.too_long("data", kMaxBytes);
  const auto needs = [&](const char* key) {
    if (secret->data() == nullptr || secret->data()->LookupByKey(key) == nullptr)
      problems.required(fmt::format("data[{}]", key));
  };
  const auto json = [&](const char* key) {
    needs(key);
    const auto* value = secret->data() == nullptr ? nullptr : secret->data()->LookupByKey(key);
    if (value == nullptr || value->value() == nullptr) return;
    if (!nlohmann::json::accept(value->value()->begin(), value->value()->end()))
      problems.invalid(fmt::format("data[{}]", key), "<secret contents redacted>", "invalid character in JSON");
  };
  const std::string_view type = str(secret->type());
  if (type == "kubernetes.io/tls") {
    needs("tls.crt");
    needs("tls.key");
  } else if (type == "kubernetes.io/service-account-token") {
    if (model::annotation(object.meta(), "kubernetes.io/service-account.name").empty())
      problems.required("metadata.annotations[kubernetes.io/service-account.name]");
  } else if (type == "kubernetes.io/dockerconfigjson") {
    json(".dockerconfigjson");
  } else if (type == "kubernetes.io/dockercfg") {
    json(".dockercfg");
  } else if (type == "kubernetes.io/ssh-auth") {
    needs("ssh-privatekey");
  } else if (type == "kubernetes.io/basic-auth") {
    if (secret->data() == nullptr ||
        (secret->data()->LookupByKey("username") == nullptr && secret->data()->LookupByKey("password") == nullptr)) {
      problems.required("data[username]");
      problems.required("data[password]");
    }
  } else if (type == "kubernetes.io/service-account-token") {
    constexpr const char* kAccount = "kubernetes.io/service-account.name";
    const auto* annotations = object.meta() == nullptr ? nullptr : object.meta()->annotations();
    if (str(model::lookup(annotations, kAccount)).empty())
      problems.required(fmt::format("metadata.annotations[{}]", kAccount));
  }
}

void validate_secret_update(const Object& now, const Object& before, Problems& problems) {
  const auto *secret = now.as<api::core_v1::Secret>(), *old = before.as<api::core_v1::Secret>();
  if (str(secret->type()) != str(old->type())) problems.invalid("type", str(secret->type()), kImmutable);
  validate_immutable(old->immutable().value_or(false), secret->immutable().value_or(false), now, before, {"data"},
                     problems);
}

}  // namespace gantry::apigw

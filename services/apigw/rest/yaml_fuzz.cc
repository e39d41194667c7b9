// Any text either fails or is JSON of bounded size, which as YAML means the same again unless a key is too long for
// YAML.
#include <glog/logging.h>

#include <nlohmann/json.hpp>

#include "services/apigw/rest/body.h"

namespace {

// YAML 1.2, 7.4.2: a key without a "?" before it has at most 1,024 characters, as written.
bool has_long_key(const nlohmann::json& tree) {
  constexpr size_t kMaxKey = 1024;
  for (const auto& [key, child] : tree.items()) {
    if ((tree.is_object() && nlohmann::json(key).dump().size() > kMaxKey) ||
        (child.is_structured() && has_long_key(child))) {
      return true;
    }
  }
  return false;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto once = gantry::apigw::yaml_to_json(text);
  if (!once.ok()) return 0;
  CHECK_LE(once->size(), 64 * (64 * 1024 + 2 * size));
  const auto read = nlohmann::json::parse(*once, nullptr, false);
  CHECK(!read.is_discarded()) << *once;
  if (has_long_key(read)) return 0;
  const auto twice = gantry::apigw::yaml_to_json(*once);
  CHECK(twice.ok()) << *once << twice.error().message;
  CHECK_EQ(*twice, *once);
  return 0;
}

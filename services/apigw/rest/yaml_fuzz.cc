// Any text either fails or is JSON of bounded size, which as YAML means the same again.
#include <glog/logging.h>

#include <nlohmann/json.hpp>

#include "services/apigw/rest/body.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto once = gantry::apigw::yaml_to_json(text);
  if (!once.ok()) return 0;
  CHECK_LE(once->size(), 64 * (64 * 1024 + 2 * size));
  const auto read = nlohmann::json::parse(*once, nullptr, false);
  CHECK(!read.is_discarded()) << *once;
  const auto twice = gantry::apigw::yaml_to_json(*once);
  CHECK(twice.ok()) << *once << twice.error().message;
  CHECK_EQ(*twice, *once);
  return 0;
}

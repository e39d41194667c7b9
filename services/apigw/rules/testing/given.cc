#include "services/apigw/rules/testing/given.h"

#include <gtest/gtest.h>

#include "libs/model/json.h"

namespace gantry::apigw::testing {

model::Object given_object(const std::string& resource, nlohmann::json json) {
  const model::Kind& kind = *model::Schema::get().by_resource(resource);
  if (!json["metadata"].contains("name")) json["metadata"]["name"] = "web";
  if (kind.namespaced) json["metadata"]["namespace"] = "default";
  auto bytes = model::from_json(kind, json.dump());
  EXPECT_TRUE(bytes.ok()) << resource << ": " << json.dump() << (bytes.ok() ? "" : bytes.error().message);
  const model::Object given(kind, *bytes);
  model::Draft draft(given);
  set_defaults(draft, given);
  return draft.build();
}

std::vector<std::string> lines(const Problems& problems) {
  std::vector<std::string> out;
  for (const auto& cause : problems.causes()) out.push_back(cause.field + ": " + cause.message);
  return out;
}

}  // namespace gantry::apigw::testing

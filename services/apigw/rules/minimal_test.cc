// The least that each kind asks for: it is accepted as it is, and refused without its required parts.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "libs/model/json.h"
#include "libs/model/served.h"
#include "services/apigw/rules/rules.h"
#include "services/apigw/rules/testing/minimal_objects.h"

namespace gantry::apigw {
namespace {

using ::testing::IsEmpty;
using Json = nlohmann::json;

using testing::minimal_objects;

Problems problems_of(const model::Kind& kind, Json json) {
  if (!json["metadata"].contains("name")) json["metadata"]["name"] = "web";
  if (kind.namespaced) json["metadata"]["namespace"] = "default";
  auto bytes = model::from_json(kind, json.dump());
  EXPECT_TRUE(bytes.ok()) << kind.resource << ": " << (bytes.ok() ? "" : bytes.error().message);
  const model::Object given(kind, *bytes);
  model::Draft draft(given);
  set_defaults(draft, given);
  Problems problems;
  validate(draft.build(), problems);
  return problems;
}

std::vector<std::string> lines(const Problems& problems) {
  std::vector<std::string> out;
  for (const auto& cause : problems.causes()) out.push_back(cause.field + ": " + cause.message);
  return out;
}

TEST(MinimalObjects, AreAccepted) {
  size_t checked = 0;
  for (const auto& kind : model::Schema::get().kinds()) {
    if (kind.resource.empty() || !model::stored(kind) || !model::served(kind).refuses.empty()) continue;
    if (!model::served(kind).has_verb("create")) continue;
    const auto it = minimal_objects().find(kind.resource);
    ASSERT_NE(it, minimal_objects().end()) << kind.resource;
    EXPECT_THAT(lines(problems_of(kind, Json::parse(it->second))), IsEmpty()) << kind.resource;
    ++checked;
  }
  EXPECT_GT(checked, 45u);
}

TEST(MinimalObjects, AskForTheirParts) {
  // What may be empty.
  static constexpr std::string_view kEmpty[] = {"configmaps",
                                                "endpoints",
                                                "namespaces",
                                                "nodes",
                                                "secrets",
                                                "leases",
                                                "serviceaccounts",
                                                "csidrivers",
                                                "events",
                                                "csinodes",
                                                "deviceclasses",
                                                "resourceclaims",
                                                "resourceclaimtemplates",
                                                "networkpolicies",
                                                "poddisruptionbudgets",
                                                "resourcequotas",
                                                "limitranges",
                                                "roles",
                                                "clusterroles",
                                                "priorityclasses"};
  for (const auto& [resource, json] : minimal_objects()) {
    if (std::find(std::begin(kEmpty), std::end(kEmpty), resource) != std::end(kEmpty)) continue;
    const auto& kind = *model::Schema::get().by_resource(resource);
    EXPECT_FALSE(problems_of(kind, Json::object()).empty()) << resource;
  }
}

TEST(MinimalObjects, ASigningRequestIsParsed) {
  const auto& kind = *model::Schema::get().by_resource("certificatesigningrequests");
  const Json csr = {{"spec", {{"signerName", "acme.io/x"}, {"usages", {"client auth"}}, {"request", "YWJj"}}}};
  const auto found = lines(problems_of(kind, csr));
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0], "spec.request: Invalid value: \"abc\": PEM block type must be CERTIFICATE REQUEST");
}

}  // namespace
}  // namespace gantry::apigw

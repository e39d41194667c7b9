// The least that each kind asks for: it is accepted as it is, and refused without its required parts.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "libs/model/json.h"
#include "libs/model/served.h"
#include "services/apigw/rules/rules.h"
#include "services/apigw/rules/testing/given.h"
#include "services/apigw/rules/testing/minimal_objects.h"

namespace gantry::apigw {
namespace {

using ::testing::IsEmpty;
using Json = nlohmann::json;

using testing::lines;
using testing::minimal_objects;

Problems problems_of(const model::Kind& kind, Json json) {
  Problems problems;
  validate(testing::given_object(kind.resource, std::move(json)), problems);
  return problems;
}

TEST(MinimalObjects, AreAccepted) {
  size_t checked = 0;
  for (const auto& kind : model::Schema::get().kinds()) {
    if (kind.resource.empty() || !model::stored(kind) || !model::served(kind).has_verb("create")) continue;
    const auto it = minimal_objects().find(kind.resource);
    if (it == minimal_objects().end() && !model::served(kind).refuses.empty()) continue;
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

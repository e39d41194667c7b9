#include "services/nodeagent/agent/reference_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "libs/base/testing/manual_loop.h"
#include "schemas/api/authentication_v1_generated.h"
#include "services/nodeagent/agent/testing/fake_api.h"

namespace gantry::nodeagent {
namespace {

using std::chrono::seconds;

class TokensTest : public ::testing::Test {
 protected:
  void SetUp() override {
    api_.token_seconds = 600;
    bool done = false;
    store_.ensure("default", {{kTokens, name_}}, [&](Status s) { done = s.ok(); });
    loop_.drain();
    ASSERT_TRUE(done);
  }
  std::string token() {
    const auto found = store_.find(kTokens, "default", name_);
    return found ? std::string(model::str(found.as<api::authentication_v1::TokenRequest>()->status()->token())) : "";
  }

  testing::ManualLoop loop_;
  testing::FakeApi api_{loop_};
  std::vector<std::string> changed_;
  ReferenceStore store_{loop_, api_, [this](const auto& resource, const auto&, const auto& name) {
                          changed_.push_back(resource + " " + name);
                        }};
  const std::string name_ =
      TokenName{.account = "robot", .pod = "p", .pod_uid = "u", .seconds = 600, .audience = "vault/a"}.encode();
};

TEST_F(TokensTest, AreAskedForAPodAndAnAudience) {
  EXPECT_EQ(token(), "token-1");
  const auto& asked = api_.commands.back();
  EXPECT_EQ(asked.name, "robot");
  EXPECT_EQ(
      asked.json,
      R"({"spec":{"audiences":["vault/a"],"boundObjectRef":{"apiVersion":"v1","kind":"Pod","name":"p","uid":"u"},)"
      R"("expirationSeconds":600}})");
}

TEST_F(TokensTest, AreRenewedWellBeforeTheyEnd) {
  loop_.advance(seconds(479));
  EXPECT_EQ(token(), "token-1");
  loop_.advance(seconds(2));
  EXPECT_EQ(token(), "token-2");
  EXPECT_THAT(changed_, ::testing::ElementsAre(std::string(kTokens) + " " + name_));
  // A gateway that is away is asked again; what is there stays good meanwhile.
  for (int i = 0; i < 3; ++i) api_.fail_next(bus::Verb::Create, "serviceaccounts", {Code::kUnavailable, "away"});
  loop_.advance(seconds(483));
  EXPECT_EQ(token(), "token-2");
  loop_.advance(seconds(5));
  EXPECT_EQ(token(), "token-3");
}

TEST_F(TokensTest, AreForgottenWithTheirPod) {
  store_.trim([](const auto&, const auto&, const auto&) { return false; });
  const size_t asked = api_.commands.size();
  loop_.advance(seconds(3600));
  EXPECT_EQ(api_.commands.size(), asked);
  EXPECT_EQ(token(), "");
}

}  // namespace
}  // namespace gantry::nodeagent

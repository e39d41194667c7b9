// Images from a real registry, with and without a password.
#include <nlohmann/json.hpp>

#include "libs/model/base64.h"
#include "services/nodeagent/cri/testing/agent_story.h"
#include "services/nodeagent/cri/testing/registry.h"

namespace gantry::nodeagent {
namespace {

using ::testing::HasSubstr;

class RegistryTest : public NodeAgentTest {
 protected:
  void push(const testing::Registry& registry, const std::string& image) {
    ASSERT_NE(containerd_->ctr(fmt::format("-n k8s.io images tag --force gantry.local/busybox:1 {}", image)), "");
    ASSERT_NE(containerd_->ctr(fmt::format("-n k8s.io images push --plain-http --user {}:{} {}",
                                           testing::Registry::kUser, testing::Registry::kPassword, image)),
              "");
    ASSERT_NE(containerd_->ctr(fmt::format("-n k8s.io images rm {}", image)), "");
  }
  void pod(const std::string& name, const std::string& image, const std::string& secrets = "[]") {
    put(name,
        fmt::format(
            R"({{"terminationGracePeriodSeconds":0,"imagePullSecrets":{},"containers":[{{"name":"main","image":"{}",
        "command":["sleep","1000"]}}]}})",
            secrets, image));
  }
  void secret(const std::string& name, const std::string& server, const std::string& password) {
    std::string encoded;
    model::base64_encode(fmt::format(R"({{"auths":{{"{}":{{"username":"{}","password":"{}"}}}}}})", server,
                                     testing::Registry::kUser, password),
                         encoded);
    api_.put("secrets",
             fmt::format(R"({{"metadata":{{"name":"{}","namespace":"default"}},"type":"kubernetes.io/dockerconfigjson",
        "data":{{".dockerconfigjson":"{}"}}}})",
                         name, encoded));
  }
};

TEST_F(RegistryTest, OpenAndByDigest) {
  auto registry = testing::Registry::start(false);
  ASSERT_TRUE(registry.ok()) << registry.error().message;
  const auto image = (*registry)->address() + "/team/open";
  push(**registry, image + ":1");
  pod("tagged", image + ":1");
  ASSERT_TRUE(ready("tagged")) << status("tagged");
  // What the status says it runs is what pins it.
  const auto shown = nlohmann::json::parse(status("tagged"));
  const std::string pinned = shown["containerStatuses"][0]["imageID"];
  EXPECT_THAT(pinned, HasSubstr("sha256:"));
  pod("digest", image + pinned.substr(pinned.find('@')));
  EXPECT_TRUE(ready("digest")) << status("digest");
}

TEST_F(RegistryTest, ThePasswordIsOfTheSecret) {
  auto registry = testing::Registry::start(true);
  ASSERT_TRUE(registry.ok()) << registry.error().message;
  const auto image = (*registry)->address() + "/private:1";
  push(**registry, image);
  secret("wrong", (*registry)->address(), "guess");
  secret("right", "http://" + (*registry)->address() + "/v2/", testing::Registry::kPassword);
  pod("stranger", image);
  pod("guess", image, R"([{"name":"wrong"}])");
  EXPECT_TRUE(until([&] { return status("stranger").find("ErrImagePull") != std::string::npos; }))
      << status("stranger");
  EXPECT_TRUE(until([&] { return status("guess").find("ErrImagePull") != std::string::npos; })) << status("guess");
  EXPECT_THAT(status("guess"), HasSubstr("failed to resolve reference"));
  pod("known", image, R"([{"name":"not-there"},{"name":"wrong"},{"name":"right"}])");
  EXPECT_TRUE(ready("known")) << status("known");
}

}  // namespace
}  // namespace gantry::nodeagent

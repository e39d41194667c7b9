#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "libs/base/testing/manual_loop.h"
#include "services/nodeagent/image/garbage.h"
#include "services/nodeagent/image/puller.h"
#include "services/nodeagent/runtime/testing/fake_runtime.h"

namespace gantry::nodeagent {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string full(const char* text) {
  auto parsed = parse_image(text);
  return parsed.ok() ? parsed->full() : parsed.error().message;
}

TEST(ImageReference, DefaultsAreFilledIn) {
  EXPECT_EQ(full("busybox"), "docker.io/library/busybox:latest");
  EXPECT_EQ(full("a/b:1"), "docker.io/a/b:1");
  EXPECT_EQ(full("localhost/x"), "localhost/x:latest");
  EXPECT_EQ(full("127.0.0.1:5000/a/b:v1"), "127.0.0.1:5000/a/b:v1");
  const auto digest = "r.io/x@sha256:" + std::string(64, 'a');
  EXPECT_EQ(full(digest.c_str()), digest);
  EXPECT_EQ(full("foo__bar/a--b:x_Y.1-"), "docker.io/foo__bar/a--b:x_Y.1-");
}

TEST(ImageReference, WhatIsNoName) {
  for (const char* text : {"", "a b", "a:", ":1", "a//b", "-a", "a_", "a/b:1:2@x", "a@sha256:12", "a___b", "http://a"})
    EXPECT_EQ(full(text), "invalid reference format") << text;
  EXPECT_EQ(full("BusyBox"), "invalid reference format: repository name must be lowercase");
  EXPECT_THAT(full(std::string(64, 'a').c_str()), HasSubstr("64-byte hexadecimal"));
}

std::vector<std::string> users(const Credentials& credentials, const char* image) {
  std::vector<std::string> out;
  for (const auto& auth : credentials.find(*parse_image(image))) out.push_back(auth.username + ":" + auth.password);
  return out;
}

TEST(Credentials, TheMostSpecificFirst) {
  Credentials c;
  ASSERT_TRUE(
      c.add(
           R"({"auths":{"https://r.io/v1/":{"auth":"dTpw"},"r.io/team":{"username":"t","password":"q"},"*.r.io":{"username":"star","password":"s"},
      "r.io:5000":{"username":"port","password":"x"},"https://index.docker.io/v1/":{"username":"hub","password":"h"},"bad":{"auth":"?"},"worse":7}})",
           false)
          .ok());
  EXPECT_THAT(users(c, "r.io/team/app"), ElementsAre("t:q", "u:p"));
  EXPECT_THAT(users(c, "r.io/teams/app"), ElementsAre("u:p"));
  EXPECT_THAT(users(c, "eu.r.io/x"), ElementsAre("star:s"));
  EXPECT_THAT(users(c, "a.eu.r.io/x"), ElementsAre());
  EXPECT_THAT(users(c, "r.io:5000/x"), ElementsAre("port:x"));
  EXPECT_THAT(users(c, "busybox"), ElementsAre("hub:h"));
  EXPECT_FALSE(c.add("[]", false).ok());
  Credentials old;
  ASSERT_TRUE(old.add(R"({"r.io":{"username":"o","password":"l"}})", true).ok());
  EXPECT_THAT(users(old, "r.io/x"), ElementsAre("o:l"));
}

class PullerTest : public ::testing::Test {
 protected:
  void ask(const std::string& image, const std::string& policy, Credentials credentials = {}) {
    ImagePuller::Request request;
    request.image = image;
    request.policy = policy;
    request.credentials = std::move(credentials);
    request.record = [this](bool, const std::string& reason, const std::string& message) {
      events_.push_back(reason + ": " + message);
    };
    puller_.ensure(std::move(request),
                   [this](ImagePuller::Outcome outcome) { outcomes_.push_back(std::move(outcome)); });
    loop_.drain();
  }
  testing::ManualLoop loop_;
  testing::FakeRuntime runtime_{loop_};
  ImagePuller puller_{loop_, runtime_, 2};
  std::vector<std::string> events_;
  std::vector<ImagePuller::Outcome> outcomes_;
};

TEST_F(PullerTest, ByPolicy) {
  runtime_.only_images({"here:1"});
  Image known;
  known.id = "sha256:1";
  known.size = 77;
  runtime_.describe_image("here:1", known);
  ask("here:1", "IfNotPresent");
  EXPECT_TRUE(outcomes_[0].ok());
  EXPECT_EQ(outcomes_[0].image.size, 77U);
  ask("gone:1", "Never");
  EXPECT_EQ(outcomes_[1].reason, "ErrImageNeverPull");
  EXPECT_EQ(outcomes_[1].error.message, "Container image \"gone:1\" is not present with pull policy of Never");
  ask("here:1", "Always");
  ask("Bad//Name", "IfNotPresent");
  EXPECT_EQ(outcomes_[3].reason, "InvalidImageName");
  EXPECT_EQ(outcomes_[3].error.message,
            "Failed to apply default image tag \"Bad//Name\": couldn't parse image name \"Bad//Name\": invalid "
            "reference format");
  EXPECT_THAT(runtime_.calls, ElementsAre("pull_image here:1"));
  EXPECT_THAT(events_,
              ElementsAre("Pulled: Container image \"here:1\" already present on machine",
                          HasSubstr("ErrImageNeverPull"), "Pulling: Pulling image \"here:1\"",
                          HasSubstr("Successfully pulled image \"here:1\" in 0ms (0ms including waiting). Image size:"),
                          HasSubstr("InspectFailed")));
}

TEST_F(PullerTest, EveryCredentialIsTried) {
  runtime_.only_images({});
  runtime_.fail_next("pull_image", {Code::kInternal, "401"});
  Credentials credentials;
  ASSERT_TRUE(
      credentials
          .add(R"({"auths":{"r.io/a":{"username":"1","password":"x"},"r.io":{"username":"2","password":"y"}}})", false)
          .ok());
  ask("r.io/a/b:1", "IfNotPresent", credentials);
  EXPECT_TRUE(outcomes_[0].ok());
  ASSERT_EQ(runtime_.auths.size(), 2U);
  EXPECT_EQ(runtime_.auths[0].username, "1");
  EXPECT_EQ(runtime_.auths[1].username, "2");
  runtime_.fail_next("pull_image", {Code::kInternal, "no such host"});
  ask("x.io/b:1", "IfNotPresent");
  EXPECT_EQ(outcomes_[1].reason, "ErrImagePull");
  EXPECT_EQ(outcomes_[1].error.message, "no such host");
}

TEST_F(PullerTest, NoMoreAtOnceThanAllowed) {
  runtime_.only_images({});
  runtime_.hold("pull_image");
  for (const char* image : {"a:1", "b:1", "c:1"}) ask(image, "IfNotPresent");
  EXPECT_EQ(puller_.pulling(), 2U);
  EXPECT_EQ(puller_.waiting(), 1U);
  loop_.advance(std::chrono::milliseconds(1'500));
  EXPECT_EQ(outcomes_.size(), 0U);
  runtime_.release("pull_image");
  loop_.drain();
  EXPECT_EQ(outcomes_.size(), 3U);
  EXPECT_THAT(events_.back(), HasSubstr("in 0ms (1.5s including waiting)"));
}

Image image(const char* id, uint64_t size, bool pinned = false) {
  Image out;
  out.id = id;
  out.tags = {std::string(id) + ":1"};
  out.size = size;
  out.pinned = pinned;
  return out;
}

TEST(ImageAges, LongestUnusedFirstNeverThoseInUse) {
  constexpr WallMicros kMinute = 60'000'000;
  const std::vector<Image> all = {image("a", 10), image("b", 10), image("c", 10), image("pause", 1, true)};
  ImageAges ages;
  ages.see(all, {"a:1"}, kMinute);
  ages.see(all, {"b"}, 2 * kMinute);
  ages.see(all, {"c:1"}, 3 * kMinute);
  const auto age = std::chrono::minutes(2);
  EXPECT_THAT(ages.unused(all, 100, age, 3 * kMinute), ElementsAre("a", "b"));
  EXPECT_THAT(ages.unused(all, 10, age, 3 * kMinute), ElementsAre("a")) << "no more than is needed";
  EXPECT_THAT(ages.unused(all, 100, age, 2 * kMinute), ElementsAre()) << "too young";
}

TEST(ImageAges, MarksOfTheDisk) {
  ImageGcOptions options;
  EXPECT_EQ(bytes_to_free(1000, 200, options), 0U);
  EXPECT_EQ(bytes_to_free(1000, 100, options), 100U);
  EXPECT_EQ(bytes_to_free(0, 0, options), 0U);
}

}  // namespace
}  // namespace gantry::nodeagent

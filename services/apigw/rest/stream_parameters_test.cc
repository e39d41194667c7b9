// The operations that carry streams instead of objects (log, exec, attach, portforward, proxy) and every query
// parameter of them: each reaches the node as it was said.
#include <gmock/gmock.h>

#include <set>

#include "libs/bus/session.h"
#include "services/apigw/rest/testing/operations.h"
#include "services/apigw/rest/testing/rest_fixture.h"

namespace gantry::apigw {
namespace {

using bus::SessionRequest;
using testing::Operation;

class StreamParametersTest : public RestTest {
 protected:
  struct Side {
    SessionRequest request;
    std::string data;
    std::unique_ptr<bus::Session> session;
  };

  void SetUp() override {
    RestTest::SetUp();
    const json container{{"name", "a"}, {"image", "i"}, {"stdin", true}, {"tty", true}},
        side{{"name", "b"}, {"image", "i"}};
    const std::string pods = "/api/v1/namespaces/default/pods",
                      slices = "/apis/discovery.k8s.io/v1/namespaces/default/";
    ok("POST", "/api/v1/nodes", {{"metadata", {{"name", "n1"}}}}, 201);
    ok("POST", pods, {{"metadata", {{"name", "x"}}}, {"spec", {{"containers", {container, side}}}}}, 201);
    ok("POST", pods + "/x/binding", {{"metadata", {{"name", "x"}}}, {"target", {{"name", "n1"}}}}, 201);
    call("PATCH", pods + "/x/status", R"({"status":{"phase":"Running","podIP":"10.1.2.3"}})",
         {{"Content-Type", "application/merge-patch+json"}});
    ok("POST", "/api/v1/namespaces/default/services",
       {{"metadata", {{"name", "x"}}}, {"spec", {{"ports", {{{"port", 80}}}}}}}, 201);
    ok("POST", slices + "endpointslices",
       {{"metadata", {{"name", "x"}, {"labels", {{"kubernetes.io/service-name", "x"}}}}},
        {"addressType", "IPv4"},
        {"ports", {{{"port", 80}}}},
        {"endpoints", {{{"addresses", {"10.1.2.3"}}, {"nodeName", "n1"}}}}},
       201);
    acceptor_ = bus::accept_sessions(loop_, *agent_, "n1", [this](bus::SessionAcceptor::Offer offer) {
      auto side = std::make_shared<Side>();
      side->request = offer.request;
      side->session = offer.accept(
          {.data = [side = side.get()](node::Channel, std::string_view bytes, bool) { side->data += bytes; },
           .closed = [](const bus::SessionEnd&) {},
           .writable = [] {}});
      sides_.push_back(std::move(side));
    });
  }
  void TearDown() override {
    RestTest::TearDown();
    sides_.clear();
    loop_.advance(seconds(40));
  }

  static std::string target(const Operation& op) {
    std::string out = std::regex_replace(op.path, std::regex("\\{namespace\\}"), "default");
    out = std::regex_replace(out, std::regex("\\{path\\}"), "behind/it");
    return std::regex_replace(out, std::regex("\\{name\\}"), op.path.find("/nodes/") == std::string::npos ? "x" : "n1");
  }
  /// What the node was asked for; null when nothing came.
  std::shared_ptr<Side> asked(const Operation& op, const std::string& query) {
    http::Headers headers;
    const bool upgrade = op.action == "connect" && op.path.find("/proxy") == std::string::npos;
    if (upgrade) {
      const bool ports = op.path.ends_with("/portforward");
      headers = {{"Upgrade", "websocket"},
                 {"Sec-WebSocket-Protocol", ports ? "v4.channel.k8s.io" : "v5.channel.k8s.io"}};
    }
    sides_.clear();
    answer_ = open(op.method, target(op) + (query.empty() ? "" : "?" + query), "", std::move(headers));
    return sides_.empty() ? nullptr : sides_.back();
  }

  std::unique_ptr<gantry::testing::FakeBus> agent_ = network_.connect("node-n1", bus::node_permissions("n1"));
  std::vector<std::shared_ptr<Side>> sides_;
  std::unique_ptr<bus::Subscription> acceptor_;
  std::shared_ptr<http::testing::FakeResponder> answer_;
};

/// A query and what the node must have been asked then; without it, it must not.
struct Proof {
  const char* query;
  bool (*heard)(const SessionRequest& request);
  const char* without = "";
};

const std::map<std::string, Proof>& proofs() {
  static const std::map<std::string, Proof> all{
      {"log container", {"container=b", [](const SessionRequest& r) { return r.container == "b"; }, "container=a"}},
      {"log follow", {"container=a&follow=true", [](const SessionRequest& r) { return r.follow; }, "container=a"}},
      {"log previous",
       {"container=a&previous=true", [](const SessionRequest& r) { return r.previous; }, "container=a"}},
      {"log timestamps",
       {"container=a&timestamps=true", [](const SessionRequest& r) { return r.timestamps; }, "container=a"}},
      {"log limitBytes",
       {"container=a&limitBytes=7", [](const SessionRequest& r) { return r.limit_bytes == 7; }, "container=a"}},
      {"log sinceSeconds",
       {"container=a&sinceSeconds=7", [](const SessionRequest& r) { return r.since_seconds == 7; }, "container=a"}},
      {"log tailLines",
       {"container=a&tailLines=7", [](const SessionRequest& r) { return r.tail_lines == 7; }, "container=a"}},
      {"exec command",
       {"command=ls&command=-l&stdout=true&container=a",
        [](const SessionRequest& r) {
          return r.command == std::vector<std::string>{"ls", "-l"};
        },
        "command=ls&stdout=true&container=a"}},
      {"exec container",
       {"command=ls&stdout=true&container=b", [](const SessionRequest& r) { return r.container == "b"; },
        "command=ls&stdout=true&container=a"}},
      {"exec stdin",
       {"command=ls&stdout=true&stdin=true&container=a", [](const SessionRequest& r) { return r.in; },
        "command=ls&stdout=true&container=a"}},
      {"exec stdout",
       {"command=ls&stdin=true&stdout=true&container=a", [](const SessionRequest& r) { return r.out; },
        "command=ls&stdin=true&stdout=false&stderr=true&container=a"}},
      {"exec stderr",
       {"command=ls&stdin=true&stderr=true&container=a", [](const SessionRequest& r) { return r.err; },
        "command=ls&stdin=true&stdout=true&stderr=false&container=a"}},
      {"exec tty",
       {"command=ls&stdin=true&stdout=true&tty=true&container=a", [](const SessionRequest& r) { return r.tty; },
        "command=ls&stdin=true&stdout=true&container=a"}},
      {"attach container",
       {"stdout=true&container=b", [](const SessionRequest& r) { return r.container == "b"; },
        "stdout=true&container=a"}},
      {"attach stdin",
       {"stdout=true&stdin=true&container=a", [](const SessionRequest& r) { return r.in; }, "stdout=true&container=a"}},
      {"attach stdout",
       {"stdin=true&stdout=true&container=a", [](const SessionRequest& r) { return r.out; },
        "stdin=true&stdout=false&stderr=true&container=a"}},
      {"attach stderr",
       {"stdin=true&stderr=true&container=a", [](const SessionRequest& r) { return r.err; },
        "stdin=true&stdout=true&stderr=false&container=a"}},
      {"attach tty",
       {"stdin=true&stdout=true&tty=true&container=a", [](const SessionRequest& r) { return r.tty; },
        "stdin=true&stdout=true&container=a"}},
      {"portforward ports", {"ports=8080", [](const SessionRequest& r) { return r.port == 8080; }, "ports=80"}},
  };
  return all;
}

TEST_F(StreamParametersTest, ReachTheNode) {
  const auto all = testing::reference_operations();
  if (all.empty()) GTEST_SKIP() << "no fact tables";
  size_t proved = 0;
  for (const auto& op : all) {
    const bool log = op.path.ends_with("/log"), proxy = op.path.find("/proxy") != std::string::npos;
    if ((!log && op.action != "connect") || op.method == "OPTIONS") continue;
    SCOPED_TRACE(op.method + " " + op.path);
    ++proved;
    if (proxy) {
      const bool bare = op.path.ends_with("/proxy");
      const auto heard = asked(op, bare ? "path=a%2Fb%20c" : "x=1");
      ASSERT_NE(heard, nullptr) << answer_->body;
      EXPECT_THAT(heard->data, ::testing::StartsWith(op.method + (bare ? " /a/b%20c?path=" : " /behind/it?x=1 ")));
      continue;
    }
    for (const auto& parameter : op.parameter_list()) {
      if (log && parameter == "insecureSkipTLSVerifyBackend") {  // there is no TLS to the node that it could weaken
        EXPECT_NE(asked(op, "container=a&insecureSkipTLSVerifyBackend=true"), nullptr) << answer_->body;
        continue;
      }
      if (log && parameter == "stream") {  // both, or a refusal: no log says less than was asked for
        EXPECT_NE(asked(op, "container=a&stream=All"), nullptr) << answer_->body;
        EXPECT_EQ(asked(op, "container=a&stream=Stdout"), nullptr);
        EXPECT_EQ(answer_->status, 422) << answer_->body;
        continue;
      }
      const auto proof = proofs().find(op.path.substr(op.path.rfind('/') + 1) + " " + parameter);
      if (proof == proofs().end()) {
        ADD_FAILURE() << "no proof of parameter " << parameter;
        continue;
      }
      const auto heard = asked(op, proof->second.query), other = asked(op, proof->second.without);
      ASSERT_TRUE(heard && other) << parameter << " " << answer_->body;
      EXPECT_TRUE(proof->second.heard(heard->request)) << parameter;
      EXPECT_FALSE(proof->second.heard(other->request)) << parameter;
    }
  }
  EXPECT_GT(proved, 40u);
}

}  // namespace
}  // namespace gantry::apigw

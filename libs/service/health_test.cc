#include "libs/service/health.h"

#include <gtest/gtest.h>

#include "libs/http/testing/fake_responder.h"

namespace gantry::service {
namespace {

class HealthTest : public ::testing::Test {
 protected:
  int get(const std::string& path, bool verbose = false) {
    http::Request request;
    request.method = "GET";
    request.path = path;
    if (verbose) request.query.add("verbose", "");
    http::testing::FakeResponder responder;
    health_.handle(request, responder);
    body_ = responder.body;
    return responder.status;
  }
  Metrics metrics_;
  Health health_{metrics_};
  std::string body_;
};

TEST_F(HealthTest, ReadyWhenEveryCheckPasses) {
  EXPECT_EQ(get("/readyz"), 200);
  Status state = Error{.message = "no connection"};
  auto redis = health_.add_ready("redis", [&] { return state; });
  auto nats = health_.add_ready("nats", [] { return Done{}; });
  EXPECT_EQ(get("/readyz"), 503);
  EXPECT_EQ(body_, "[-]redis failed: no connection\n[+]nats ok\nreadyz check failed\n");
  EXPECT_EQ(get("/healthz"), 200) << "not ready is not dead";
  EXPECT_EQ(get("/readyz/nats"), 200);
  EXPECT_EQ(get("/readyz/redis"), 503);
  EXPECT_EQ(get("/readyz/other"), 404);
  EXPECT_EQ(health_.not_ready(), std::vector<std::string>{"redis: no connection"});
  state = Done{};
  EXPECT_EQ(get("/readyz"), 200);
  EXPECT_EQ(body_, "ok");
  EXPECT_EQ(get("/readyz", true), 200);
  EXPECT_EQ(body_, "[+]redis ok\n[+]nats ok\nreadyz check passed\n");
  state = Error{.message = "gone"};
  redis.reset();
  EXPECT_EQ(get("/readyz"), 200) << "a check ends with its handle";
}

TEST_F(HealthTest, DrainingIsNotReadyButAlive) {
  health_.set_draining();
  EXPECT_EQ(get("/readyz"), 503);
  EXPECT_EQ(get("/healthz"), 200);
}

TEST_F(HealthTest, LivenessAndMetrics) {
  auto stuck = health_.add_live("loop", []() -> Status { return Error{.message = "stuck"}; });
  EXPECT_EQ(get("/healthz"), 503);
  EXPECT_EQ(get("/readyz"), 200);
  metrics_.counter("c", "Cs.").add();
  EXPECT_EQ(get("/metrics"), 200);
  EXPECT_NE(body_.find("c 1\n"), std::string::npos);
  EXPECT_EQ(get("/"), 404);
}

}  // namespace
}  // namespace gantry::service

#include "libs/service/service.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>

#include <CLI/CLI.hpp>

#include "libs/base/testing/manual_loop.h"
#include "libs/bus/testing/fake_bus.h"
#include "libs/http/client.h"

namespace gantry::service {
namespace {

int run(Service& service, std::vector<const char*> words, Service::Start start) {
  words.insert(words.begin(), "gantry-test");
  service.options().nats_url.clear();
  return service.run(static_cast<int>(words.size()), words.data(), std::move(start));
}

TEST(Service, FlagsAndEnvironment) {
  setenv("GANTRY_TEST_PROFILE", "from environment", 1);
  setenv("GANTRY_IDENTITY", "from-environment", 1);
  Service service("test", "A test");
  std::string profile;
  service.flags().add_option("--test-profile", profile, "What");
  int exit_code = run(service, {"--identity", "from-flag"}, [](Service& s) -> Status {
    s.stop();
    return Done{};
  });
  unsetenv("GANTRY_TEST_PROFILE");
  unsetenv("GANTRY_IDENTITY");
  EXPECT_EQ(exit_code, kExitOk);
  EXPECT_EQ(profile, "from environment");
  EXPECT_EQ(service.identity(), "from-flag");
  EXPECT_TRUE(service.instance().starts_with("from-flag-"));
}

TEST(Service, WrongFlagsAreUsageErrors) {
  Service service("test", "A test");
  EXPECT_EQ(run(service, {"--nonsense"}, [](Service&) -> Status { return Done{}; }), kExitUsage);
  Service other("test", "A test");
  EXPECT_EQ(run(other, {"--version"}, [](Service&) -> Status { return Done{}; }), kExitOk);
}

TEST(Service, AFailedStartDrainsAndFails) {
  Service service("test", "A test");
  bool drained = false;
  EXPECT_EQ(run(service, {},
                [&](Service& s) -> Status {
                  s.on_drain("step", [&](auto done) {
                    drained = true;
                    done();
                  });
                  return Error{.message = "no such file"};
                }),
            kExitFailed);
  EXPECT_TRUE(drained);
  Service taken("test", "A test");
  EXPECT_EQ(run(taken, {"--health-listen", "256.1.1.1:1"}, [](Service&) -> Status { return Done{}; }), kExitFailed);
}

TEST(Service, ServesItsHealthAndDrainsOnSigterm) {
  Service service("test", "A test");
  std::vector<std::string> log;
  std::shared_ptr<http::Client> client;
  std::shared_ptr<http::Call> call;
  Timer timer;
  auto part = std::make_shared<int>(7);
  std::weak_ptr<int> weak = part;
  auto get = [&](std::string path, std::function<void(Result<http::Response>)> done) {
    call = client->call({.url = "http://127.0.0.1:" + std::to_string(service.health_port()) + path}, std::move(done));
  };
  int exit_code = run(service, {}, [&](Service& s) -> Status {
    s.keep(std::exchange(part, nullptr));
    s.add_ready("warm", []() -> Status { return Error{.message = "still cold"}; });
    auto step = [&](const char* name) {
      return [&, name](std::function<void()> done) {
        log.push_back(name);
        timer = s.loop().after(std::chrono::milliseconds(1), done);
      };
    };
    s.on_drain("first", step("first"));
    s.on_drain("second", step("second"));
    auto made = http::Client::create(s.loop(), {});
    if (!made) return made.error();
    client = *made;
    get("/readyz", [&](Result<http::Response> ready) {
      log.push_back(ready.ok() ? std::to_string(ready->status) + ready->body.substr(0, 8) : ready.error().message);
      get("/metrics", [&](Result<http::Response> metrics) {
        log.push_back(metrics.ok() && metrics->body.find("gantry_build_info{service=\"test\"") != std::string::npos
                          ? "metrics"
                          : "none");
        raise(SIGTERM);
      });
    });
    return Done{};
  });
  EXPECT_EQ(exit_code, kExitOk);
  EXPECT_EQ(log, (std::vector<std::string>{"503[-]warm ", "metrics", "first", "second"}));
  EXPECT_TRUE(weak.expired()) << "parts end with the run";
}

TEST(Service, ADrainHasADeadlineAndASecondSignalEndsAtOnce) {
  Service slow("test", "A test");
  EXPECT_EQ(run(slow, {"--drain-timeout", "0"},
                [](Service& s) -> Status {
                  s.on_drain("never", [](auto) {});
                  s.stop();
                  return Done{};
                }),
            kExitDrainTimeout);
  Service impatient("test", "A test");
  EXPECT_EQ(run(impatient, {},
                [](Service& s) -> Status {
                  s.on_drain("never", [](auto) { raise(SIGINT); });
                  raise(SIGTERM);
                  return Done{};
                }),
            kExitDrainTimeout);
}

TEST(Service, TheBusIsAReadinessCheckAndIsFlushedLast) {
  gantry::testing::ManualLoop network_loop;
  gantry::testing::FakeNetwork network(network_loop);
  Service service("test", "A test");
  auto endpoint = network.connect("test");
  auto* bus = endpoint.get();
  service.use_bus(std::move(endpoint));
  Timer pump;
  std::vector<std::string> before, after;
  EXPECT_EQ(run(service, {},
                [&](Service& s) -> Status {
                  pump = s.loop().every(std::chrono::milliseconds(1), [&] { network_loop.drain(); });
                  bus->set_connected(false);
                  before = s.health().not_ready();
                  bus->set_connected(true);
                  after = s.health().not_ready();
                  s.stop();
                  return Done{};
                }),
            kExitOk);
  EXPECT_EQ(before.size(), 1u);
  EXPECT_TRUE(after.empty());
}

}  // namespace
}  // namespace gantry::service

// A gateway with its REST side, on a manual loop and a store in memory: requests without sockets.
#pragma once

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "libs/base/testing/manual_loop.h"
#include "libs/bus/testing/fake_bus.h"
#include "libs/http/testing/fake_responder.h"
#include "libs/state/testing/memory_store.h"
#include "services/apigw/rest/rest.h"

namespace gantry::apigw {

class RestTest : public ::testing::Test {
 protected:
  using json = nlohmann::json;
  using seconds = std::chrono::seconds;

  gantry::testing::ManualLoop loop_;
  state::testing::MemoryStore store_{loop_};
  gantry::testing::FakeNetwork network_{loop_};
  std::unique_ptr<gantry::testing::FakeBus> bus_ = network_.connect("apigw");
  ApiConfig config_{.advertise_address = "172.30.0.1:6443"};
  std::unique_ptr<Api> api_ = make_api(loop_, store_, config_);
  Rest rest_{loop_, *api_, *bus_, {"172.30.0.1:6443"}};
  size_t pending_ = 0;    // bytes that clients have not taken when they ask
  Rest* asked_ = &rest_;  // the one that requests go to
  std::vector<std::shared_ptr<http::testing::FakeResponder>> clients_;

  void SetUp() override {
    ASSERT_TRUE(loop_.run_until([&] { return api_->ready(); }, seconds(10)));
  }
  /// The clients leave: a watch or a log lives until its client has gone.
  void TearDown() override {
    for (const auto& client : clients_) client->disconnect();
    loop_.drain();
  }

  /// A request that nothing has been done about yet.
  std::shared_ptr<http::testing::FakeResponder> begin(const std::string& method, const std::string& target,
                                                      std::string body = "", http::Headers headers = {},
                                                      const std::string& user = "kubernetes-admin",
                                                      std::vector<std::string> groups = {"system:masters"}) {
    http::Request request;
    request.method = method;
    request.target = target;
    auto question = target.find('?');
    request.raw_path = target.substr(0, question);
    request.path = *http::percent_decode(request.raw_path);
    if (question != std::string::npos) request.query = *http::Query::parse(target.substr(question + 1));
    if (!body.empty() && !headers.has("Content-Type")) headers.add("Content-Type", "application/json");
    if (headers.has("Upgrade")) {
      request.is_upgrade = true;
      request.upgrade = headers.get("Upgrade");
    }
    request.headers = std::move(headers);
    request.body = std::move(body);
    if (!user.empty())
      request.peer = std::make_shared<http::PeerCertificate>(http::PeerCertificate{user, std::move(groups), "", 0});
    auto responder = std::make_shared<http::testing::FakeResponder>();
    responder->pending = pending_;
    responder->loop = &loop_;
    clients_.push_back(responder);
    asked_->handle(std::move(request), responder);
    return responder;
  }
  std::shared_ptr<http::testing::FakeResponder> open(const std::string& method, const std::string& target,
                                                     std::string body = "", http::Headers headers = {},
                                                     const std::string& user = "kubernetes-admin",
                                                     std::vector<std::string> groups = {"system:masters"}) {
    auto responder = begin(method, target, std::move(body), std::move(headers), user, std::move(groups));
    loop_.drain();
    return responder;
  }
  std::shared_ptr<http::testing::FakeResponder> call(const std::string& method, const std::string& target,
                                                     std::string body = "", http::Headers headers = {}) {
    auto r = open(method, target, std::move(body), std::move(headers));
    loop_.run_until([&] { return r->status != 0; }, seconds(30));
    return r;
  }
  json ok(const std::string& method, const std::string& target, const json& body = nullptr, int status = 200) {
    auto r = call(method, target, body.is_null() ? "" : body.dump());
    EXPECT_EQ(r->status, status) << method << " " << target << ": " << r->body;
    return json::parse(r->body, nullptr, false);
  }
  static json config_map(const std::string& name, const std::string& value = "v") {
    return {{"apiVersion", "v1"},
            {"kind", "ConfigMap"},
            {"metadata", {{"name", name}, {"labels", {{"app", value}}}}},
            {"data", {{"k", value}}}};
  }

  /// The events of a watch in JSON.
  static std::vector<json> lines(const std::string& body) {
    std::vector<json> out;
    for (size_t from = 0; from < body.size();) {
      const auto end = body.find('\n', from);
      out.push_back(json::parse(body.substr(from, end - from)));
      from = end + 1;
    }
    return out;
  }
};

}  // namespace gantry::apigw

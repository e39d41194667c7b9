// A whole request through the gateway: routes, options, bodies in every encoding, patches, selectors, answers. Whatever
// comes, the answer is there, blames the client or none, and is a Status when it refuses. The input: "METHOD target",
// the Content-Type and the Accept header, each ended by a newline, then the body.
#include <glog/logging.h>

#include <nlohmann/json.hpp>

#include "libs/base/testing/manual_loop.h"
#include "libs/bus/testing/fake_bus.h"
#include "libs/http/testing/fake_responder.h"
#include "libs/state/testing/memory_store.h"
#include "services/apigw/rest/rest.h"

namespace gantry::apigw {
namespace {

constexpr const char* kPod = R"({"metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"i"}]}})";
constexpr const char* kDeployment =
    R"({"metadata":{"name":"d"},"spec":{"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},)"
    R"("spec":{"containers":[{"name":"c","image":"i"}]}}}})";

struct Gateway {
  gantry::testing::ManualLoop loop;
  state::testing::MemoryStore store{loop};
  gantry::testing::FakeNetwork network{loop};
  std::unique_ptr<gantry::testing::FakeBus> bus = network.connect("apigw");
  std::unique_ptr<Api> api = make_api(loop, store, {.advertise_address = "172.30.0.1:6443"});
  Rest rest{loop, *api, *bus, {"172.30.0.1:6443"}};

  Gateway() {
    CHECK(loop.run_until([&] { return api->ready(); }, std::chrono::seconds(10)));
    CHECK_EQ(send("POST", "/api/v1/namespaces/default/configmaps", "application/json", "",
                  R"({"metadata":{"name":"m"},"data":{"k":"v"}})")
                 ->status,
             201);
    CHECK_EQ(send("POST", "/api/v1/namespaces/default/pods", "application/json", "", kPod)->status, 201);
    CHECK_EQ(send("POST", "/apis/apps/v1/namespaces/default/deployments", "application/json", "", kDeployment)->status,
             201);
  }

  std::shared_ptr<http::testing::FakeResponder> send(std::string_view method, std::string_view target,
                                                     std::string_view type, std::string_view accept,
                                                     std::string_view body) {
    http::Request request;
    request.method = method;
    request.target = target;
    const auto question = target.find('?');
    request.raw_path = target.substr(0, question);
    auto path = http::percent_decode(request.raw_path);
    auto query = http::Query::parse(question == std::string_view::npos ? "" : target.substr(question + 1));
    if (!path || !query.ok() || !target.starts_with('/')) return nullptr;  // the server refuses these itself
    request.path = std::move(*path);
    request.query = std::move(*query);
    if (!type.empty()) request.headers.add("Content-Type", std::string(type));
    if (!accept.empty()) request.headers.add("Accept", std::string(accept));
    request.body = body;
    static const auto kAdmin =
        std::make_shared<http::PeerCertificate>(http::PeerCertificate{"kubernetes-admin", {"system:masters"}, "", 0});
    request.peer = kAdmin;
    auto responder = std::make_shared<http::testing::FakeResponder>();
    rest.handle(std::move(request), responder);
    loop.run_until([&] { return responder->status != 0; }, std::chrono::seconds(70));
    return responder;
  }
};

void check(const http::testing::FakeResponder& answer, std::string_view input) {
  const int status = answer.status;
  // 503: nothing answers behind a proxy, nor a node here; 504: a revision of the future.
  CHECK(status >= 200 && (status < 500 || status == 503 || status == 504)) << status << " for " << input;
  if (status < 400 || answer.headers.get("Content-Type") != "application/json") return;
  const auto said = nlohmann::json::parse(answer.body, nullptr, false);
  CHECK(said.is_object() && said.value("kind", "") == "Status" && said.value("code", 0) == status)
      << answer.body << " for " << input;
}

}  // namespace
}  // namespace gantry::apigw

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  std::string_view rest = input, line[3];
  for (auto& one : line) {
    const size_t end = rest.find('\n');
    if (end == std::string_view::npos) return 0;
    one = rest.substr(0, end);
    rest.remove_prefix(end + 1);
  }
  const size_t space = line[0].find(' ');
  if (space == std::string_view::npos) return 0;
  // Starting one takes as long as hundreds of requests. What one input leaves behind, the next ones find.
  static std::unique_ptr<gantry::apigw::Gateway> gateway;
  static int served = 0;
  if (served++ % 256 == 0) gateway = std::make_unique<gantry::apigw::Gateway>();
  const auto answer = gateway->send(line[0].substr(0, space), line[0].substr(space + 1), line[1], line[2], rest);
  if (!answer) return 0;
  gantry::apigw::check(*answer, input);
  answer->disconnect();
  gateway->loop.drain();
  return 0;
}

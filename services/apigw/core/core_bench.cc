// What the core costs apart from the store: one pod created and bound, a get, a list, an event to watchers.
#include <benchmark/benchmark.h>

#include "libs/model/json.h"
#include "services/apigw/core/testing/test_gateway.h"

namespace gantry::apigw::testing {
namespace {

void create_and_bind(benchmark::State& state) {
  TestGateway g;
  const std::string body = TestGateway::pod("x").dump();
  const auto& kind = *model::Schema::get().by_resource("pods");
  int i = 0;
  for (auto _ : state) {
    auto pod = TestGateway::pod("");
    const std::string name = fmt::format("p{}", i++);
    pod["metadata"]["name"] = name;
    const auto bytes = model::from_json(kind, pod.dump());
    g.api->handle(g.admin, {.verb = bus::Verb::Create, .resource = "pods", .ns = "default", .object = *bytes},
                  [](Result<Answer>) {});
    g.loop.drain();
    g.api->handle(g.admin, {.verb = bus::Verb::Bind, .resource = "pods", .ns = "default", .name = name, .node = "n1"},
                  [](Result<Answer>) {});
    g.loop.drain();
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(create_and_bind)->Iterations(20000);

void bind(benchmark::State& state) {
  TestGateway g;
  const int n = 20000;
  for (int i = 0; i < n; ++i) (void)g.create("pods", "default", TestGateway::pod(fmt::format("p{}", i)));
  int i = 0;
  for (auto _ : state) {
    g.api->handle(
        g.admin,
        {.verb = bus::Verb::Bind, .resource = "pods", .ns = "default", .name = fmt::format("p{}", i++), .node = "n1"},
        [](Result<Answer>) {});
    g.loop.drain();
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(bind)->Iterations(20000);

void get(benchmark::State& state) {
  TestGateway g;
  (void)g.create("pods", "default", TestGateway::pod("p"));
  for (auto _ : state) {
    g.api->handle(g.admin, {.verb = bus::Verb::Get, .resource = "pods", .ns = "default", .name = "p"},
                  [](Result<Answer>) {});
    g.loop.drain();
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(get);

}  // namespace
}  // namespace gantry::apigw::testing

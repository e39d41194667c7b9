// Decisions per second on a large cluster, without commands: `gantry_scheduler_core_bench`.
#include <benchmark/benchmark.h>

#include "libs/model/json.h"
#include "libs/model/schema.h"
#include "services/scheduler/choose.h"

namespace gantry::scheduler {
namespace {

void decide(benchmark::State& state) {
  const auto& schema = model::Schema::get();
  const model::Kind &nodes = *schema.by_resource("nodes"), &pods = *schema.by_resource("pods");
  Cluster cluster;
  for (int i = 0; i < state.range(0); ++i) {
    auto bytes = model::from_json(
        nodes,
        fmt::format(
            R"({{"metadata":{{"name":"n{}"}},"status":{{"allocatable":{{"cpu":"32","memory":"64Gi","pods":"110"}}}}}})",
            i));
    cluster.set_node(model::Object(nodes, *bytes, 1));
  }
  auto bytes = model::from_json(
      pods,
      R"({"metadata":{"name":"p","namespace":"d","ownerReferences":[{"kind":"ReplicaSet","name":"r","uid":"u","apiVersion":"apps/v1","controller":true}]},
      "spec":{"containers":[{"name":"c","resources":{"requests":{"cpu":"10m","memory":"10Mi"}}}]}})");
  PodInfo info = describe(model::Object(pods, *bytes, 1));
  size_t cursor = 0;
  int64_t n = 0;
  for (auto _ : state) {
    info.key = fmt::format("d/p{}", n++);
    Choice choice = choose(cluster, info, cursor);
    if (choice.node == nullptr) state.SkipWithError("full");
    cluster.set_pod(info, std::string(choice.node->name));
  }
  state.SetItemsProcessed(n);
}
BENCHMARK(decide)->Arg(100)->Arg(5000)->Iterations(10'000);

}  // namespace
}  // namespace gantry::scheduler

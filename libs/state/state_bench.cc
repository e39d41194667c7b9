// Commits a second with 1 KB objects against a redis-server of its own with appendfsync always: arguments are
// connections and commits in flight.
#include <benchmark/benchmark.h>

#include "libs/base/uv_loop.h"
#include "libs/state/redis_store.h"
#include "libs/state/testing/commits.h"
#include "libs/state/testing/redis_server.h"

namespace gantry::state::testing {
namespace {

void commits(benchmark::State& state) {
  RedisServer server;
  UvLoop loop;
  RedisOptions options{.address = server.address()};
  options.connections = static_cast<size_t>(state.range(0));
  RedisStore store(loop, options);
  while (!store.ready()) loop.run_once();

  constexpr int kKeys = 2'000;
  const int64_t depth = state.range(1);
  int64_t in_flight = 0, failed = 0;
  uint64_t number = 0;
  for (auto _ : state) {
    for (; in_flight < depth; ++in_flight, ++number) {
      Key key{"pods", "default", "web-" + std::to_string(number % kKeys)};
      store.commit({"cmd-" + std::to_string(number), {}, {put(key, std::string(1024, 'x'))}},
                   [&](Result<Committed> result) {
                     --in_flight;
                     failed += !result.ok();
                   });
    }
    while (in_flight == depth) loop.run_once();
  }
  while (in_flight > 0) loop.run_once();
  state.SetItemsProcessed(static_cast<int64_t>(number));
  if (failed > 0) state.SkipWithError("commits failed");
}

BENCHMARK(commits)->Args({1, 16})->Args({1, 128})->Args({8, 128})->Args({8, 512})->UseRealTime()->MinTime(2.0);

}  // namespace
}  // namespace gantry::state::testing

// Rates of the bus on a real nats-server (started here), one loop: requests with their replies, publishes with their
// deliveries, commands in batches. Everything, both ends included, shares the thread; the server takes another.
#include <benchmark/benchmark.h>

#include "libs/bus/command.h"
#include "libs/bus/testing/nats_server.h"

namespace gantry::bus {
namespace {

struct Fixture {
  explicit Fixture(bool tls)
      : server({.tls = tls}), apigw(loop, server.options("apigw")), client(loop, server.options("controllers")) {
    while (!apigw.connected() || !client.connected()) loop.run_once();
  }
  void settle() {
    for (auto* bus : {&client, &apigw}) {
      bool done = false;
      bus->flush([&](Status) { done = true; });
      while (!done) loop.run_once();
    }
  }
  UvLoop loop;
  testing::NatsServer server;
  NatsBus apigw, client;
};

void BM_RequestReply(benchmark::State& state) {
  Fixture f(state.range(1) != 0);
  auto echo = f.apigw.subscribe("gantry.cmd.controllers.get", "",
                                [&](const Message& m) { (void)f.apigw.publish(m.reply, m.data); });
  f.settle();
  std::string data(128, 'x');
  for (auto _ : state) {
    int open = 0;
    for (int i = 0; i < state.range(0); ++i) {
      ++open;
      f.client.request("gantry.cmd.controllers.get", data, std::chrono::seconds(10),
                       [&](Result<std::string>) { --open; });
    }
    while (open > 0) f.loop.run_once();
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_RequestReply)->ArgNames({"concurrency", "tls"})->Args({1, 1})->Args({64, 0})->Args({64, 1})->UseRealTime();

void BM_Publish(benchmark::State& state) {
  Fixture f(state.range(1) != 0);
  int64_t received = 0, sent = 0;
  auto sub = f.client.subscribe("gantry.events.>", "", [&](const Message&) { ++received; });
  f.settle();
  std::string data(static_cast<size_t>(state.range(0)), 'x');
  for (auto _ : state) {
    for (int i = 0; i < 1000; ++i) sent += f.apigw.publish("gantry.events.pods.n1.default.pod", data).ok();
    while (received < sent) f.loop.run_once();
  }
  state.SetItemsProcessed(received);
  state.SetBytesProcessed(received * state.range(0));
}
BENCHMARK(BM_Publish)->ArgNames({"bytes", "tls"})->Args({1024, 0})->Args({1024, 1})->Args({64 << 10, 1})->UseRealTime();

void BM_Commands(benchmark::State& state) {
  Fixture f(true);
  auto server = make_command_server(
      f.loop, f.apigw, [](const std::string&, const Command&, Respond respond) { respond(CommandOutcome{}); });
  auto commands = make_command_client(f.loop, f.client, "controllers");
  f.settle();
  for (auto _ : state) {
    int open = 0;
    for (int i = 0; i < state.range(0); ++i) {
      Command c;
      c.verb = Verb::Create, c.resource = "pods", c.ns = "default", c.name = "pod", c.object = std::string(1024, 'x');
      ++open;
      commands->send(std::move(c), [&](Result<CommandOutcome>) { --open; });
    }
    while (open > 0) f.loop.run_once();
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_Commands)->ArgName("at once")->Arg(1)->Arg(100)->Arg(1000)->UseRealTime();

}  // namespace
}  // namespace gantry::bus

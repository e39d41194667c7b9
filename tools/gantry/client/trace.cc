// What a pod's way from its binding to its readiness took, step by step.
#include <fmt/format.h>

#include "libs/bus/session.h"
#include "libs/model/object.h"
#include "schemas/trace_generated.h"
#include "tools/gantry/client/resources.h"
#include "tools/gantry/client/verbs.h"

namespace gantry::client {
namespace {

using model::str;
using nlohmann::json;

constexpr Duration kTimeout = std::chrono::seconds(30);

const node::PodTrace* read(std::string_view bytes) {
  flatbuffers::Verifier verifier(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  return verifier.VerifyBuffer<node::PodTrace>(nullptr) ? flatbuffers::GetRoot<node::PodTrace>(bytes.data()) : nullptr;
}

void print_json(const node::PodTrace& trace) {
  json phases = json::array();
  if (trace.phases() != nullptr) {
    for (const auto* phase : *trace.phases()) {
      phases.push_back({{"name", str(phase->name())},
                        {"container", str(phase->container())},
                        {"start", phase->start()},
                        {"end", phase->end()}});
    }
  }
  const json out = {{"node", str(trace.node())}, {"namespace", str(trace.namespace_())},
                    {"name", str(trace.name())}, {"uid", str(trace.uid())},
                    {"bound", trace.bound()},    {"seen", trace.seen()},
                    {"ready", trace.ready()},    {"phases", std::move(phases)}};
  fmt::print("{}\n", out.dump());
}

double millis(int64_t micros) { return static_cast<double>(micros) / 1000; }

void print_table(const node::PodTrace& trace) {
  fmt::print("pod {}/{} on {}: ", str(trace.namespace_()), str(trace.name()), str(trace.node()));
  if (trace.ready() == 0) {
    fmt::print("not ready yet\n");
  } else {
    fmt::print("ready {:.1f} ms after the node heard of it\n", millis(trace.ready() - trace.seen()));
  }
  fmt::print("{:<10} {:<24} {:>12} {:>12}\n", "PHASE", "CONTAINER", "AFTER (MS)", "TOOK (MS)");
  if (trace.phases() == nullptr) return;
  for (const auto* phase : *trace.phases()) {
    fmt::print("{:<10} {:<24} {:>12.1f} {:>12}\n", str(phase->name()), str(phase->container()),
               millis(phase->start() - trace.seen()),
               phase->end() == 0 ? "-" : fmt::format("{:.1f}", millis(phase->end() - phase->start())));
  }
}

Status show(const Options& options, std::string_view bytes) {
  const auto* trace = read(bytes);
  if (trace == nullptr) return Error{Code::kInternal, "the node's answer is no trace"};
  options.output == "json" ? print_json(*trace) : print_table(*trace);
  fflush(stdout);
  return Done{};
}

Status follow(const Options& options, Gateway& gateway) {
  const auto subscription = gateway.bus().subscribe("gantry.node.*.up.trace", "", [&](const bus::Message& message) {
    auto shown = show(options, message.data);
    if (!shown.ok()) fmt::print(stderr, "{}\n", shown.error().message);
  });
  gateway.loop().run();
  return Done{};
}

}  // namespace

Status trace(const Options& options) {
  auto gateway = Gateway::connect(options.connect);
  if (!gateway) return gateway.error();
  if (options.follow) return follow(options, **gateway);
  auto pod = parse_pod(options.arguments);
  if (!pod) return pod.error();
  bus::SessionRequest request;
  request.kind = node::SessionKind::Logs;
  request.command = {bus::kTraceCommand};
  request.ns = options.ns;
  request.pod = std::move(*pod);
  std::string bytes;
  std::optional<Status> outcome;
  std::unique_ptr<bus::Session> session;
  bus::Session::Callbacks callbacks;
  callbacks.data = [&](node::Channel, std::string_view data, bool) {
    bytes += data;
    if (session) session->consume(data.size());
  };
  callbacks.closed = [&](const bus::SessionEnd& end) {
    outcome = end.error.empty() ? Status(Done{}) : Error{Code::kUnavailable, end.error};
  };
  callbacks.writable = [] {};
  auto& loop = (*gateway)->loop();
  const auto limit = loop.after(kTimeout, [&] { outcome = Error{Code::kTimeout, "the node did not answer in time"}; });
  bus::open_client_session(loop, (*gateway)->bus(), options.connect.identity, request, std::move(callbacks),
                           [&](Result<std::unique_ptr<bus::Session>> opened) {
                             if (!opened.ok()) {
                               outcome = opened.error();
                             } else {
                               session = std::move(*opened);
                             }
                           });
  while (!outcome) loop.run_once();
  if (!outcome->ok()) return outcome->error();
  return show(options, bytes);
}

}  // namespace gantry::client

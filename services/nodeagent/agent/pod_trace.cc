#include "services/nodeagent/agent/pod_trace.h"

#include "libs/model/object.h"
#include "schemas/trace_generated.h"

namespace gantry::nodeagent {

using model::str;

void PodTrace::begin(const char* phase, std::string container) {
  if (done() || phases_.size() >= kMost) return;
  phases_.push_back({phase, std::move(container), loop_.wall(), 0});
}

void PodTrace::end(const char* phase, std::string_view container) {
  for (auto it = phases_.rbegin(); it != phases_.rend(); ++it) {
    if (it->end != 0 || it->name != phase || it->container != container) continue;
    it->end = loop_.wall();
    return;
  }
}

void PodTrace::ready() {
  if (!done()) ready_ = loop_.wall();
}

std::string PodTrace::encode(std::string_view node, const api::core_v1::Pod& pod) const {
  flatbuffers::FlatBufferBuilder b;
  auto text = [&](std::string_view s) { return b.CreateString(s.data(), s.size()); };
  std::vector<flatbuffers::Offset<node::TracePhase>> phases;
  for (const auto& phase : phases_)
    phases.push_back(node::CreateTracePhase(b, text(phase.name), text(phase.container), phase.start, phase.end));
  int64_t bound = 0;
  if (pod.status() && pod.status()->conditions()) {
    for (const auto* c : *pod.status()->conditions()) {
      if (str(c->type()) == "PodScheduled") bound = c->last_transition_time().value_or(0) * 1'000'000;
    }
  }
  auto meta = pod.metadata();
  b.Finish(node::CreatePodTrace(b, text(node), text(str(meta->namespace_())), text(str(meta->name())),
                                text(str(meta->uid())), bound, seen_, ready_, b.CreateVector(phases)));
  return {reinterpret_cast<const char*>(b.GetBufferPointer()), b.GetSize()};
}

}  // namespace gantry::nodeagent

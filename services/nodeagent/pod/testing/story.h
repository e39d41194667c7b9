// What the tests of the decision share.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "libs/model/json.h"
#include "services/nodeagent/pod/pod_machine.h"

namespace gantry::nodeagent {

constexpr WallMicros kStart = 1'700'000'000'000'000;
constexpr int64_t kSecond = 1'000'000;
constexpr char kWebSpec[] = R"({"containers":[{"name":"web","image":"demo:1"}]})";

// One pod, its runtime and its memory; actions are carried out by hand, as a story.
class PodStory : public ::testing::Test {
 protected:
  void pod(const std::string& spec, const std::string& more_meta = "", const std::string& status = "") {
    auto json = fmt::format(R"({{"metadata":{{"name":"web","namespace":"default","uid":"u1"{}}},"spec":{}{}}})",
                            more_meta, spec, status.empty() ? "" : ",\"status\":" + status);
    const auto& kind = *model::Schema::get().by_resource("pods");
    auto bytes = model::from_json(kind, json);
    ASSERT_TRUE(bytes.ok()) << bytes.error().message;
    object_ = model::Object(kind, std::move(*bytes));
  }

  std::vector<std::string> decide() {
    runtime_.uid = "u1";
    runtime_.ns = "default";
    runtime_.name = "web";
    PodInput input{object_ ? object_.as<core::Pod>() : nullptr, desired_, &runtime_, {"10.0.0.1"}, now_};
    last_ = nodeagent::decide(input, memory_);
    std::vector<std::string> out;
    for (const auto& a : last_.actions) {
      out.push_back(a.key + (a.kind == Action::Kind::kLaunch ? fmt::format("#{}", a.attempt) : "") +
                    (a.kind == Action::Kind::kStopContainer ? fmt::format(" grace={}", a.grace_seconds) : ""));
    }
    return out;
  }
  void finish(const std::string& key) {
    memory_.in_flight.erase(key);
    if (key == "prepare") memory_.prepared = true;
    if (key == "release") memory_.released = true;
    if (key == "cleanup") memory_.cleaned = true;
  }
  void sandbox(const std::string& id, uint32_t attempt = 0) {
    Sandbox s;
    s.id = id;
    s.attempt = attempt;
    s.ready = true;
    s.uid = "u1";
    s.ips = {"10.244.0.7"};
    runtime_.sandboxes.insert(runtime_.sandboxes.begin(), s);
    finish("sandbox");
  }
  Container& launched(const std::string& name, uint32_t attempt = 0, ContainerState state = ContainerState::kRunning) {
    Container c;
    c.id = fmt::format("{}-{}", name, attempt);
    c.name = name;
    c.attempt = attempt;
    c.sandbox_id = runtime_.sandboxes[0].id;
    c.state = state;
    c.started_at = now_ * 1000;
    c.image = "demo:1";
    runtime_.containers.insert(runtime_.containers.begin(), c);
    finish("launch/" + name);
    return runtime_.containers[0];
  }
  void ended(Container& c, int code) {
    c.state = ContainerState::kExited;
    c.exit_code = code;
    c.finished_at = now_ * 1000;
  }
  void running_pod() {
    decide();
    finish("prepare");
    sandbox("s0");
    decide();
    launched("web");
    decide();
  }
  /// The runtime's container of that id.
  Container& at(const std::string& id) {
    for (auto& c : runtime_.containers) {
      if (c.id == id) return c;
    }
    ADD_FAILURE() << "no container " << id;
    return runtime_.containers.at(0);
  }
  const ConditionValue& condition(const std::string& type) {
    for (const auto& c : last_.status.conditions) {
      if (c.type == type) return c;
    }
    static ConditionValue none;
    return none;
  }

  model::Object object_;
  RuntimePod runtime_;
  PodMemory memory_;
  bool desired_ = true;
  WallMicros now_ = kStart;
  Decision last_;
};

}  // namespace gantry::nodeagent

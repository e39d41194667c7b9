// HollowRuntime with what tests want to do to it: let processes end, let calls fail or hang, and see what was asked.
#pragma once

#include <deque>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "services/nodeagent/runtime/hollow_runtime.h"

namespace gantry::testing {

class FakeRuntime final : public nodeagent::HollowRuntime {
 public:
  using HollowRuntime::HollowRuntime;

  /// The next call of this name (run_sandbox, create_container, start_container, pull_image, stop_container, observe)
  /// answers the error.
  void fail_next(const std::string& call, Error error) { failures_[call].push_back(std::move(error)); }
  /// Calls of this name (pull_image, exec_sync, stop_container, usage) are not answered until release().
  void hold(const std::string& call) { held_[call]; }
  void release(const std::string& call) {
    auto going = std::move(held_[call]);
    held_.erase(call);
    for (auto& go : going) go();
  }
  /// Images that are there; others must be pulled.
  void only_images(std::set<std::string> images) { images_ = std::move(images); }
  /// What is known of an image that is there.
  void describe_image(const std::string& name, nodeagent::Image image) { described_[name] = std::move(image); }
  /// The process of the newest container of that name ends.
  void exit(const std::string& uid, const std::string& container, int code);
  /// The sandbox's process is gone, and with it its containers.
  void lose_sandbox(const std::string& uid);
  /// Containers do not end before their grace is over, or until killed.
  void ignore_terminate(bool on) { ignore_terminate_ = on; }
  void disconnect() { events_.disconnected("test"); }
  void reconnect() { events_.connected(); }

  const nodeagent::RuntimePod* pod(const std::string& uid) const;
  /// Of the newest container of that name; null when there is none.
  const nodeagent::Container* newest(const std::string& uid, const std::string& container) const;
  size_t pods() const { return pods_.size(); }
  /// Everything asked that changes something, e.g. "create_container web/0".
  std::vector<std::string> calls;

  void observe(const std::string& pod_uid, Done<nodeagent::RuntimePod> done) override;
  void run_sandbox(const nodeagent::SandboxConfig& config, Done<std::string> done) override;
  void stop_sandbox(const std::string& id, Done<gantry::Done> done) override;
  void remove_sandbox(const std::string& id, Done<gantry::Done> done) override;
  void find_image(const std::string& image, Done<std::optional<nodeagent::Image>> done) override;
  void pull_image(const std::string& image, const nodeagent::SandboxConfig& sandbox,
                  const nodeagent::RegistryAuth* auth, Done<std::string> done) override;
  void list_images(Done<std::vector<nodeagent::Image>> done) override;
  void remove_image(const std::string& id, Done<gantry::Done> done) override;
  void image_filesystem(Done<nodeagent::FsUsage> done) override;
  void status(Done<nodeagent::RuntimeStatus> done) override;
  void update_container(const std::string& id, const nodeagent::Resources& resources, Done<gantry::Done> done) override;
  void usage(Done<std::vector<ContainerUsage>> done) override;
  void create_container(const std::string& sandbox_id, const nodeagent::SandboxConfig& sandbox,
                        const nodeagent::ContainerConfig& config, Done<std::string> done) override;
  void start_container(const std::string& id, Done<gantry::Done> done) override;
  void stop_container(const std::string& id, Duration grace, const std::string& signal,
                      Done<gantry::Done> done) override;
  void hold_image(const std::string& key, const std::string& image,
                  Done<std::vector<nodeagent::FsMount>> done) override;
  void release_image(const std::string& key, Done<gantry::Done> done) override;

  void exec_sync(const std::string& container_id, const std::vector<std::string>& command, Duration timeout,
                 Done<ExecResult> done) override;

  ExecResult exec_result;
  nodeagent::SandboxConfig last_sandbox;
  std::map<std::string, nodeagent::ContainerConfig> last_configs;  // by container name
  std::vector<nodeagent::RegistryAuth> auths;                      // of each pull; anonymous: all empty
  std::map<std::string, nodeagent::Resources> updated;             // by container name
  std::vector<ContainerUsage> uses;
  nodeagent::FsUsage image_fs;
  nodeagent::RuntimeStatus runtime_status{true, "", "fake", "1", {}, false};

 private:
  std::optional<Error> failure(const std::string& call);
  std::map<std::string, std::deque<Error>> failures_;
  /// True when it waits: `go` runs on release().
  bool held(const std::string& call, std::function<void()> go) {
    auto found = held_.find(call);
    if (found != held_.end()) found->second.push_back(std::move(go));
    return found != held_.end();
  }
  std::map<std::string, std::vector<std::function<void()>>> held_;
  std::optional<std::set<std::string>> images_;
  std::map<std::string, nodeagent::Image> described_;
  bool ignore_terminate_ = false;
  std::map<std::string, Timer> kills_;  // by container id
};

}  // namespace gantry::testing

// A runtime without containers: sandboxes and containers are entries in memory that run at once and until they are
// stopped. For `--hollow`, benchmarks and the simulation. Deterministic.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>

#include "services/nodeagent/runtime/runtime.h"

namespace gantry::nodeagent {

/// The open end of a runtime that tests derive from: see testing::FakeRuntime.
class HollowRuntime : public Runtime {
 public:
  explicit HollowRuntime(Loop& loop, std::string node = "hollow") : loop_(loop), node_(std::move(node)) {}

  /// Where pods' addresses come from, e.g. 10.244.3.0/24. Without it pods get 192.0.2.<n>.
  void set_pod_cidr(const std::string& cidr);

  void start(Events events) override;
  void status(Done<RuntimeStatus> done) override;
  void list(Done<std::vector<RuntimePod>> done) override;
  void observe(const std::string& pod_uid, Done<RuntimePod> done) override;
  void run_sandbox(const SandboxConfig& config, Done<std::string> done) override;
  void stop_sandbox(const std::string& id, Done<gantry::Done> done) override;
  void remove_sandbox(const std::string& id, Done<gantry::Done> done) override;
  void find_image(const std::string& image, Done<std::optional<Image>> done) override;
  void pull_image(const std::string& image, const SandboxConfig& sandbox, const RegistryAuth* auth,
                  Done<std::string> done) override;
  void list_images(Done<std::vector<Image>> done) override;
  void remove_image(const std::string& id, Done<gantry::Done> done) override;
  void hold_image(const std::string& key, const std::string& image, Done<std::vector<FsMount>> done) override;
  void release_image(const std::string& key, Done<gantry::Done> done) override;
  void image_filesystem(Done<FsUsage> done) override;
  void create_container(const std::string& sandbox_id, const SandboxConfig& sandbox, const ContainerConfig& config,
                        Done<std::string> done) override;
  void start_container(const std::string& id, Done<gantry::Done> done) override;
  void stop_container(const std::string& id, Duration grace, const std::string& signal,
                      Done<gantry::Done> done) override;
  void remove_container(const std::string& id, Done<gantry::Done> done) override;
  void update_container(const std::string& id, const Resources& resources, Done<gantry::Done> done) override;
  void reopen_log(const std::string& id, Done<gantry::Done> done) override;
  void exec(const std::string& container_id, const ExecOptions& options, Process::Callbacks callbacks,
            Done<std::unique_ptr<Process>> done) override;
  void attach(const std::string& container_id, const ExecOptions& options, Process::Callbacks callbacks,
              Done<std::unique_ptr<Process>> done) override;
  void exec_sync(const std::string& container_id, const std::vector<std::string>& command, Duration timeout,
                 Done<ExecResult> done) override;
  void connect_port(const std::string& sandbox_id, uint16_t port, Done<int> done) override;
  void usage(Done<std::vector<ContainerUsage>> done) override;
  void pod_usage(Done<std::vector<PodUsage>> done) override;

 protected:
  /// The container's process has ended.
  void end(const std::string& id, int exit_code, const std::string& reason);
  /// Calls `done` on a later turn of the loop, unless this is gone by then.
  template <typename T>
  void answer(Done<T> done, Result<T> result) {
    loop_.post([weak = std::weak_ptr<bool>(alive_), done = std::move(done), result = std::move(result)]() mutable {
      if (!weak.expired()) done(std::move(result));
    });
  }
  void changed(const std::string& uid);
  RuntimePod* pod_of_container(const std::string& id);
  Container* container(const std::string& id);

  Loop& loop_;
  std::string node_;
  Events events_;
  std::map<std::string, RuntimePod> pods_;    // by uid
  std::map<std::string, std::string> owner_;  // sandbox or container id -> pod uid
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);

 private:
  std::string new_ip();
  int64_t nanos() const { return loop_.wall() * 1'000; }
  uint64_t next_id_ = 1;
  uint32_t network_ = 0xC0000200, hosts_ = 254, next_host_ = 1;  // 192.0.2.0/24
  std::set<std::string> used_ips_;
};

}  // namespace gantry::nodeagent

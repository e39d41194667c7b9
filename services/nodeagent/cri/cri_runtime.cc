#include "services/nodeagent/cri/cri_runtime.h"

#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>

#include "cri.grpc.pb.h"
#include "services/nodeagent/cri/convert.h"
#include "services/nodeagent/cri/events.h"
#include "services/nodeagent/cri/exec.h"
#include "services/nodeagent/cri/netns.h"

namespace gantry::nodeagent {

namespace v1 = runtime::v1;

namespace {

// Every deadline of a call to containerd.
constexpr Duration kQuick = std::chrono::seconds(20);
constexpr Duration kCreate = std::chrono::minutes(2);
constexpr Duration kSandbox = std::chrono::minutes(4);
constexpr Duration kPull = std::chrono::minutes(30);
constexpr int kConnectMillis = 10'000;
// CRI's view follows an exit event by some milliseconds: how often and how soon to look again.
constexpr int kRechecks = 12;
constexpr Duration kFirstRecheck = std::chrono::milliseconds(10);
constexpr size_t kMaxProbeOutput = 10 * 1024;

using RuntimeStub = v1::RuntimeService::Stub;
using ImageStub = v1::ImageService::Stub;

std::shared_ptr<grpc::Channel> connect(const std::string& socket) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(64 * 1024 * 1024);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 5000);  // also how long one attempt may take
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  return grpc::CreateCustomChannel("unix://" + socket, grpc::InsecureChannelCredentials(), arguments);
}

// What is not there needs no stopping or removing.
template <typename Response>
std::function<void(Result<Response>)> gone_is_fine(Runtime::Done<gantry::Done> done) {
  return [done = std::move(done)](Result<Response> r) {
    if (!r.ok() && r.code() != Code::kNotFound) return done(r.error());
    done(gantry::Done{});
  };
}

class CriRuntime final : public Runtime {
 public:
  CriRuntime(UvLoop& loop, CriOptions options)
      : loop_(loop),
        channel_(connect(options.socket)),
        calls_(std::make_unique<GrpcCalls>(loop)),
        runtime_(v1::RuntimeService::NewStub(channel_)),
        images_(v1::ImageService::NewStub(channel_)),
        exec_{loop, *calls_, containerd::services::tasks::v1::Tasks::NewStub(channel_),
              containerd::services::containers::v1::Containers::NewStub(channel_), options.exec_directory} {
    calls_->add_metadata("containerd-namespace", "k8s.io");
    std::error_code ignored;
    std::filesystem::remove_all(options.exec_directory, ignored);
  }
  ~CriRuntime() override {
    exec_.shut_down();
    calls_.reset();
  }

  void start(Events events) override;
  void status(Done<RuntimeStatus> done) override;
  void list(Done<std::vector<RuntimePod>> done) override { gather("", std::move(done)); }
  void observe(const std::string& pod_uid, Done<RuntimePod> done) override;
  void run_sandbox(const SandboxConfig& config, Done<std::string> done) override;
  void stop_sandbox(const std::string& id, Done<gantry::Done> done) override;
  void remove_sandbox(const std::string& id, Done<gantry::Done> done) override;
  void find_image(const std::string& image, Done<std::string> done) override;
  void pull_image(const std::string& image, const SandboxConfig& sandbox, Done<std::string> done) override;
  void create_container(const std::string& sandbox_id, const SandboxConfig& sandbox, const ContainerConfig& config,
                        Done<std::string> done) override;
  void start_container(const std::string& id, Done<gantry::Done> done) override;
  void stop_container(const std::string& id, Duration grace, Done<gantry::Done> done) override;
  void remove_container(const std::string& id, Done<gantry::Done> done) override;
  void reopen_log(const std::string& id, Done<gantry::Done> done) override;
  void exec(const std::string& container_id, const ExecOptions& options, Process::Callbacks callbacks,
            Done<std::unique_ptr<Process>> done) override {
    start_exec(exec_, container_id, options, std::move(callbacks), std::move(done));
  }
  void exec_sync(const std::string& container_id, const std::vector<std::string>& command, Duration timeout,
                 Done<ExecResult> done) override;
  void connect_port(const std::string& sandbox_id, uint16_t port, Done<int> done) override;
  void usage(Done<std::vector<ContainerUsage>> done) override;

 private:
  // What one listing collects while its detail calls are under way.
  struct Gather {
    std::map<std::string, RuntimePod> pods;
    size_t waiting = 0;
    std::optional<Error> error;
    Done<std::vector<RuntimePod>> done;
  };
  void gather(const std::string& uid, Done<std::vector<RuntimePod>> done);
  void gathered(const std::shared_ptr<Gather>& g);
  void add_sandboxes(const std::shared_ptr<Gather>& g, const v1::ListPodSandboxResponse& response);
  void add_containers(const std::shared_ptr<Gather>& g, const v1::ListContainersResponse& response);
  void recheck(const std::string& uid);
  void on_exit(const std::string& container_id);

  // A call of the RuntimeService; images have their own.
  template <typename Request, typename Response>
  void call(void (RuntimeStub::async::*method)(grpc::ClientContext*, const Request*, Response*,
                                               std::function<void(grpc::Status)>),
            std::type_identity_t<Request> request, Duration deadline,
            std::type_identity_t<std::function<void(Result<Response>)>> done) {
    calls_->call(runtime_->async(), method, std::move(request), deadline, std::move(done));
  }

  UvLoop& loop_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<GrpcCalls> calls_;
  std::unique_ptr<RuntimeStub> runtime_;
  std::unique_ptr<ImageStub> images_;
  ExecServices exec_;
  Events events_;
  std::unique_ptr<TaskEvents> task_events_;
  std::map<std::string, std::string> pod_of_;            // container or sandbox id -> pod uid
  std::map<std::string, std::vector<std::string>> ips_;  // sandbox id -> addresses, which never change
  std::map<std::string, Container> settled_;   // running and exited containers: their details do not change any more
  std::map<std::string, int> expected_exits_;  // container id -> rechecks left
  std::map<std::string, Timer> rechecks_;      // by pod uid
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

void CriRuntime::start(Events events) {
  events_ = std::move(events);
  task_events_ =
      std::make_unique<TaskEvents>(*calls_, channel_,
                                   TaskEvents::Callbacks{[this] { events_.connected(); },
                                                         [this](const std::string& why) { events_.disconnected(why); },
                                                         [this](const std::string& id) { on_exit(id); },
                                                         [this](const std::string& id) {
                                                           if (events_.oom) events_.oom(id);
                                                         }});
  task_events_->start();
}

void CriRuntime::on_exit(const std::string& container_id) {
  auto pod = pod_of_.find(container_id);
  if (pod == pod_of_.end()) return events_.changed("");
  expected_exits_[container_id] = kRechecks;
  events_.changed(pod->second);
}

void CriRuntime::recheck(const std::string& uid) {
  int left = kRechecks;
  for (const auto& [id, n] : expected_exits_) {
    if (pod_of_[id] == uid) left = std::min(left, n);
  }
  auto delay = kFirstRecheck * (1 << std::min(kRechecks - left, 8));
  rechecks_[uid] = loop_.after(delay, [this, uid] { events_.changed(uid); });
}

void CriRuntime::status(Done<RuntimeStatus> done) {
  call(&RuntimeStub::async::Version, v1::VersionRequest(), kQuick,
       [this, done = std::move(done)](Result<v1::VersionResponse> version) {
         if (!version.ok()) return done(version.error());
         RuntimeStatus status;
         status.name = version->runtime_name();
         status.version = version->runtime_version();
         call(&RuntimeStub::async::Status, v1::StatusRequest(), kQuick,
              [done, status](Result<v1::StatusResponse> r) mutable {
                if (!r.ok()) return done(r.error());
                status.ready = true;
                for (const auto& condition : r->status().conditions()) {
                  if (condition.status()) continue;
                  status.ready = false;
                  status.reason = condition.type() + ": " + condition.message();
                }
                done(std::move(status));
              });
       });
}

void CriRuntime::observe(const std::string& pod_uid, Done<RuntimePod> done) {
  gather(pod_uid, [pod_uid, done = std::move(done)](Result<std::vector<RuntimePod>> pods) {
    if (!pods.ok()) return done(pods.error());
    for (auto& pod : *pods) {
      if (pod.uid == pod_uid) return done(std::move(pod));
    }
    RuntimePod nothing;
    nothing.uid = pod_uid;
    done(std::move(nothing));
  });
}

void CriRuntime::gather(const std::string& uid, Done<std::vector<RuntimePod>> done) {
  auto g = std::make_shared<Gather>();
  g->done = std::move(done);
  g->waiting = 2;
  v1::ListPodSandboxRequest sandboxes;
  v1::ListContainersRequest containers;
  if (!uid.empty()) {
    (*sandboxes.mutable_filter()->mutable_label_selector())[kPodUidLabel] = uid;
    (*containers.mutable_filter()->mutable_label_selector())[kPodUidLabel] = uid;
  }
  call(&RuntimeStub::async::ListPodSandbox, std::move(sandboxes), kQuick,
       [this, g](Result<v1::ListPodSandboxResponse> r) {
         r.ok() ? add_sandboxes(g, *r) : static_cast<void>(g->error = r.error());
         gathered(g);
       });
  call(&RuntimeStub::async::ListContainers, std::move(containers), kQuick,
       [this, g](Result<v1::ListContainersResponse> r) {
         r.ok() ? add_containers(g, *r) : static_cast<void>(g->error = r.error());
         gathered(g);
       });
}

void CriRuntime::add_sandboxes(const std::shared_ptr<Gather>& g, const v1::ListPodSandboxResponse& response) {
  for (const auto& item : response.items()) {
    auto sandbox = cri::from_proto(item);
    auto& pod = g->pods[sandbox.uid];
    pod.uid = sandbox.uid;
    pod.ns = sandbox.ns;
    pod.name = sandbox.name;
    pod_of_[sandbox.id] = sandbox.uid;
    if (auto known = ips_.find(sandbox.id); known != ips_.end()) {
      sandbox.ips = known->second;
      pod.sandboxes.push_back(std::move(sandbox));
      continue;
    }
    v1::PodSandboxStatusRequest request;
    request.set_pod_sandbox_id(sandbox.id);
    ++g->waiting;
    call(&RuntimeStub::async::PodSandboxStatus, std::move(request), kQuick,
         [this, g, sandbox](Result<v1::PodSandboxStatusResponse> r) mutable {
           if (r.ok()) {
             const auto& network = r->status().network();
             if (!network.ip().empty()) sandbox.ips.push_back(network.ip());
             for (const auto& ip : network.additional_ips()) sandbox.ips.push_back(ip.ip());
             sandbox.ready = r->status().state() == v1::SANDBOX_READY;
             if (sandbox.ready) ips_[sandbox.id] = sandbox.ips;
           }
           // Gone meanwhile: not part of the pod any more. Other failures: what the list told.
           if (r.ok() || r.code() != Code::kNotFound) g->pods[sandbox.uid].sandboxes.push_back(std::move(sandbox));
           gathered(g);
         });
  }
}

void CriRuntime::add_containers(const std::shared_ptr<Gather>& g, const v1::ListContainersResponse& response) {
  for (const auto& item : response.containers()) {
    auto container = cri::from_proto(item);
    auto label = container.labels.find(kPodUidLabel);
    if (label == container.labels.end()) continue;
    auto uid = label->second;
    pod_of_[container.id] = uid;
    auto& pod = g->pods[uid];
    pod.uid = uid;
    pod.ns = container.labels[kPodNamespaceLabel];
    pod.name = container.labels[kPodNameLabel];
    if (auto known = settled_.find(container.id); known != settled_.end() && known->second.state == container.state) {
      pod.containers.push_back(known->second);
      continue;
    }
    v1::ContainerStatusRequest request;
    request.set_container_id(container.id);
    ++g->waiting;
    call(&RuntimeStub::async::ContainerStatus, std::move(request), kQuick,
         [this, g, uid, container](Result<v1::ContainerStatusResponse> r) mutable {
           if (!r.ok() && r.code() != Code::kNotFound) g->error = r.error();
           if (r.ok()) {
             cri::merge_status(r->status(), container);
             if (container.state == ContainerState::kRunning || container.state == ContainerState::kExited) {
               settled_[container.id] = container;
             }
             g->pods[uid].containers.push_back(std::move(container));
           }
           gathered(g);
         });
  }
}

void CriRuntime::gathered(const std::shared_ptr<Gather>& g) {
  if (--g->waiting > 0) return;
  if (g->error) return g->done(*g->error);
  std::vector<RuntimePod> pods;
  for (auto& [uid, pod] : g->pods) {
    auto newest = [](const auto& a, const auto& b) {
      return std::tie(a.attempt, a.created_at) > std::tie(b.attempt, b.created_at);
    };
    std::sort(pod.sandboxes.begin(), pod.sandboxes.end(), newest);
    std::sort(pod.containers.begin(), pod.containers.end(), newest);
    bool lags = false;
    for (const auto& container : pod.containers) {
      auto expected = expected_exits_.find(container.id);
      if (expected == expected_exits_.end()) continue;
      if (container.state == ContainerState::kRunning && --expected->second > 0) {
        lags = true;
      } else {
        expected_exits_.erase(expected);
      }
    }
    for (const auto& sandbox : pod.sandboxes) {
      auto expected = expected_exits_.find(sandbox.id);
      if (expected == expected_exits_.end()) continue;
      if (sandbox.ready && --expected->second > 0) {
        lags = true;
      } else {
        expected_exits_.erase(expected);
      }
    }
    if (lags) recheck(uid);
    pods.push_back(std::move(pod));
  }
  g->done(std::move(pods));
}

void CriRuntime::run_sandbox(const SandboxConfig& config, Done<std::string> done) {
  v1::RunPodSandboxRequest request;
  *request.mutable_config() = cri::to_proto(config);
  request.set_runtime_handler(config.runtime_handler);
  call(&RuntimeStub::async::RunPodSandbox, std::move(request), kSandbox,

       [this, uid = config.uid, done = std::move(done)](Result<v1::RunPodSandboxResponse> r) {
         if (!r.ok()) return done(r.error());
         pod_of_[r->pod_sandbox_id()] = uid;
         done(r->pod_sandbox_id());
       });
}

void CriRuntime::stop_sandbox(const std::string& id, Done<gantry::Done> done) {
  v1::StopPodSandboxRequest request;
  request.set_pod_sandbox_id(id);
  call(&RuntimeStub::async::StopPodSandbox, std::move(request), kSandbox,
       gone_is_fine<v1::StopPodSandboxResponse>(std::move(done)));
}

void CriRuntime::remove_sandbox(const std::string& id, Done<gantry::Done> done) {
  v1::RemovePodSandboxRequest request;
  request.set_pod_sandbox_id(id);
  ips_.erase(id);
  expected_exits_.erase(id);
  call(&RuntimeStub::async::RemovePodSandbox, std::move(request), kSandbox,
       gone_is_fine<v1::RemovePodSandboxResponse>([this, id, done = std::move(done)](Result<gantry::Done> r) {
         if (r.ok()) pod_of_.erase(id);
         done(std::move(r));
       }));
}

void CriRuntime::find_image(const std::string& image, Done<std::string> done) {
  v1::ImageStatusRequest request;
  request.mutable_image()->set_image(image);
  calls_->call(images_->async(), &ImageStub::async::ImageStatus, std::move(request), kQuick,
               [done = std::move(done)](Result<v1::ImageStatusResponse> r) {
                 if (!r.ok() && r.code() != Code::kNotFound) return done(r.error());
                 done(r.ok() ? r->image().id() : std::string());
               });
}

void CriRuntime::pull_image(const std::string& image, const SandboxConfig& sandbox, Done<std::string> done) {
  v1::PullImageRequest request;
  request.mutable_image()->set_image(image);
  *request.mutable_sandbox_config() = cri::to_proto(sandbox);
  calls_->call(images_->async(), &ImageStub::async::PullImage, std::move(request), kPull,
               [done = std::move(done)](Result<v1::PullImageResponse> r) {
                 if (!r.ok()) return done(r.error());
                 done(r->image_ref());
               });
}

void CriRuntime::create_container(const std::string& sandbox_id, const SandboxConfig& sandbox,
                                  const ContainerConfig& config, Done<std::string> done) {
  v1::CreateContainerRequest request;
  request.set_pod_sandbox_id(sandbox_id);
  *request.mutable_config() = cri::to_proto(config, sandbox);
  *request.mutable_sandbox_config() = cri::to_proto(sandbox);
  call(&RuntimeStub::async::CreateContainer, std::move(request), kCreate,

       [this, uid = sandbox.uid, done = std::move(done)](Result<v1::CreateContainerResponse> r) {
         if (!r.ok()) return done(r.error());
         pod_of_[r->container_id()] = uid;
         done(r->container_id());
       });
}

void CriRuntime::start_container(const std::string& id, Done<gantry::Done> done) {
  v1::StartContainerRequest request;
  request.set_container_id(id);
  call(&RuntimeStub::async::StartContainer, std::move(request), kCreate,
       [done = std::move(done)](Result<v1::StartContainerResponse> r) {
         if (!r.ok()) return done(r.error());
         done(gantry::Done{});
       });
}

void CriRuntime::stop_container(const std::string& id, Duration grace, Done<gantry::Done> done) {
  v1::StopContainerRequest request;
  request.set_container_id(id);
  request.set_timeout(std::chrono::duration_cast<std::chrono::seconds>(grace).count());
  call(&RuntimeStub::async::StopContainer, std::move(request), grace + kCreate,
       gone_is_fine<v1::StopContainerResponse>(std::move(done)));
}

void CriRuntime::remove_container(const std::string& id, Done<gantry::Done> done) {
  v1::RemoveContainerRequest request;
  request.set_container_id(id);
  settled_.erase(id);
  expected_exits_.erase(id);
  call(&RuntimeStub::async::RemoveContainer, std::move(request), kCreate,
       gone_is_fine<v1::RemoveContainerResponse>([this, id, done = std::move(done)](Result<gantry::Done> r) {
         if (r.ok()) pod_of_.erase(id);
         done(std::move(r));
       }));
}

void CriRuntime::reopen_log(const std::string& id, Done<gantry::Done> done) {
  v1::ReopenContainerLogRequest request;
  request.set_container_id(id);
  call(&RuntimeStub::async::ReopenContainerLog, std::move(request), kQuick,
       gone_is_fine<v1::ReopenContainerLogResponse>(std::move(done)));
}

void CriRuntime::exec_sync(const std::string& container_id, const std::vector<std::string>& command, Duration timeout,
                           Done<ExecResult> done) {
  v1::ExecSyncRequest request;
  request.set_container_id(container_id);
  for (const auto& word : command) request.add_cmd(word);
  request.set_timeout(std::max<int64_t>(1, std::chrono::duration_cast<std::chrono::seconds>(timeout).count()));
  call(&RuntimeStub::async::ExecSync, std::move(request), timeout + std::chrono::seconds(10),
       [done = std::move(done)](Result<v1::ExecSyncResponse> r) {
         if (!r.ok()) return done(r.error());
         ExecResult result{r->exit_code(), r->stdout() + r->stderr()};
         if (result.output.size() > kMaxProbeOutput) result.output.resize(kMaxProbeOutput);
         done(std::move(result));
       });
}

void CriRuntime::connect_port(const std::string& sandbox_id, uint16_t port, Done<int> done) {
  v1::PodSandboxStatusRequest request;
  request.set_pod_sandbox_id(sandbox_id);
  request.set_verbose(true);
  auto connect = [this, port, done = std::move(done)](Result<v1::PodSandboxStatusResponse> r) {
    if (!r.ok()) return done(r.error());
    std::string netns;
    if (r->status().linux().namespaces().options().network() != v1::NODE) {
      auto info = nlohmann::json::parse(r->info().count("info") ? r->info().at("info") : std::string(), nullptr, false);
      if (info.is_object()) {
        for (const auto& ns :
             info.value(nlohmann::json::json_pointer("/runtimeSpec/linux/namespaces"), nlohmann::json::array())) {
          if (ns.value("type", "") == "network") netns = ns.value("path", "");
        }
      }
      if (netns.empty()) return done(Error{Code::kUnavailable, "the pod's network namespace is not known"});
    }
    // A thread for each connection: it enters another network namespace and ends there.
    std::thread([netns, port, done, loop = &loop_, alive = std::weak_ptr<bool>(alive_)]() mutable {
      auto fd = connect_in_netns(netns, port, kConnectMillis);
      // Moved: what `done` holds is the loop's.
      loop->post([fd, done = std::move(done), alive] {
        if (!alive.expired()) return done(fd);
        if (fd.ok()) close(*fd);
      });
    }).detach();
  };
  call(&RuntimeStub::async::PodSandboxStatus, std::move(request), kQuick, std::move(connect));
}

void CriRuntime::usage(Done<std::vector<ContainerUsage>> done) {
  call(&RuntimeStub::async::ListContainerStats, v1::ListContainerStatsRequest(), kQuick,
       [done = std::move(done)](Result<v1::ListContainerStatsResponse> r) {
         if (!r.ok()) return done(r.error());
         std::vector<ContainerUsage> out;
         for (const auto& stats : r->stats()) {
           const auto& labels = stats.attributes().labels();
           auto uid = labels.find(kPodUidLabel);
           if (uid == labels.end()) continue;
           out.push_back({stats.attributes().id(), uid->second, stats.attributes().metadata().name(),
                          stats.cpu().usage_core_nano_seconds().value(), stats.memory().working_set_bytes().value()});
         }
         done(std::move(out));
       });
}

}  // namespace

std::unique_ptr<Runtime> make_cri_runtime(UvLoop& loop, CriOptions options) {
  return std::make_unique<CriRuntime>(loop, std::move(options));
}

}  // namespace gantry::nodeagent

#include "services/nodeagent/cri/cri_runtime.h"

#include <unistd.h>

#include <filesystem>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>

#include "cri.grpc.pb.h"
#include "services/nodeagent/cri/attach.h"
#include "services/nodeagent/cri/convert.h"
#include "services/nodeagent/cri/events.h"
#include "services/nodeagent/cri/exec.h"
#include "services/nodeagent/cri/image_files.h"
#include "services/nodeagent/cri/netns.h"
#include "services/nodeagent/cri/observer.h"
#include "services/nodeagent/cri/orphans.h"
#include "services/nodeagent/cri/stop_signal.h"

namespace gantry::nodeagent {

namespace v1 = runtime::v1;
namespace tasks = containerd::services::tasks::v1;

namespace {

// Every deadline of a call to containerd.
constexpr Duration kQuick = std::chrono::seconds(20);
constexpr Duration kCreate = std::chrono::minutes(2);
constexpr Duration kSandbox = std::chrono::minutes(4);
constexpr Duration kPull = std::chrono::minutes(30);
constexpr int kConnectMillis = 10'000;
constexpr size_t kMaxProbeOutput = 10 * 1024;

using RuntimeStub = v1::RuntimeService::Stub;
using ImageStub = v1::ImageService::Stub;

// One channel for each socket, for the life of the process: when the last channel goes, gRPC 1.51 takes down the queue
// that callbacks come from, and sometimes aborts in doing so (a reference count of the queue below zero).
std::shared_ptr<grpc::Channel> connect(const std::string& socket) {
  static auto& channels = *new std::map<std::string, std::shared_ptr<grpc::Channel>>;
  static std::mutex mutex;
  std::lock_guard lock(mutex);
  auto& channel = channels[socket];
  if (channel) return channel;
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(64 * 1024 * 1024);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 5000);  // also how long one attempt may take
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  channel = grpc::CreateCustomChannel("unix://" + socket, grpc::InsecureChannelCredentials(), arguments);
  return channel;
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
    observer_ = std::make_unique<Observer>(loop, *calls_, *runtime_, *exec_.tasks);
    orphans_ = std::make_unique<Orphans>(exec_, *runtime_, options.socket, options.ipam_directory);
    image_files_ = std::make_unique<ImageFiles>(*calls_, channel_, *runtime_, *images_);
    std::error_code ignored;
    std::filesystem::remove_all(options.exec_directory, ignored);
  }
  ~CriRuntime() override {
    exec_.shut_down();
    calls_.reset();
  }

  void start(Events events) override;
  void status(Done<RuntimeStatus> done) override;
  void list(Done<std::vector<RuntimePod>> done) override { observer_->list(std::move(done)); }
  void observe(const std::string& pod_uid, Done<RuntimePod> done) override {
    observer_->observe(pod_uid, std::move(done));
  }
  void run_sandbox(const SandboxConfig& config, Done<std::string> done) override;
  void stop_sandbox(const std::string& id, Done<gantry::Done> done) override;
  void remove_sandbox(const std::string& id, Done<gantry::Done> done) override;
  void find_image(const std::string& image, Done<std::optional<Image>> done) override;
  void pull_image(const std::string& image, const SandboxConfig& sandbox, const RegistryAuth* auth,
                  Done<std::string> done) override;
  void list_images(Done<std::vector<Image>> done) override;
  void remove_image(const std::string& id, Done<gantry::Done> done) override;
  void image_filesystem(Done<FsUsage> done) override;
  void update_container(const std::string& id, const Resources& resources, Done<gantry::Done> done) override;
  void create_container(const std::string& sandbox_id, const SandboxConfig& sandbox, const ContainerConfig& config,
                        Done<std::string> done) override;
  void start_container(const std::string& id, Done<gantry::Done> done) override;
  void hold_image(const std::string& key, const std::string& image, Done<std::vector<FsMount>> done) override {
    image_files_->hold(key, image, std::move(done));
  }
  void release_image(const std::string& key, Done<gantry::Done> done) override {
    image_files_->release(key, std::move(done));
  }
  void stop_container(const std::string& id, Duration grace, const std::string& signal,
                      Done<gantry::Done> done) override;
  void remove_container(const std::string& id, Done<gantry::Done> done) override;
  void reopen_log(const std::string& id, Done<gantry::Done> done) override;
  void exec(const std::string& container_id, const ExecOptions& options, Process::Callbacks callbacks,
            Done<std::unique_ptr<Process>> done) override {
    start_exec(exec_, container_id, options, std::move(callbacks), std::move(done));
  }
  void attach(const std::string& container_id, const ExecOptions& options, Process::Callbacks callbacks,
              Done<std::unique_ptr<Process>> done) override;
  void exec_sync(const std::string& container_id, const std::vector<std::string>& command, Duration timeout,
                 Done<ExecResult> done) override;
  void connect_port(const std::string& sandbox_id, uint16_t port, Done<int> done) override;
  void usage(Done<std::vector<ContainerUsage>> done) override;
  void pod_usage(Done<std::vector<PodUsage>> done) override;

 private:
  void stop_by_runtime(const std::string& id, Duration grace, Done<gantry::Done> done);
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
  std::unique_ptr<Observer> observer_;
  std::unique_ptr<Orphans> orphans_;
  std::unique_ptr<ImageFiles> image_files_;
  std::set<std::string> signalled_;  // containers that were sent a signal of their own to end
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

void CriRuntime::start(Events events) {
  events_ = std::move(events);
  observer_->on_changed(events_.changed);
  task_events_ =
      std::make_unique<TaskEvents>(*calls_, channel_,
                                   TaskEvents::Callbacks{[this] {
                                                           events_.connected();
                                                           orphans_->connected();
                                                         },
                                                         [this](const std::string& why) { events_.disconnected(why); },
                                                         [this](const std::string& id) { observer_->exited(id); },
                                                         [this](const std::string& id) {
                                                           if (events_.oom) events_.oom(id);
                                                         }});
  task_events_->start();
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
                for (const auto& handler : r->runtime_handlers())
                  status.handlers.push_back({handler.name(), handler.features().user_namespaces(),
                                             handler.features().recursive_read_only_mounts()});
                status.supplemental_groups_policy = r->features().supplemental_groups_policy();
                for (const auto& condition : r->status().conditions()) {
                  if (condition.status()) continue;
                  status.ready = false;
                  status.reason = condition.type() + ": " + condition.message();
                }
                done(std::move(status));
              });
       });
}

void CriRuntime::run_sandbox(const SandboxConfig& config, Done<std::string> done) {
  v1::RunPodSandboxRequest request;
  *request.mutable_config() = cri::to_proto(config);
  request.set_runtime_handler(config.runtime_handler);
  call(&RuntimeStub::async::RunPodSandbox, std::move(request), kSandbox,

       [this, uid = config.uid, done = std::move(done)](Result<v1::RunPodSandboxResponse> r) {
         if (!r.ok()) return done(r.error());
         observer_->owned(r->pod_sandbox_id(), uid);
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
  call(&RuntimeStub::async::RemovePodSandbox, std::move(request), kSandbox,
       gone_is_fine<v1::RemovePodSandboxResponse>([this, id, done = std::move(done)](Result<gantry::Done> r) {
         if (r.ok()) {
           observer_->forget(id);
           orphans_->removed();
         }
         done(std::move(r));
       }));
}

void CriRuntime::find_image(const std::string& image, Done<std::optional<Image>> done) {
  v1::ImageStatusRequest request;
  request.mutable_image()->set_image(image);
  calls_->call(images_->async(), &ImageStub::async::ImageStatus, std::move(request), kQuick,
               [done = std::move(done)](Result<v1::ImageStatusResponse> r) {
                 if (!r.ok() && r.code() != Code::kNotFound) return done(r.error());
                 if (!r.ok() || r->image().id().empty()) return done(std::optional<Image>());
                 done(std::optional(cri::from_proto(r->image())));
               });
}

void CriRuntime::pull_image(const std::string& image, const SandboxConfig& sandbox, const RegistryAuth* auth,
                            Done<std::string> done) {
  v1::PullImageRequest request;
  request.mutable_image()->set_image(image);
  *request.mutable_sandbox_config() = cri::to_proto(sandbox);
  if (auth != nullptr) {
    auto* to = request.mutable_auth();
    to->set_username(auth->username);
    to->set_password(auth->password);
    to->set_server_address(auth->server);
    to->set_identity_token(auth->identity_token);
    to->set_registry_token(auth->registry_token);
  }
  calls_->call(images_->async(), &ImageStub::async::PullImage, std::move(request), kPull,
               [done = std::move(done)](Result<v1::PullImageResponse> r) {
                 if (!r.ok()) return done(r.error());
                 done(r->image_ref());
               });
}

void CriRuntime::list_images(Done<std::vector<Image>> done) {
  calls_->call(images_->async(), &ImageStub::async::ListImages, v1::ListImagesRequest(), kQuick,
               [done = std::move(done)](Result<v1::ListImagesResponse> r) {
                 if (!r.ok()) return done(r.error());
                 std::vector<Image> out;
                 for (const auto& image : r->images()) out.push_back(cri::from_proto(image));
                 done(std::move(out));
               });
}

void CriRuntime::remove_image(const std::string& id, Done<gantry::Done> done) {
  v1::RemoveImageRequest request;
  request.mutable_image()->set_image(id);
  calls_->call(images_->async(), &ImageStub::async::RemoveImage, std::move(request), kCreate,
               gone_is_fine<v1::RemoveImageResponse>(std::move(done)));
}

void CriRuntime::image_filesystem(Done<FsUsage> done) {
  calls_->call(images_->async(), &ImageStub::async::ImageFsInfo, v1::ImageFsInfoRequest(), kQuick,
               [done = std::move(done)](Result<v1::ImageFsInfoResponse> r) {
                 if (!r.ok()) return done(r.error());
                 if (r->image_filesystems().empty()) return done(FsUsage{});
                 const auto& fs = r->image_filesystems(0);
                 done(FsUsage{fs.fs_id().mountpoint(), fs.used_bytes().value(), fs.inodes_used().value()});
               });
}

void CriRuntime::update_container(const std::string& id, const Resources& resources, Done<gantry::Done> done) {
  v1::UpdateContainerResourcesRequest request;
  request.set_container_id(id);
  *request.mutable_linux() = cri::to_proto(resources);
  call(&RuntimeStub::async::UpdateContainerResources, std::move(request), kQuick,
       [done = std::move(done)](Result<v1::UpdateContainerResourcesResponse> r) {
         if (!r.ok()) return done(r.error());
         done(gantry::Done{});
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
         observer_->owned(r->container_id(), uid);
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

// CRI has a field for it, which containerd knows since 2.1. The task takes a signal from every version.
void CriRuntime::stop_container(const std::string& id, Duration grace, const std::string& signal,
                                Done<gantry::Done> done) {
  const auto number = signal_number(signal);
  if (!number || grace <= Duration::zero()) return stop_by_runtime(id, grace, std::move(done));
  auto kill = [this, id, done = std::move(done)] { stop_by_runtime(id, Duration::zero(), done); };
  auto wait = [this, id, grace, kill] {
    tasks::WaitRequest request;
    request.set_container_id(id);
    calls_->call(exec_.tasks->async(), &tasks::Tasks::Stub::async::Wait, std::move(request), grace,
                 std::function<void(Result<tasks::WaitResponse>)>([kill](auto) { kill(); }));
  };
  if (!signalled_.insert(id).second) return wait();  // a nearer deadline
  tasks::KillRequest request;
  request.set_container_id(id);
  request.set_signal(static_cast<uint32_t>(*number));
  // What cannot be sent a signal has ended: waiting tells.
  calls_->call(exec_.tasks->async(), &tasks::Tasks::Stub::async::Kill, std::move(request), kQuick,
               std::function<void(Result<google::protobuf::Empty>)>([wait](auto) { wait(); }));
}

void CriRuntime::stop_by_runtime(const std::string& id, Duration grace, Done<gantry::Done> done) {
  v1::StopContainerRequest request;
  request.set_container_id(id);
  request.set_timeout(std::chrono::duration_cast<std::chrono::seconds>(grace).count());
  call(&RuntimeStub::async::StopContainer, std::move(request), grace + kCreate,
       gone_is_fine<v1::StopContainerResponse>(std::move(done)));
}

void CriRuntime::remove_container(const std::string& id, Done<gantry::Done> done) {
  v1::RemoveContainerRequest request;
  request.set_container_id(id);
  call(&RuntimeStub::async::RemoveContainer, std::move(request), kCreate,
       gone_is_fine<v1::RemoveContainerResponse>([this, id, done = std::move(done)](Result<gantry::Done> r) {
         if (r.ok()) {
           observer_->forget(id);
           signalled_.erase(id);
         }
         done(std::move(r));
       }));
}

void CriRuntime::reopen_log(const std::string& id, Done<gantry::Done> done) {
  v1::ReopenContainerLogRequest request;
  request.set_container_id(id);
  call(&RuntimeStub::async::ReopenContainerLog, std::move(request), kQuick,
       gone_is_fine<v1::ReopenContainerLogResponse>(std::move(done)));
}

void CriRuntime::attach(const std::string& container_id, const ExecOptions& options, Process::Callbacks callbacks,
                        Done<std::unique_ptr<Process>> done) {
  v1::AttachRequest request;
  request.set_container_id(container_id);
  request.set_stdin(options.in);
  request.set_tty(options.tty);
  request.set_stdout(options.out);
  request.set_stderr(options.err && !options.tty);
  call(&RuntimeStub::async::Attach, std::move(request), kQuick,
       [this, options, callbacks = std::move(callbacks), done = std::move(done)](Result<v1::AttachResponse> r) {
         if (!r.ok()) return done(r.error());
         start_attach(loop_, r->url(), options, callbacks,
                      [done, alive = std::weak_ptr<bool>(alive_)](Result<std::unique_ptr<Process>> process) {
                        if (!alive.expired()) done(std::move(process));
                      });
       });
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
           auto label = [&](const char* name) {
             auto it = labels.find(name);
             return it == labels.end() ? std::string() : it->second;
           };
           if (!labels.contains(kPodUidLabel) || !stats.has_cpu()) continue;
           out.push_back({stats.attributes().id(), label(kPodUidLabel), label(kPodNamespaceLabel), label(kPodNameLabel),
                          stats.attributes().metadata().name(), stats.cpu().usage_core_nano_seconds().value(),
                          stats.memory().working_set_bytes().value(), stats.writable_layer().used_bytes().value(),
                          stats.memory().usage_bytes().value(), stats.memory().rss_bytes().value(),
                          stats.writable_layer().inodes_used().value()});
         }
         done(std::move(out));
       });
}

void CriRuntime::pod_usage(Done<std::vector<PodUsage>> done) {
  call(&RuntimeStub::async::ListPodSandboxStats, v1::ListPodSandboxStatsRequest(), kQuick,
       [done = std::move(done)](Result<v1::ListPodSandboxStatsResponse> r) {
         if (!r.ok()) return done(r.error());
         std::vector<PodUsage> out;
         for (const auto& stats : r->stats()) {
           const auto& who = stats.attributes().metadata();
           PodUsage pod{who.uid(), who.namespace_(), who.name(), {}, stats.linux().process().process_count().value()};
           const auto add = [&](const v1::NetworkInterfaceUsage& i) {
             pod.interfaces.push_back(
                 {i.name(), i.rx_bytes().value(), i.rx_errors().value(), i.tx_bytes().value(), i.tx_errors().value()});
           };
           if (stats.linux().network().has_default_interface()) add(stats.linux().network().default_interface());
           for (const auto& i : stats.linux().network().interfaces()) add(i);
           out.push_back(std::move(pod));
         }
         done(std::move(out));
       });
}

}  // namespace

std::unique_ptr<Runtime> make_cri_runtime(UvLoop& loop, CriOptions options) {
  return std::make_unique<CriRuntime>(loop, std::move(options));
}

}  // namespace gantry::nodeagent

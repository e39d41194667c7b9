// Bringing one container up: image, configuration, create, start, postStart hook. Each step's failure has its own
// reason in the status.
#include <filesystem>
#include <fstream>

#include "services/nodeagent/agent/pod_worker.h"
#include "services/nodeagent/render/hosts.h"
#include "services/nodeagent/volume/sub_path.h"

namespace gantry::nodeagent {

using model::str;

namespace {

constexpr Duration kPostStart = std::chrono::hours(1);  // a hook that hangs keeps its container from running

std::string machine_hosts() {
  std::ifstream in("/etc/hosts");
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

}  // namespace

/// One launch; owned by its callbacks, over when the worker is gone.
class Launch : public std::enable_shared_from_this<Launch> {
 public:
  Launch(PodWorker& worker, Action action) : w_(worker), action_(std::move(action)) {}

  void begin() {
    container_ = w_.find_container(action_.container);
    if (container_ == nullptr) return w_.complete(action_.key);
    image_ = str(container_->image());
    w_.trace_.begin("image", action_.container);
    sandbox_ = render_sandbox(*w_.spec(), w_.context_.node, 0);
    for (const auto& s : w_.observed_.sandboxes) {
      if (s.id == action_.id) sandbox_.attempt = s.attempt;
    }
    // Who may pull it is not known before the pod's secrets are.
    std::vector<Reference> secrets;
    if (const auto* names = w_.spec()->spec()->image_pull_secrets()) {
      for (const auto* secret : *names) secrets.push_back({"secrets", std::string(str(secret->name()))});
    }
    w_.context_.references.ensure(std::string(w_.pod_.ns()), secrets, step<Done>([this, secrets](Status s) {
                                    if (!s.ok()) return fail("ErrImagePull", s.error());
                                    pull(secrets);
                                  }));
  }

 private:
  /// Keeps this alive until the answer, and drops the answer when the worker is gone.
  template <typename T, typename F>
  std::function<void(Result<T>)> step(F f) {
    return w_.guard([self = shared_from_this(), f = std::move(f)](Result<T> r) mutable { f(std::move(r)); });
  }

  void fail(const std::string& reason, const Error& error) {
    for (const char* phase : {"image", "create"}) w_.trace_.end(phase, action_.container);
    const bool of_image = reason.find("Image") != std::string::npos;
    if (error.code != Code::kUnavailable || of_image) {
      w_.memory_.launch_failures[action_.container].fail(reason, error.message, w_.context_.loop.wall());
      w_.record(true, "Failed", "Error: " + (of_image ? reason : error.message));
    }
    w_.complete(action_.key);
  }

  void pull(const std::vector<Reference>& secrets) {
    container_ = w_.find_container(action_.container);
    if (container_ == nullptr) return w_.complete(action_.key);
    ImagePuller::Request request;
    request.image = image_;
    request.policy = pull_policy(*container_);
    request.sandbox = sandbox_;
    for (const auto& secret : secrets) {
      auto found = w_.context_.references.find("secrets", w_.pod_.ns(), secret.name);
      if (!found) {
        w_.record(true, "FailedToRetrieveImagePullSecret",
                  fmt::format("Unable to retrieve some image pull secrets ({}); attempting to pull the image may not "
                              "succeed.",
                              secret.name));
      } else if (auto added = request.credentials.add(found); !added.ok()) {
        LOG(WARNING) << w_.log() << "secret=" << secret.name << " " << added.error().message;
      }
    }
    credentials_ = request.credentials;
    request.record = w_.guard([this](bool warning, const std::string& reason, const std::string& message) {
      w_.record(warning, reason, message);
    });
    w_.context_.images.ensure(std::move(request),
                              w_.guard([this, self = shared_from_this()](ImagePuller::Outcome outcome) {
                                if (!outcome.ok()) return fail(outcome.reason, outcome.error);
                                known_ = std::move(outcome.image);
                                mount_image(0);
                              }));
  }

  // Volumes that are images, of those that the container mounts: pulled as its own image is.
  void mount_image(size_t index) {
    const auto& volumes = w_.volumes_;
    container_ = w_.find_container(action_.container);
    if (container_ == nullptr || w_.memory_.ending) return w_.complete(action_.key);
    while (index < volumes.size() && !(volumes[index].kind == VolumePlan::Kind::kImage && mounts(volumes[index].name)))
      ++index;
    if (index >= volumes.size()) return create();
    const auto& volume = volumes[index];
    if (w_.mounted_images_.count(volume.name) != 0 || w_.context_.image_volumes == nullptr)
      return mount_image(index + 1);
    ImagePuller::Request request;
    request.image = volume.image;
    request.policy = volume.pull_policy;
    request.sandbox = sandbox_;
    request.credentials = credentials_;
    request.record = w_.guard([this](bool warning, const std::string& reason, const std::string& message) {
      w_.record(warning, reason, message);
    });
    w_.context_.images.ensure(
        std::move(request), w_.guard([this, self = shared_from_this(), index, name = volume.name](auto outcome) {
          if (!outcome.ok()) return fail(outcome.reason, outcome.error);
          if (w_.memory_.ending) return w_.complete(action_.key);
          w_.context_.image_volumes->mount(w_.uid_, name, outcome.image.id, step<Done>([this, index, name](Status s) {
                                             if (!s.ok()) return fail("CreateContainerError", s.error());
                                             w_.mounted_images_.insert(name);
                                             mount_image(index + 1);
                                           }));
        }));
  }

  bool mounts(const std::string& volume) const {
    const auto* all = container_->volume_mounts();
    return all != nullptr &&
           std::any_of(all->begin(), all->end(), [&](const auto* m) { return str(m->name()) == volume; });
  }

  // What was missing when the pod was prepared may be there by now.
  void create() {
    w_.trace_.end("image", action_.container);
    w_.trace_.begin("create", action_.container);
    w_.context_.references.ensure(std::string(w_.pod_.ns()), references(*w_.spec(), !w_.context_.disk),
                                  step<Done>([this](Status s) {
                                    if (!s.ok()) return fail("CreateContainerConfigError", s.error());
                                    link();
                                  }));
  }

  // The Services of its namespace, for its environment.
  void link() {
    if (!w_.context_.disk || !w_.spec()->spec()->enable_service_links().value_or(true)) return configure();
    w_.context_.services.ensure(std::string(w_.pod_.ns()), step<Done>([this](Status s) {
                                  if (!s.ok()) return fail("CreateContainerConfigError", s.error());
                                  configure();
                                }));
  }

  void configure() {
    // The pod may have a newer revision by now: its pointers are taken anew after each wait.
    container_ = w_.find_container(action_.container);
    if (container_ == nullptr || w_.memory_.ending) return w_.complete(action_.key);
    auto config = render_container(*w_.spec(), *container_, action_.attempt, w_.context_.node, w_.pod_ips(),
                                   w_.volumes_, w_.find_reference(), &known_);
    if (!config.ok()) return fail("CreateContainerConfigError", config.error());
    config_ = std::move(*config);
    config_.pid_target = pid_target();
    if (!w_.context_.disk) return create_prepared();
    auto outcome = std::make_shared<Status>(Done{});
    auto staged = std::make_shared<ContainerConfig>(config_);
    auto parts = std::make_shared<Status>(Done{});
    const bool on_host = w_.spec()->spec()->host_network().value_or(false);
    auto hosts = render_hosts(*w_.spec(), w_.context_.node, w_.memory_.pod_ips, on_host ? machine_hosts() : "");
    w_.context_.executor.run(
        [outcome, staged, parts, hosts, hosts_path = w_.context_.node.paths.hosts(w_.uid_),
         logs = sandbox_.log_directory + "/" + config_.name,
         message = config_.annotations[kTerminationPathAnnotation]] {
          std::error_code error;
          std::filesystem::create_directories(logs, error);
          // Written in place: containers that run have it mounted.
          if (!std::filesystem::exists(hosts_path)) *outcome = write_file(hosts_path, hosts);
          if (outcome->ok()) *outcome = write_file(message, "", 0666);
          if (outcome->ok()) *parts = stage_mounts(*staged);
        },
        w_.guard([this, self = shared_from_this(), outcome, staged, parts] {
          if (!parts->ok()) return fail("CreateContainerConfigError", parts->error());
          config_.mounts = std::move(staged->mounts);
          if (!outcome->ok()) return fail("CreateContainerError", outcome->error());
          create_prepared();
        }));
  }

  /// Of an ephemeral container: the container whose processes it is to see.
  std::string pid_target() const {
    const auto* list = w_.spec()->spec()->ephemeral_containers();
    if (list == nullptr) return "";
    for (const auto* ephemeral : *list) {
      if (str(ephemeral->name()) != action_.container || str(ephemeral->target_container_name()).empty()) continue;
      for (const auto& c : w_.observed_.containers) {
        if (c.name == str(ephemeral->target_container_name())) return c.id;
      }
    }
    return "";
  }

  void create_prepared() {
    if (w_.memory_.ending) return w_.complete(action_.key);
    w_.memory_.uncreated.erase(action_.key);
    w_.context_.runtime.create_container(
        action_.id, sandbox_, config_, step<std::string>([this](Result<std::string> id) {
          w_.trace_.end("create", action_.container);
          if (!id.ok()) return fail("CreateContainerError", id.error());
          w_.trace_.begin("start", action_.container);
          w_.record(false, "Created", "Created container: " + action_.container);
          w_.context_.runtime.start_container(*id, step<Done>([this, id = *id](Status s) {
            w_.trace_.end("start", action_.container);
            if (!s.ok()) {
              if (s.code() != Code::kUnavailable) w_.memory_.failed_starts.insert(id);
              return fail("RunContainerError", s.error());
            }
            w_.record(false, "Started", "Started container " + action_.container);
            w_.memory_.launch_failures.erase(action_.container);
            post_start(id);
          }));
        }));
  }

  // Runs beside the watch over the container: the launch is over, the container not yet one that runs.
  void post_start(const std::string& id) {
    container_ = w_.find_container(action_.container);
    const auto* hook = container_ && container_->lifecycle() ? container_->lifecycle()->post_start() : nullptr;
    if (hook != nullptr) {
      w_.memory_.hooking.insert(id);
      w_.trace_.begin("hook", action_.container);
      w_.run_hook(*hook, *container_, id, kPostStart, [self = shared_from_this(), this, id](const Status& s) {
        w_.memory_.hooking.erase(id);
        w_.trace_.end("hook", action_.container);
        if (!s.ok()) {
          w_.memory_.hook_failures[id] = s.error().message;
          w_.record(true, "FailedPostStartHook", "PostStartHook failed");
        }
        w_.wake();
      });
    }
    if (container_ && (container_->readiness_probe() || container_->startup_probe()))
      w_.trace_.begin("probes", action_.container);
    w_.complete(action_.key);
  }

  PodWorker& w_;
  Action action_;
  const core::Container* container_ = nullptr;
  std::string image_;
  Credentials credentials_;
  Image known_;
  SandboxConfig sandbox_;
  ContainerConfig config_;
};

void PodWorker::launch(const Action& action) { std::make_shared<Launch>(*this, action)->begin(); }

// One that was made before a crash. If it can be started no more (its streams went with containerd), it has not run:
// the next decision makes it anew.
void PodWorker::start(const Action& action) {
  context_.runtime.start_container(action.id, guard([this, action](const Status& s) {
                                     if (s.ok()) {
                                       record(false, "Started", "Started container " + action.container);
                                       memory_.launch_failures.erase(action.container);
                                     } else {
                                       // Perhaps it is being started already, for an agent before us.
                                       auto& failure = memory_.launch_failures[action.container];
                                       failure.reason = "RunContainerError";
                                       failure.message = s.error().message;
                                       failure.retry_at = context_.loop.wall() + 500'000;
                                     }
                                     complete(action.key);
                                   }));
}

}  // namespace gantry::nodeagent

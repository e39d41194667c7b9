// What a PodWorker does for each kind of action but the launch of a container (pod_launch.cc).
#include <filesystem>

#include "services/nodeagent/agent/pod_worker.h"
#include "services/nodeagent/render/hosts.h"
#include "services/nodeagent/resource/cgroups.h"

namespace gantry::nodeagent {

using model::str;

namespace {

void ensure_directory(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) LOG(WARNING) << "creating " << path << ": " << error.message();
}

constexpr WallMicros kConfirmRetry = 1'000'000;
constexpr Duration kUnmountRetry = std::chrono::seconds(2);

}  // namespace

void PodWorker::prepare(const Action& action) {
  auto refs = references(*spec(), !context_.disk);
  trace_.begin("prepare");
  auto finish = [this, key = action.key](const Status& s) {
    trace_.end("prepare");
    if (s.ok()) {
      memory_.prepared = !std::exchange(volumes_stale_, false);
      memory_.prepare_failure.reset();
    } else {
      failed(memory_.prepare_failure, "FailedMount", s.error());
      record(true, "FailedMount", s.error().message);
    }
    memory_.in_flight.erase(key);
    wake();
  };
  context_.references.ensure(
      std::string(pod_.ns()), refs, guard([this, finish](Status ensured) {
        if (!ensured.ok()) return finish(ensured);
        auto plan = plan_volumes(*spec(), context_.node, pod_ips(), find_reference());
        if (!plan.ok()) return finish(plan.error());
        volumes_ = std::move(*plan);
        if (!context_.disk || volumes_.empty()) return finish(Done{});
        auto outcome = std::make_shared<Status>(Done{});
        context_.executor.run(
            [outcome, volumes = volumes_] {
              for (const auto& volume : volumes) {
                *outcome = write_volume(volume);
                if (!outcome->ok()) return;
              }
            },
            guard([this, outcome, finish] { outcome->ok() ? mount_next(0, finish) : finish(*outcome); }));
      }));
}

// Those of CSI drivers, one after another.
void PodWorker::mount_next(size_t index, std::function<void(Status)> done) {
  while (index < volumes_.size() && volumes_[index].kind != VolumePlan::Kind::kCsi) ++index;
  if (index >= volumes_.size()) return done(Done{});
  if (context_.csi == nullptr) {
    return done(Error{Code::kInvalid, fmt::format("MountVolume.SetUp failed for volume \"{}\" : this node has no CSI",
                                                  volumes_[index].spec_name)});
  }
  context_.csi->mount(uid_, volumes_[index], guard([this, index, done = std::move(done)](const Status& s) mutable {
                        if (!s.ok()) return done(s);
                        mount_next(index + 1, std::move(done));
                      }));
}

void PodWorker::run_sandbox(const Action& action) {
  trace_.begin("sandbox");
  auto fail = [this, key = action.key](const Error& error) {
    trace_.end("sandbox");
    failed(memory_.sandbox_failure, "FailedCreatePodSandBox", error);
    record(true, "FailedCreatePodSandBox", "Failed to create pod sandbox: " + error.message);
    complete(key);
  };
  if (auto hostname = kernel_hostname(*spec(), context_.node); !hostname.ok()) return fail(hostname.error());
  // The handler of its runtime class; most have none.
  context_.services.runtime_handler(
      std::string(str(spec()->spec()->runtime_class_name())), guard([this, action, fail](Result<std::string> handler) {
        if (!handler.ok()) return fail(handler.error());
        auto config = render_sandbox(*spec(), context_.node, action.attempt);
        config.runtime_handler = std::move(*handler);
        const auto& able = context_.node.user_namespaces;
        if (!config.host_users && std::find(able.begin(), able.end(), config.runtime_handler) == able.end()) {
          return fail({Code::kInvalid, fmt::format("can't use user namespaces: runtime handler \"{}\" does not support "
                                                   "user namespaces",
                                                   config.runtime_handler)});
        }
        auto run = [this, fail, config, key = action.key] {
          context_.runtime.run_sandbox(config, guard([this, fail, key](Result<std::string> id) {
                                         if (!id.ok()) return fail(id.error());
                                         trace_.end("sandbox");
                                         complete(key);
                                       }));
        };
        if (!context_.disk) return run();
        context_.executor.run(
            [config, limits = context_.node.pod_cgroups, processes = context_.node.pod_pids] {
              ensure_directory(config.log_directory);
              if (!limits || config.cgroup_parent.empty()) return;
              auto made = Cgroups().apply(config.cgroup_parent, config.resources, processes);
              if (!made.ok()) LOG(WARNING) << "pod=" << config.ns << "/" << config.name << " " << made.error().message;
            },
            guard(run));
      }));
}

void PodWorker::failed_to_end(const Action& action, const char* reason, const Error& error) {
  LOG(WARNING) << log() << action.key << ": " << error.message;
  memory_.stop_failures[action.id].fail_ending(reason, error.message, context_.loop.wall(),
                                               error.code == Code::kUnavailable);
}

void PodWorker::stop_sandbox(const Action& action) {
  context_.runtime.stop_sandbox(action.id, guard([this, action](Status s) {
                                  if (s.ok()) {
                                    memory_.stopped_sandboxes.insert(action.id);
                                    memory_.stop_failures.erase(action.id);
                                  } else {
                                    failed_to_end(action, "KillPodSandboxError", s.error());
                                    record(true, "FailedKillPod", "error killing pod: " + s.error().message);
                                  }
                                  complete(action.key);
                                }));
}

void PodWorker::remove_sandbox(const Action& action) {
  context_.runtime.remove_sandbox(action.id, guard([this, action](Status s) {
                                    if (!s.ok()) failed_to_end(action, "RemovePodSandbox", s.error());
                                    complete(action.key);
                                  }));
}

void PodWorker::remove_container(const Action& action) {
  context_.runtime.remove_container(action.id, guard([this, action](Status s) {
                                      if (!s.ok()) failed_to_end(action, "RemoveContainer", s.error());
                                      complete(action.key);
                                    }));
}

void PodWorker::pre_stop(const Action& action) {
  auto finish = [this, action](const Status& s) {
    if (!s.ok()) record(true, "FailedPreStopHook", "PreStopHook failed");
    memory_.stops[action.id].hook_done = true;
    memory_.in_flight.erase(action.key);
    wake();
  };
  const auto* container = find_container(action.container);
  const auto* hook = container && container->lifecycle() ? container->lifecycle()->pre_stop() : nullptr;
  if (hook == nullptr) return finish(Done{});
  run_hook(*hook, *container, action.id, std::chrono::seconds(action.grace_seconds), finish);
}

// As it was when the container was made.
std::string PodWorker::stop_signal(const std::string& id) const {
  for (const auto& c : observed_.containers) {
    if (c.id != id) continue;
    const auto said = c.annotations.find(kStopSignalAnnotation);
    return said == c.annotations.end() ? std::string() : said->second;
  }
  return {};
}

void PodWorker::stop_container(const Action& action) {
  context_.runtime.stop_container(action.id, std::chrono::seconds(action.grace_seconds), stop_signal(action.id),
                                  guard([this, action](Status s) {
                                    if (s.ok()) {
                                      memory_.stop_failures.erase(action.id);
                                    } else {
                                      failed_to_end(action, "KillContainerError", s.error());
                                    }
                                    complete(action.key);
                                  }));
}

void PodWorker::cleanup(const Action& action) {
  take_back(
      action.key, [this](std::function<void(Status)> done) { remove_files(std::move(done)); }, &memory_.cleaned);
}

void PodWorker::release(const Action& action) {
  take_back(
      action.key, [this](std::function<void(Status)> done) { remove_volumes(std::move(done)); }, &memory_.released);
}

// Volumes of drivers and images first, then what lies on the disk.
void PodWorker::take_back(const std::string& key, std::function<void(std::function<void(Status)>)> remove,
                          bool* taken) {
  auto finish = [this, key, taken](const Status& s) {
    if (!s.ok()) LOG(WARNING) << log() << s.error().message;
    *taken = true;  // what could not be removed is swept at the agent's next start
    memory_.in_flight.erase(key);
    wake();
  };
  if (!context_.disk) return finish(Done{});
  // Nothing is forgotten while a driver still has the volume: it would be taken away from under who uses it next.
  const auto retry = [this, key, remove, taken](const Error& error) {
    LOG(WARNING) << log() << error.message;
    record(true, "FailedUnmount", error.message);
    cleanup_retry_ = context_.loop.after(kUnmountRetry, [this, key, remove, taken] { take_back(key, remove, taken); });
  };
  auto images = guard([this, retry, remove, finish](const Status& unmounted) {
    if (!unmounted.ok()) return retry(unmounted.error());
    context_.image_volumes->unmount(
        uid_, guard([retry, remove, finish](const Status& s) { s.ok() ? remove(finish) : retry(s.error()); }));
  });
  if (context_.csi == nullptr) return images(Done{});
  context_.csi->unmount(uid_, images);
}

void PodWorker::remove_volumes(std::function<void(Status)> done) {
  auto outcome = std::make_shared<Status>(Done{});
  context_.executor.run(
      [outcome, paths = context_.node.paths, uid = uid_,
       cgroups = context_.node.pod_cgroups ? context_.node.cgroup_parent : std::string()] {
        *outcome = remove_pod_volumes(paths, uid);
        remove_pod_cgroup(cgroups, uid);
      },
      guard([outcome, done = std::move(done)] { done(*outcome); }));
}

void PodWorker::remove_files(std::function<void(Status)> done) {
  auto outcome = std::make_shared<Status>(Done{});
  auto logs = context_.node.paths.logs(observed_.ns, observed_.name, uid_);
  context_.executor.run(
      [outcome, logs, paths = context_.node.paths, uid = uid_,
       cgroups = context_.node.pod_cgroups ? context_.node.cgroup_parent : std::string()] {
        *outcome = remove_pod_directory(paths, uid);
        remove_pod_cgroup(cgroups, uid);
        std::error_code ignored;
        std::filesystem::remove_all(logs, ignored);
      },
      guard([outcome, done = std::move(done)] { done(*outcome); }));
}

void PodWorker::confirm(const Action& action) {
  context_.statuses.when_settled(
      uid_, guard([this, key = action.key] {
        bus::Command command;
        command.verb = bus::Verb::Delete;
        command.resource = "pods";
        command.ns = std::string(pod_.ns());
        command.name = std::string(pod_.name());
        command.uid = uid_;
        command.grace_period_seconds = 0;
        command.because = fmt::format("pods/{}/{}@{}", command.ns, command.name, pod_.revision());
        context_.commands.send(std::move(command), guard([this, key](Result<bus::CommandOutcome> r) {
                                 // Forbidden: not a pod of this node, so not ours to delete any more.
                                 bool gone = r.ok() || r.code() == Code::kNotFound || r.code() == Code::kConflict ||
                                             r.code() == Code::kForbidden;
                                 if (!gone) LOG(WARNING) << log() << "confirming the deletion: " << r.error().message;
                                 // Its Delete event ends this; asked again in case a finalizer holds it.
                                 if (!memory_.confirm_failure) memory_.confirm_failure.emplace();
                                 memory_.confirm_failure->retry_at =
                                     context_.loop.wall() + (gone ? 30 * kConfirmRetry : kConfirmRetry);
                                 memory_.in_flight.erase(key);
                                 wake();
                               }));
      }));
}

}  // namespace gantry::nodeagent

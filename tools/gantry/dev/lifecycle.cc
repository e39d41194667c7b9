#include "tools/gantry/dev/lifecycle.h"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "tools/gantry/dev/cleanup.h"
#include "tools/gantry/dev/control.h"
#include "tools/gantry/dev/files.h"
#include "tools/gantry/dev/images.h"
#include "tools/gantry/dev/network.h"
#include "tools/gantry/dev/supervisor.h"

namespace gantry::dev {
namespace {

using Clock = std::chrono::steady_clock;

/// Names the folder of the cluster that is up: they share bridge, ports and namespaces, so a machine has one at a time.
constexpr const char* kOwner = "/run/gantry-dev";

void say(const std::string& line) { fmt::print("  {}\n", line); }

Status check_owner(const Paths& paths) {
  auto owner = read_file(kOwner);
  if (!owner || *owner == paths.root.string() || owner->empty()) return write_file(kOwner, paths.root.string());
  if (control(Paths{*owner}, {{"do", "status"}})) {
    return Error{
        .code = Code::kConflict,
        .message = fmt::format("another cluster is up in {}: `gantry dev down --dir {}` first", *owner, *owner)};
  }
  return write_file(kOwner, paths.root.string());
}

Status check_programs(const Cluster& cluster) {
  for (const char* name : {"gantry-apigw", "gantry-controllers", "gantry-scheduler", "gantry-nodeagent",
                           "gantry-netproxy", "gantry-csi-hostpath"}) {
    if (::access((cluster.binaries + "/" + name).c_str(), X_OK) != 0) {
      return Error{.code = Code::kNotFound,
                   .message = fmt::format("no {} in {}: build the target `dev-cluster`", name, cluster.binaries)};
    }
  }
  return Done{};
}

Status start_supervisor(const Paths& paths) {
  auto self = std::filesystem::read_symlink("/proc/self/exe").string();
  auto process = spawn({.command = {self, "dev", "supervise", "--dir", paths.root.string()},
                        .environment = {},
                        .log = paths.log("supervisor"),
                        .network_namespace = ""});
  if (!process) return process.error();
  const auto deadline = Clock::now() + std::chrono::seconds(10);
  while (!control(paths, {{"do", "status"}})) {
    if (!alive(*process) || Clock::now() > deadline) {
      return Error{.code = Code::kInternal,
                   .message = "the supervisor does not start: see " + paths.log("supervisor").string()};
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return Done{};
}

/// Prints each component as it becomes ready; imports images into a node as soon as its containerd is.
Status await_ready(const Paths& paths, const Cluster& cluster, int timeout_seconds) {
  const auto start = Clock::now();
  std::set<std::string> ready;
  for (;;) {
    auto status = control(paths, {{"do", "status"}});
    if (!status) return status.error();
    std::string waiting;
    size_t count = 0;
    for (const auto& component : (*status)["components"]) {
      const std::string name = component["name"];
      ++count;
      if (component["state"] != "ready") {
        waiting += fmt::format("\n    {}: {} ({})", name, component["state"].get<std::string>(),
                               component["reason"].get<std::string>());
        continue;
      }
      if (!ready.insert(name).second) continue;
      std::string note;
      if (const auto end = name.find(".containerd"); end != std::string::npos) {
        auto imported = import_images(paths, cluster, name.substr(0, end));
        if (!imported) return imported.error();
        if (*imported > 0) note = fmt::format(", {} images imported", *imported);
      }
      say(fmt::format("{:<20} ready after {:.1f} s{}", name,
                      std::chrono::duration<double>(Clock::now() - start).count(), note));
    }
    if (waiting.empty() && ready.size() >= count) return Done{};
    if (Clock::now() - start > std::chrono::seconds(timeout_seconds)) {
      return Error{.code = Code::kTimeout,
                   .message = fmt::format("not ready within {} s:{}", timeout_seconds, waiting)};
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

}  // namespace

Status up(const Paths& paths, const UpOptions& options) {
  if (::geteuid() != 0) return Error{.code = Code::kForbidden, .message = "nodes need root: run with sudo"};
  const auto& cluster = options.cluster;
  if (auto ok = check_programs(cluster); !ok) return ok;
  if (auto ok = check_owner(paths); !ok) return ok;
  if (auto old = load_cluster(paths); old && old->nodes > cluster.nodes && control(paths, {{"do", "status"}})) {
    return Error{
        .code = Code::kInvalid,
        .message = fmt::format("the cluster runs {} nodes: `gantry dev down` before it gets fewer", old->nodes)};
  }
  if (auto done = save_cluster(paths, cluster); !done) return done;
  if (auto done = write_configuration(paths, cluster); !done) return done;
  if (auto done = ensure_network(cluster.nodes); !done) return done;
  if (control(paths, {{"do", "status"}})) {
    auto refreshed = control(paths, {{"do", "refresh"}});
    if (!refreshed) return refreshed.error();
    for (const auto& name : (*refreshed)["restarted"])
      say(fmt::format("{} restarts: its program or configuration is new", name.get<std::string>()));
  } else if (auto started = start_supervisor(paths); !started) {
    return started;
  }
  return await_ready(paths, cluster, options.timeout_seconds);
}

Status down(const Paths& paths, bool purge) {
  if (::geteuid() != 0) return Error{.code = Code::kForbidden, .message = "nodes need root: run with sudo"};
  if (!std::filesystem::exists(paths.root)) {
    say("there is no cluster in " + paths.root.string());
    return Done{};
  }
  if (auto stopped = control(paths, {{"do", "down"}}, 60); stopped) {
    say("services stopped");
  } else if (stopped.code() != Code::kUnavailable) {
    say("the supervisor does not answer: it is killed with the rest");
  }
  kill_everything(paths);
  remove_everything(paths);
  const auto left = leftovers(paths);
  if (!left.empty()) {
    std::string all;
    for (const auto& thing : left) all += "\n    " + thing;
    return Error{.code = Code::kInternal, .message = "still there:" + all};
  }
  std::error_code error;
  if (auto owner = read_file(kOwner); owner && *owner == paths.root.string()) std::filesystem::remove(kOwner, error);
  say("nothing is left: no process, mount, namespace, nftables table or cgroup");
  if (!purge) {
    say("state is kept in " + paths.root.string() + " (--purge forgets it)");
    return Done{};
  }
  for (const auto& entry : std::filesystem::directory_iterator(paths.root, error)) {
    if (entry.path().filename() != "bin") std::filesystem::remove_all(entry.path(), error);
  }
  say("state is gone");
  return Done{};
}

Status supervise(const Paths& paths) {
  FLAGS_minloglevel = google::GLOG_INFO;
  auto cluster = load_cluster(paths);
  if (!cluster) return cluster.error();
  auto list = components(paths, *cluster);
  if (!list) return list.error();
  if (auto me = find_process(::getpid())) {
    if (auto written = write_pid_file(paths.pid("supervisor"), *me); !written) return written;
  }

  UvLoop loop;
  Supervisor supervisor(loop, paths, std::move(*list));
  auto handle = [&](const nlohmann::json& request, const ControlAnswer& answer) {
    const auto plain = [&](const Status& status) {
      answer(status ? nlohmann::json::object() : nlohmann::json{{"error", status.error().message}});
    };
    const std::string what = request.value("do", ""), name = request.value("component", "");
    if (what == "status") return answer({{"components", nlohmann::json::parse(supervisor.status_json())}});
    if (what == "stop") return plain(supervisor.stop(name));
    if (what == "start") return plain(supervisor.resume(name));
    if (what == "restart") return plain(supervisor.restart(name));
    if (what == "refresh") {
      auto now = load_cluster(paths);
      if (!now) return plain(now.error());
      auto fresh = components(paths, *now);
      if (!fresh) return plain(fresh.error());
      return answer({{"restarted", supervisor.refresh(*fresh)}});
    }
    if (what == "down") {
      return supervisor.shutdown([&loop, answer] {
        answer(nlohmann::json::object());
        loop.post([&loop] { loop.stop(); });
      });
    }
    plain(Error{.code = Code::kInvalid, .message = "unknown request: " + what});
  };
  auto server = ControlServer::listen(loop, paths, handle);
  if (!server) return server.error();

  uv_signal_t terminated;
  std::function<void()> on_terminated = [&] { supervisor.shutdown([&loop] { loop.stop(); }); };
  uv_signal_init(loop.raw(), &terminated);
  terminated.data = &on_terminated;
  uv_signal_start(
      &terminated, [](uv_signal_t* handle, int) { (*static_cast<std::function<void()>*>(handle->data))(); }, SIGTERM);

  supervisor.start();
  loop.run();
  std::error_code error;
  std::filesystem::remove(paths.pid("supervisor"), error);
  std::filesystem::remove(paths.control_socket(), error);
  // The process ends here; the kernel closes what libuv would have to be asked for, handle by handle.
  google::FlushLogFiles(google::GLOG_INFO);
  ::_exit(0);
}

}  // namespace gantry::dev

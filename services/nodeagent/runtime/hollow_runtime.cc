#include "services/nodeagent/runtime/hollow_runtime.h"

#include <arpa/inet.h>

namespace gantry::nodeagent {

void HollowRuntime::set_pod_cidr(const std::string& cidr) {
  auto slash = cidr.find('/');
  in_addr address{};
  if (slash == std::string::npos || inet_pton(AF_INET, cidr.substr(0, slash).c_str(), &address) != 1) return;
  int bits = std::atoi(cidr.c_str() + slash + 1);
  if (bits < 1 || bits > 30) return;
  network_ = ntohl(address.s_addr);
  hosts_ = (1u << (32 - bits)) - 2;
}

std::string HollowRuntime::new_ip() {
  for (uint32_t tries = 0; tries < hosts_; ++tries) {
    uint32_t value = network_ + next_host_;
    next_host_ = next_host_ % hosts_ + 1;
    auto ip = fmt::format("{}.{}.{}.{}", value >> 24, value >> 16 & 255, value >> 8 & 255, value & 255);
    if (used_ips_.insert(ip).second) return ip;
  }
  return "";
}

void HollowRuntime::start(Events events) {
  events_ = std::move(events);
  loop_.post([this, weak = std::weak_ptr<bool>(alive_)] {
    if (!weak.expired()) events_.connected();
  });
}

void HollowRuntime::changed(const std::string& uid) {
  loop_.post([this, uid, weak = std::weak_ptr<bool>(alive_)] {
    if (!weak.expired() && events_.changed) events_.changed(uid);
  });
}

void HollowRuntime::status(Done<RuntimeStatus> done) {
  answer<RuntimeStatus>(std::move(done), RuntimeStatus{true, "", "hollow", "1"});
}

void HollowRuntime::list(Done<std::vector<RuntimePod>> done) {
  std::vector<RuntimePod> pods;
  for (const auto& [uid, pod] : pods_) pods.push_back(pod);
  answer<std::vector<RuntimePod>>(std::move(done), std::move(pods));
}

void HollowRuntime::observe(const std::string& pod_uid, Done<RuntimePod> done) {
  auto found = pods_.find(pod_uid);
  RuntimePod nothing;
  nothing.uid = pod_uid;
  answer<RuntimePod>(std::move(done), found == pods_.end() ? nothing : found->second);
}

void HollowRuntime::run_sandbox(const SandboxConfig& config, Done<std::string> done) {
  auto& pod = pods_[config.uid];
  pod.uid = config.uid;
  pod.ns = config.ns;
  pod.name = config.name;
  Sandbox sandbox;
  sandbox.id = fmt::format("{}-s{}", node_, next_id_++);
  sandbox.name = config.name;
  sandbox.ns = config.ns;
  sandbox.uid = config.uid;
  sandbox.attempt = config.attempt;
  sandbox.ready = true;
  sandbox.created_at = nanos();
  sandbox.labels = config.labels;
  sandbox.annotations = config.annotations;
  if (!config.host_network) sandbox.ips = {new_ip()};
  owner_[sandbox.id] = config.uid;
  auto id = sandbox.id;
  pod.sandboxes.insert(pod.sandboxes.begin(), std::move(sandbox));
  answer<std::string>(std::move(done), std::move(id));
}

void HollowRuntime::stop_sandbox(const std::string& id, Done<gantry::Done> done) {
  if (auto owner = owner_.find(id); owner != owner_.end()) {
    for (auto& c : pods_[owner->second].containers) {
      if (c.sandbox_id == id && c.state == ContainerState::kRunning) end(c.id, 137, "Error");
    }
    for (auto& sandbox : pods_[owner->second].sandboxes) {
      if (sandbox.id != id) continue;
      sandbox.ready = false;
      for (const auto& ip : sandbox.ips) used_ips_.erase(ip);
    }
    changed(owner->second);
  }
  answer<gantry::Done>(std::move(done), gantry::Done{});
}

void HollowRuntime::remove_sandbox(const std::string& id, Done<gantry::Done> done) {
  if (auto owner = owner_.find(id); owner != owner_.end()) {
    auto uid = owner->second;
    auto& pod = pods_[uid];
    std::erase_if(pod.containers, [&](const Container& c) {
      if (c.sandbox_id != id) return false;
      owner_.erase(c.id);
      return true;
    });
    std::erase_if(pod.sandboxes, [&](const Sandbox& s) { return s.id == id; });
    owner_.erase(id);
    if (pod.sandboxes.empty() && pod.containers.empty()) pods_.erase(uid);
  }
  answer<gantry::Done>(std::move(done), gantry::Done{});
}

void HollowRuntime::find_image(const std::string& image, Done<std::optional<Image>> done) {
  Image found;
  found.id = "sha256:" + image;
  answer<std::optional<Image>>(std::move(done), std::optional(std::move(found)));
}

void HollowRuntime::pull_image(const std::string& image, const SandboxConfig&, const RegistryAuth*,
                               Done<std::string> done) {
  answer<std::string>(std::move(done), "sha256:" + image);
}

void HollowRuntime::list_images(Done<std::vector<Image>> done) {
  answer<std::vector<Image>>(std::move(done), std::vector<Image>{});
}

void HollowRuntime::remove_image(const std::string&, Done<gantry::Done> done) {
  answer<gantry::Done>(std::move(done), gantry::Done{});
}

void HollowRuntime::hold_image(const std::string&, const std::string&, Done<std::vector<FsMount>> done) {
  answer<std::vector<FsMount>>(std::move(done), std::vector<FsMount>());
}

void HollowRuntime::release_image(const std::string&, Done<gantry::Done> done) {
  answer<gantry::Done>(std::move(done), gantry::Done{});
}

void HollowRuntime::image_filesystem(Done<FsUsage> done) { answer<FsUsage>(std::move(done), FsUsage{}); }

void HollowRuntime::create_container(const std::string& sandbox_id, const SandboxConfig& sandbox,
                                     const ContainerConfig& config, Done<std::string> done) {
  auto owner = owner_.find(sandbox_id);
  if (owner == owner_.end()) return answer<std::string>(std::move(done), Error{Code::kNotFound, "no such sandbox"});
  Container c;
  c.id = fmt::format("{}-c{}", node_, next_id_++);
  c.sandbox_id = sandbox_id;
  c.name = config.name;
  c.attempt = config.attempt;
  c.state = ContainerState::kCreated;
  c.created_at = nanos();
  c.image = config.image;
  c.image_ref = "sha256:" + config.image;
  c.labels = config.labels;
  c.annotations = config.annotations;
  c.log_path = sandbox.log_directory + "/" + config.log_path;
  owner_[c.id] = owner->second;
  auto id = c.id;
  auto& containers = pods_[owner->second].containers;
  containers.insert(containers.begin(), std::move(c));
  answer<std::string>(std::move(done), std::move(id));
}

void HollowRuntime::start_container(const std::string& id, Done<gantry::Done> done) {
  auto* c = container(id);
  if (c == nullptr) return answer<gantry::Done>(std::move(done), Error{Code::kNotFound, "no such container"});
  c->state = ContainerState::kRunning;
  c->started_at = nanos();
  answer<gantry::Done>(std::move(done), gantry::Done{});
}

void HollowRuntime::end(const std::string& id, int exit_code, const std::string& reason) {
  auto* c = container(id);
  if (c == nullptr || c->state != ContainerState::kRunning) return;
  c->state = ContainerState::kExited;
  c->exit_code = exit_code;
  c->reason = reason;
  c->finished_at = nanos();
  changed(owner_[id]);
}

void HollowRuntime::stop_container(const std::string& id, Duration, const std::string&, Done<gantry::Done> done) {
  end(id, 0, "Completed");
  answer<gantry::Done>(std::move(done), gantry::Done{});
}

void HollowRuntime::remove_container(const std::string& id, Done<gantry::Done> done) {
  if (auto* pod = pod_of_container(id)) {
    std::erase_if(pod->containers, [&](const Container& c) { return c.id == id; });
    owner_.erase(id);
  }
  answer<gantry::Done>(std::move(done), gantry::Done{});
}

void HollowRuntime::update_container(const std::string&, const Resources&, Done<gantry::Done> done) {
  answer<gantry::Done>(std::move(done), gantry::Done{});
}

void HollowRuntime::reopen_log(const std::string&, Done<gantry::Done> done) {
  answer<gantry::Done>(std::move(done), gantry::Done{});
}

void HollowRuntime::exec(const std::string&, const ExecOptions&, Process::Callbacks,
                         Done<std::unique_ptr<Process>> done) {
  loop_.post([done] { done(Error{Code::kUnavailable, "a hollow node runs no processes"}); });
}

void HollowRuntime::attach(const std::string&, const ExecOptions&, Process::Callbacks,
                           Done<std::unique_ptr<Process>> done) {
  loop_.post([done] { done(Error{Code::kUnavailable, "a hollow node runs no processes"}); });
}

void HollowRuntime::exec_sync(const std::string&, const std::vector<std::string>&, Duration, Done<ExecResult> done) {
  answer<ExecResult>(std::move(done), ExecResult{});
}

void HollowRuntime::connect_port(const std::string&, uint16_t, Done<int> done) {
  answer<int>(std::move(done), Error{Code::kUnavailable, "a hollow node listens on nothing"});
}

void HollowRuntime::usage(Done<std::vector<ContainerUsage>> done) {
  answer<std::vector<ContainerUsage>>(std::move(done), std::vector<ContainerUsage>{});
}

void HollowRuntime::pod_usage(Done<std::vector<PodUsage>> done) {
  answer<std::vector<PodUsage>>(std::move(done), std::vector<PodUsage>{});
}

RuntimePod* HollowRuntime::pod_of_container(const std::string& id) {
  auto owner = owner_.find(id);
  if (owner == owner_.end()) return nullptr;
  auto pod = pods_.find(owner->second);
  return pod == pods_.end() ? nullptr : &pod->second;
}

Container* HollowRuntime::container(const std::string& id) {
  auto* pod = pod_of_container(id);
  if (pod == nullptr) return nullptr;
  for (auto& c : pod->containers) {
    if (c.id == id) return &c;
  }
  return nullptr;
}

}  // namespace gantry::nodeagent

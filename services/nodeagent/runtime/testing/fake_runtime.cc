#include "services/nodeagent/runtime/testing/fake_runtime.h"

#include <fmt/ranges.h>

namespace gantry::testing {

using namespace nodeagent;  // NOLINT(google-build-using-namespace): the fake of that namespace's interface

std::optional<Error> FakeRuntime::failure(const std::string& call) {
  auto& queue = failures_[call];
  if (queue.empty()) return std::nullopt;
  auto error = queue.front();
  queue.pop_front();
  return error;
}

const RuntimePod* FakeRuntime::pod(const std::string& uid) const {
  auto found = pods_.find(uid);
  return found == pods_.end() ? nullptr : &found->second;
}

const nodeagent::Container* FakeRuntime::newest(const std::string& uid, const std::string& name) const {
  const auto* p = pod(uid);
  if (p == nullptr) return nullptr;
  for (const auto& c : p->containers) {
    if (c.name == name) return &c;
  }
  return nullptr;
}

void FakeRuntime::exit(const std::string& uid, const std::string& name, int code) {
  const auto* c = newest(uid, name);
  if (c != nullptr) end(std::string(c->id), code, code == 0 ? "Completed" : "Error");
}

void FakeRuntime::lose_sandbox(const std::string& uid) {
  auto found = pods_.find(uid);
  if (found == pods_.end()) return;
  for (auto& s : found->second.sandboxes) s.ready = false;
  std::vector<std::string> ids;
  for (auto& c : found->second.containers) ids.push_back(c.id);
  for (const auto& id : ids) end(id, 137, "Error");
  changed(uid);
}

void FakeRuntime::observe(const std::string& pod_uid, Done<RuntimePod> done) {
  if (auto error = failure("observe")) return answer<RuntimePod>(std::move(done), *error);
  HollowRuntime::observe(pod_uid, std::move(done));
}

void FakeRuntime::run_sandbox(const SandboxConfig& config, Done<std::string> done) {
  calls.push_back(fmt::format("run_sandbox {}/{}", config.name, config.attempt));
  last_sandbox = config;
  if (auto error = failure("run_sandbox")) return answer<std::string>(std::move(done), *error);
  HollowRuntime::run_sandbox(config, std::move(done));
}

void FakeRuntime::stop_sandbox(const std::string& id, Done<gantry::Done> done) {
  calls.push_back("stop_sandbox");
  HollowRuntime::stop_sandbox(id, std::move(done));
}

void FakeRuntime::remove_sandbox(const std::string& id, Done<gantry::Done> done) {
  calls.push_back("remove_sandbox");
  HollowRuntime::remove_sandbox(id, std::move(done));
}

void FakeRuntime::find_image(const std::string& image, Done<std::optional<Image>> done) {
  if (images_ && images_->count(image) == 0)
    return answer<std::optional<Image>>(std::move(done), std::optional<Image>());
  if (auto known = described_.find(image); known != described_.end())
    return answer<std::optional<Image>>(std::move(done), std::optional(known->second));
  HollowRuntime::find_image(image, std::move(done));
}

void FakeRuntime::pull_image(const std::string& image, const SandboxConfig& sandbox, const RegistryAuth* auth,
                             Done<std::string> done) {
  calls.push_back("pull_image " + image);
  auths.push_back(auth ? *auth : RegistryAuth{});
  auto pull = [this, image, sandbox, done = std::move(done)] {
    if (auto error = failure("pull_image")) return answer<std::string>(done, *error);
    if (images_) images_->insert(image);
    HollowRuntime::pull_image(image, sandbox, nullptr, done);
  };
  if (!held("pull_image", pull)) pull();
}

void FakeRuntime::list_images(Done<std::vector<Image>> done) {
  std::vector<Image> all;
  for (const auto& [name, image] : described_) {
    if (!images_ || images_->count(name) != 0) all.push_back(image);
  }
  answer<std::vector<Image>>(std::move(done), std::move(all));
}

void FakeRuntime::remove_image(const std::string& id, Done<gantry::Done> done) {
  calls.push_back("remove_image " + id);
  std::erase_if(described_, [&](const auto& entry) {
    if (entry.second.id != id) return false;
    image_fs.used_bytes -= std::min(image_fs.used_bytes, entry.second.size);
    if (images_) images_->erase(entry.first);
    return true;
  });
  HollowRuntime::remove_image(id, std::move(done));
}

void FakeRuntime::image_filesystem(Done<FsUsage> done) { answer<FsUsage>(std::move(done), image_fs); }

void FakeRuntime::status(Done<RuntimeStatus> done) { answer<RuntimeStatus>(std::move(done), runtime_status); }

void FakeRuntime::update_container(const std::string& id, const Resources& resources, Done<gantry::Done> done) {
  auto* c = container(id);
  calls.push_back("update_container " + (c ? c->name : id));
  if (c != nullptr) updated[c->name] = resources;
  if (auto error = failure("update_container")) return answer<gantry::Done>(std::move(done), *error);
  HollowRuntime::update_container(id, resources, std::move(done));
}

void FakeRuntime::usage(Done<std::vector<ContainerUsage>> done) {
  if (held("usage", [this, done] { answer<std::vector<ContainerUsage>>(done, uses); })) return;
  answer<std::vector<ContainerUsage>>(std::move(done), uses);
}

void FakeRuntime::create_container(const std::string& sandbox_id, const SandboxConfig& sandbox,
                                   const ContainerConfig& config, Done<std::string> done) {
  calls.push_back(fmt::format("create_container {}/{}", config.name, config.attempt));
  last_configs[config.name] = config;
  if (auto error = failure("create_container")) return answer<std::string>(std::move(done), *error);
  HollowRuntime::create_container(sandbox_id, sandbox, config, std::move(done));
}

void FakeRuntime::start_container(const std::string& id, Done<gantry::Done> done) {
  calls.push_back("start_container");
  if (auto error = failure("start_container")) return answer<gantry::Done>(std::move(done), *error);
  HollowRuntime::start_container(id, std::move(done));
}

void FakeRuntime::hold_image(const std::string& key, const std::string& image, Done<std::vector<FsMount>> done) {
  calls.push_back(fmt::format("hold_image {} {}", key, image));
  if (auto error = failure("hold_image")) return answer<std::vector<FsMount>>(std::move(done), *error);
  HollowRuntime::hold_image(key, image, std::move(done));
}

void FakeRuntime::release_image(const std::string& key, Done<gantry::Done> done) {
  calls.push_back("release_image " + key);
  HollowRuntime::release_image(key, std::move(done));
}

void FakeRuntime::stop_container(const std::string& id, Duration grace, const std::string& signal,
                                 Done<gantry::Done> done) {
  auto* c = container(id);
  calls.push_back(fmt::format("stop_container {} {}s{}{}", c ? c->name : "?",
                              std::chrono::duration_cast<std::chrono::seconds>(grace).count(),
                              signal.empty() ? "" : " ", signal));
  if (auto error = failure("stop_container")) return answer<gantry::Done>(std::move(done), *error);
  if (held("stop_container", [=, this] { HollowRuntime::stop_container(id, grace, signal, done); })) return;
  if (!ignore_terminate_) return HollowRuntime::stop_container(id, grace, signal, std::move(done));
  kills_[id + calls.back()] = loop_.after(grace, [this, id, done = std::move(done)] {
    end(id, 137, "Error");
    done(gantry::Done{});
  });
}

void FakeRuntime::exec_sync(const std::string& container_id, const std::vector<std::string>& command, Duration,
                            Done<ExecResult> done) {
  auto* c = container(container_id);
  calls.push_back(fmt::format("exec_sync {} {}", c ? c->name : "?", fmt::join(command, " ")));
  if (held("exec_sync", [=, this] { answer<ExecResult>(done, exec_result); })) return;
  answer<ExecResult>(std::move(done), exec_result);
}

}  // namespace gantry::testing

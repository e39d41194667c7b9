#include "services/nodeagent/cri/orphans.h"

#include <signal.h>
#include <sys/mount.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

namespace gantry::nodeagent {

namespace v1 = runtime::v1;
namespace containers = containerd::services::containers::v1;
namespace fs = std::filesystem;

namespace {

constexpr Duration kWait = std::chrono::seconds(10), kSoon = std::chrono::seconds(1), kQuick = std::chrono::seconds(20);

std::vector<std::string> command_line(const fs::path& process) {
  std::ifstream in(process / "cmdline", std::ios::binary);
  std::vector<std::string> words;
  for (std::string word; std::getline(in, word, '\0');) words.push_back(word);
  return words;
}

// The shims of the containerd at `socket`: id -> process.
std::map<std::string, pid_t> shims(const std::string& socket) {
  std::map<std::string, pid_t> out;
  std::error_code error;
  for (fs::directory_iterator it("/proc", error), end; !error && it != end; it.increment(error)) {
    auto name = it->path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    auto words = command_line(it->path());
    if (words.empty() || words[0].find("containerd-shim") == std::string::npos) continue;
    auto value = [&](const char* flag) -> std::string {
      auto found = std::find(words.begin(), words.end(), flag);
      return found == words.end() || found + 1 == words.end() ? "" : *(found + 1);
    };
    // Not the short-lived helpers: those have a command behind their flags.
    const bool helper = words.back() == "start" || words.back() == "delete";
    if (!helper && value("-namespace") == "k8s.io" && value("-address") == socket && !value("-id").empty())
      out[value("-id")] = static_cast<pid_t>(std::strtol(name.c_str(), nullptr, 10));
  }
  return out;
}

// Where containerd's CRI keeps network namespaces that are its alone; "" when it shares a directory with others.
std::string namespace_directory(const v1::StatusResponse& status) {
  auto text = status.info().find("config");
  if (text == status.info().end()) return "";
  auto config = nlohmann::json::parse(text->second, nullptr, false);
  if (!config.is_object() || !config.value("netnsMountsUnderStateDir", false)) return "";
  auto state = config.value("stateDir", "");
  return state.empty() ? "" : state + "/netns";
}

std::string network_namespace(const containers::Container& container) {
  auto spec = nlohmann::json::parse(container.spec().value(), nullptr, false);
  if (!spec.is_object()) return "";
  for (const auto& ns : spec.value(nlohmann::json::json_pointer("/linux/namespaces"), nlohmann::json::array())) {
    if (ns.is_object() && ns.value("type", "") == "network") return ns.value("path", "");
  }
  return "";
}

}  // namespace

void Orphans::connected() {
  suspects_ = {};
  timer_.reset();
  looking_ = again_ = false;
  v1::StatusRequest request;
  request.set_verbose(true);
  services_.calls.call(runtime_.async(), &v1::RuntimeService::Stub::async::Status, std::move(request), kQuick,
                       [this](Result<v1::StatusResponse> r) {
                         if (!r.ok()) return;  // another connection, another look
                         namespaces_ = namespace_directory(*r);
                         look(false);
                       });
}

void Orphans::removed() {
  again_ = looking_;
  if (looking_) return;
  looking_ = true;
  timer_ = services_.loop.after(kSoon, [this] { look(false); });
}

void Orphans::look(bool last) {
  looking_ = true;
  services_.calls.call(services_.containers->async(), &containers::Containers::Stub::async::List,
                       containers::ListContainersRequest(), kQuick,
                       [this, last](Result<containers::ListContainersResponse> r) {
                         if (!r.ok()) return;
                         judge(*r, last);
                         if (timer_) return;
                         looking_ = false;
                         if (std::exchange(again_, false)) removed();
                       });
}

Orphans::Found Orphans::find() const {
  Found out;
  out.shims = shims(socket_);
  std::error_code error;
  if (!namespaces_.empty()) {
    for (fs::directory_iterator it(namespaces_, error), end; !error && it != end; it.increment(error)) {
      if (it->path().filename().string().starts_with("cni-")) out.namespaces.insert(it->path());
    }
  }
  if (!ipam_.empty()) {
    for (fs::recursive_directory_iterator it(ipam_, error), end; !error && it != end; it.increment(error)) {
      auto name = it->path().filename().string();
      if (std::isdigit(static_cast<unsigned char>(name[0])) == 0 || it->is_directory()) continue;
      std::ifstream in(it->path());
      std::string id;
      std::getline(in, id);
      while (!id.empty() && std::isspace(static_cast<unsigned char>(id.back())) != 0) id.pop_back();
      if (!id.empty()) out.addresses[it->path()] = id;
    }
  }
  return out;
}

void Orphans::judge(const containers::ListContainersResponse& response, bool last) {
  auto found = find();
  std::set<std::string> ids;
  for (const auto& container : response.containers()) {
    ids.insert(container.id());
    found.shims.erase(container.id());
    found.namespaces.erase(network_namespace(container));
  }
  std::erase_if(found.addresses, [&](const auto& entry) { return ids.count(entry.second) != 0; });
  timer_.reset();
  if (!last) {
    suspects_ = std::move(found);
    if (!suspects_.shims.empty() || !suspects_.namespaces.empty() || !suspects_.addresses.empty())
      timer_ = services_.loop.after(kWait, [this] { look(true); });
    return;
  }
  for (const auto& [id, pid] : found.shims) {
    auto suspect = suspects_.shims.find(id);
    if (suspect == suspects_.shims.end() || suspect->second != pid) continue;
    LOG(WARNING) << "shim " << pid << " of " << id << " belongs to no container: killed";
    kill(pid, SIGKILL);
  }
  for (const auto& path : found.namespaces) {
    if (suspects_.namespaces.count(path) == 0) continue;
    LOG(WARNING) << "network namespace " << path << " belongs to no container: removed";
    umount2(path.c_str(), MNT_DETACH);
    std::error_code ignored;
    fs::remove(path, ignored);
  }
  for (const auto& [path, id] : found.addresses) {
    if (suspects_.addresses.count(path) == 0 || suspects_.addresses[path] != id) continue;
    LOG(WARNING) << "address " << path << " of " << id << " belongs to no container: released";
    std::error_code ignored;
    fs::remove(path, ignored);
  }
  suspects_ = {};
}

}  // namespace gantry::nodeagent

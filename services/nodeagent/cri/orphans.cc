#include "services/nodeagent/cri/orphans.h"

#include <signal.h>

#include <filesystem>
#include <fstream>
#include <sstream>

namespace gantry::nodeagent {

namespace {

constexpr Duration kWait = std::chrono::seconds(5);

// The shims of the containerd at `socket`: id -> process.
std::map<std::string, pid_t> shims(const std::string& socket) {
  std::map<std::string, pid_t> out;
  std::error_code error;
  for (std::filesystem::directory_iterator it("/proc", error), end; !error && it != end; it.increment(error)) {
    auto name = it->path().filename().string();
    if (name.empty() || name.find_first_not_of("0123456789") != std::string::npos) continue;
    std::ifstream in(it->path() / "cmdline", std::ios::binary);
    std::ostringstream text;
    text << in.rdbuf();
    std::vector<std::string> words;
    std::istringstream parts(text.str());
    for (std::string word; std::getline(parts, word, '\0');) words.push_back(word);
    if (words.empty() || words[0].find("containerd-shim") == std::string::npos) continue;
    auto value = [&](const char* flag) -> std::string {
      for (size_t i = 1; i + 1 < words.size(); ++i) {
        if (words[i] == flag) return words[i + 1];
      }
      return "";
    };
    // Not the short-lived helpers: those have a command behind their flags.
    const bool helper = words.back() == "start" || words.back() == "delete";
    if (!helper && value("-namespace") == "k8s.io" && value("-address") == socket && !value("-id").empty())
      out[value("-id")] = static_cast<pid_t>(std::strtol(name.c_str(), nullptr, 10));
  }
  return out;
}

}  // namespace

void OrphanShims::connected() {
  suspects_.clear();
  timer_ = loop_.after(kWait, [this] { look(1); });
}

void OrphanShims::look(int left) {
  namespace v1 = containerd::services::containers::v1;
  calls_.call(containers_.async(), &v1::Containers::Stub::async::List, v1::ListContainersRequest(),
              std::chrono::seconds(20), [this, left](Result<v1::ListContainersResponse> r) {
                if (!r.ok()) return;  // another connection, another look
                auto running = shims(socket_);
                for (const auto& container : r->containers()) running.erase(container.id());
                std::set<std::string> again;
                for (const auto& [id, pid] : running) {
                  again.insert(id);
                  if (suspects_.count(id) == 0) continue;
                  LOG(WARNING) << "shim " << pid << " of " << id << " is known to nobody: killed";
                  kill(pid, SIGKILL);
                }
                suspects_ = std::move(again);
                if (left > 0 && !suspects_.empty()) timer_ = loop_.after(kWait, [this, left] { look(left - 1); });
              });
}

}  // namespace gantry::nodeagent

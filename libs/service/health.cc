#include "libs/service/health.h"

#include <fmt/format.h>

namespace gantry::service {
namespace {

const http::Headers kText = {{"Content-Type", "text/plain; charset=utf-8"}, {"X-Content-Type-Options", "nosniff"}};

}  // namespace

std::shared_ptr<void> Health::add(Checks& checks, std::string name, Check check) {
  auto handle = std::make_shared<Check>(std::move(check));
  std::erase_if(checks, [](const auto& known) { return known.second.expired(); });
  checks.emplace_back(std::move(name), handle);
  return handle;
}

std::vector<std::string> Health::not_ready() const {
  std::vector<std::string> out;
  if (draining_) out.emplace_back("draining: the process is about to end");
  for (const auto& [name, weak] : ready_) {
    auto check = weak.lock();
    if (check == nullptr) continue;
    if (auto status = (*check)(); !status) out.push_back(fmt::format("{}: {}", name, status.error().message));
  }
  return out;
}

void Health::probe(const http::Request& request, std::string_view kind, std::string_view only, const Checks& checks,
                   http::Responder& responder) const {
  std::string lines;
  bool good = true, found = only.empty();
  auto tell = [&](std::string_view name, const Status& status) {
    if (!only.empty() && name != only) return;
    found = true;
    good = good && status.ok();
    lines +=
        status.ok() ? fmt::format("[+]{} ok\n", name) : fmt::format("[-]{} failed: {}\n", name, status.error().message);
  };
  if (draining_ && kind == "readyz") tell("draining", Error{.message = "the process is about to end"});
  for (const auto& [name, weak] : checks) {
    if (auto check = weak.lock()) tell(name, (*check)());
  }
  if (!found) return responder.send(404, kText, fmt::format("no check named {}\n", only));
  if (!good) return responder.send(503, kText, lines + fmt::format("{} check failed\n", kind));
  responder.send(200, kText, request.query.has("verbose") ? lines + fmt::format("{} check passed\n", kind) : "ok");
}

void Health::handle(const http::Request& request, http::Responder& responder) const {
  if (request.method != "GET" && request.method != "HEAD") return responder.send(405, kText, "only GET\n");
  std::string_view path = request.path;
  if (path == "/metrics") {
    return responder.send(200, {{"Content-Type", "text/plain; version=0.0.4; charset=utf-8"}}, metrics_.expose());
  }
  for (auto [kind, checks] : {std::pair("readyz", &ready_), std::pair("healthz", &live_), std::pair("livez", &live_)}) {
    auto root = fmt::format("/{}", kind);
    if (path == root) return probe(request, kind, "", *checks, responder);
    if (path.starts_with(root + '/')) return probe(request, kind, path.substr(root.size() + 1), *checks, responder);
  }
  responder.send(404, kText, "there are /healthz, /readyz and /metrics\n");
}

}  // namespace gantry::service

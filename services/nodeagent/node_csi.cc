#include "services/nodeagent/node_csi.h"

#include <fmt/format.h>

#include <filesystem>

#include "libs/base/ids.h"
#include "services/nodeagent/runtime_choice.h"

namespace gantry::nodeagent {

Result<std::unique_ptr<NodeCsi>> NodeCsi::make(UvLoop& loop, bus::Bus& bus, bus::Commands& commands, Executor& executor,
                                               const std::string& node, const Paths& paths) {
  auto transport = make_csi_transport(loop);
  if (!transport) return std::unique_ptr<NodeCsi>();
  std::error_code error;
  std::filesystem::create_directories(paths.plugins(), error);
  if (error) return Error{Code::kInternal, fmt::format("{}: {}", paths.plugins(), error.message())};
  std::unique_ptr<NodeCsi> csi(new NodeCsi(loop, bus, commands, executor, node, paths, std::move(transport)));
  if (auto watched = csi->watch(paths.plugins()); !watched.ok()) return watched.error();
  return csi;
}

NodeCsi::NodeCsi(UvLoop& loop, bus::Bus& bus, bus::Commands& commands, Executor& executor, const std::string& node,
                 const Paths& paths, std::unique_ptr<CsiTransport> transport)
    : loop_(loop),
      transport_(std::move(transport)),
      drivers_(loop, *transport_, commands, node, paths.plugins()),
      volumes_(loop, drivers_, commands, paths, [&executor](std::function<void()> work, std::function<void()> done) {
        executor.run(std::move(work), std::move(done));
      }) {
  measure_ = loop.every(std::chrono::minutes(1), [this] { volumes_.measure(); });
  subscription_ = bus.subscribe(
      fmt::format("gantry.node.{}.down.csi", encode_token(node)), "", [this, &bus](const bus::Message& message) {
        drivers_.serve(message.data, [&bus, reply = std::string(message.reply)](const std::string& answer) {
          if (auto sent = bus.publish(reply, answer); !sent.ok())
            LOG(WARNING) << "CSI answer: " << sent.error().message;
        });
      });
}

NodeCsi::~NodeCsi() {
  if (watcher_ == nullptr) return;
  watcher_->data = nullptr;
  uv_close(reinterpret_cast<uv_handle_t*>(watcher_),
           [](uv_handle_t* handle) { delete reinterpret_cast<uv_fs_event_t*>(handle); });
}

Status NodeCsi::watch(const std::string& directory) {
  watcher_ = new uv_fs_event_t;
  uv_fs_event_init(loop_.raw(), watcher_);
  watcher_->data = this;
  const int failed = uv_fs_event_start(
      watcher_,
      [](uv_fs_event_t* handle, const char*, int, int) {
        if (handle->data != nullptr) static_cast<NodeCsi*>(handle->data)->drivers_.scan();
      },
      directory.c_str(), 0);
  if (failed != 0) return Error{Code::kInternal, fmt::format("watching {}: {}", directory, uv_strerror(failed))};
  return Done{};
}

void NodeCsi::attach(Agent& agent) {
  agent.use_csi(volumes_);
  drivers_.on_registered([&agent](const std::string&) { agent.on_driver(); });
  drivers_.scan();
}

}  // namespace gantry::nodeagent

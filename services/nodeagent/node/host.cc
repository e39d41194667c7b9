#include "services/nodeagent/node/host.h"

#include <unistd.h>

#include <cstdio>
#include <string_view>

namespace gantry::nodeagent {

namespace {

/// A libuv handle with a callback; closed when dropped.
template <typename Handle>
struct Owned {
  Handle handle{};
  std::function<void()> callback;
};
template <typename Handle>
std::shared_ptr<Owned<Handle>> own(Owned<Handle>* owned) {
  owned->handle.data = owned;
  return {owned, [](Owned<Handle>* gone) {
            gone->callback = nullptr;
            uv_close(reinterpret_cast<uv_handle_t*>(&gone->handle),
                     [](uv_handle_t* closed) { delete static_cast<Owned<Handle>*>(closed->data); });
          }};
}

}  // namespace

std::shared_ptr<void> on_signal(UvLoop& loop, int number, std::function<void()> received) {
  auto* signal = new Owned<uv_signal_t>{{}, std::move(received)};
  uv_signal_init(loop.raw(), &signal->handle);
  auto handle = own(signal);
  uv_signal_start(
      &signal->handle,
      [](uv_signal_t* handle, int) {
        auto* owned = static_cast<Owned<uv_signal_t>*>(handle->data);
        if (owned->callback) owned->callback();
      },
      number);
  return handle;
}

std::shared_ptr<void> watch_directory(UvLoop& loop, const std::string& directory, std::function<void()> changed) {
  auto* watch = new Owned<uv_fs_event_t>{{}, std::move(changed)};
  uv_fs_event_init(loop.raw(), &watch->handle);
  auto handle = own(watch);
  int failed = uv_fs_event_start(
      &watch->handle,
      [](uv_fs_event_t* handle, const char*, int, int) {
        auto* owned = static_cast<Owned<uv_fs_event_t>*>(handle->data);
        if (owned->callback) owned->callback();
      },
      directory.c_str(), 0);
  if (failed != 0) return nullptr;
  return handle;
}

bool machine_is_stopping() {
  if (access("/run/systemd/system", F_OK) != 0) return false;
  FILE* pipe = popen("systemctl is-system-running 2>/dev/null", "r");
  if (pipe == nullptr) return false;
  char state[64] = {};
  const bool read = fgets(state, sizeof state, pipe) != nullptr;
  pclose(pipe);
  return read && std::string_view(state).starts_with("stopping");
}

}  // namespace gantry::nodeagent

#include "services/nodeagent/cri/cri_runtime.h"
#include "services/nodeagent/runtime_choice.h"

namespace gantry::nodeagent {

Result<std::unique_ptr<Runtime>> make_runtime(UvLoop& loop, std::string socket, const std::string& exec_directory) {
  constexpr std::string_view kScheme = "unix://";
  if (socket.rfind(kScheme, 0) == 0) socket.erase(0, kScheme.size());
  return make_cri_runtime(loop, {std::move(socket), exec_directory});
}

}  // namespace gantry::nodeagent

#include "services/nodeagent/cri/cri_runtime.h"
#include "services/nodeagent/runtime_choice.h"
#include "services/nodeagent/volume/csi/grpc_transport.h"

namespace gantry::nodeagent {

Result<std::unique_ptr<Runtime>> make_runtime(UvLoop& loop, std::string socket, const std::string& exec_directory,
                                              const std::string& ipam_directory) {
  constexpr std::string_view kScheme = "unix://";
  if (socket.rfind(kScheme, 0) == 0) socket.erase(0, kScheme.size());
  return make_cri_runtime(loop, {std::move(socket), exec_directory, ipam_directory});
}

std::unique_ptr<CsiTransport> make_csi_transport(UvLoop& loop) { return make_grpc_transport(loop); }

}  // namespace gantry::nodeagent

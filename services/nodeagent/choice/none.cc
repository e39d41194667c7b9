#include "services/nodeagent/runtime_choice.h"

namespace gantry::nodeagent {

Result<std::unique_ptr<Runtime>> make_runtime(UvLoop&, std::string, const std::string&, const std::string&) {
  return Error{Code::kInvalid, "this build has no containerd runtime: only --hollow works"};
}

std::unique_ptr<CsiTransport> make_csi_transport(UvLoop&) { return nullptr; }

}  // namespace gantry::nodeagent

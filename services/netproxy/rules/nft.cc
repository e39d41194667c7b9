#include "services/netproxy/rules/nft.h"

#include <glog/logging.h>
#include <nftables/libnftables.h>

namespace gantry::netproxy {

struct Nft::Context {
  nft_ctx* ctx = nft_ctx_new(NFT_CTX_DEFAULT);
  ~Context() { nft_ctx_free(ctx); }
};

Nft::Nft(RulesetConfig config) : config_(std::move(config)), context_(std::make_unique<Context>()) {
  CHECK(context_->ctx != nullptr) << "libnftables cannot start";
  nft_ctx_buffer_error(context_->ctx);
  nft_ctx_buffer_output(context_->ctx);
}

Nft::~Nft() = default;

Status Nft::run(const std::string& commands) {
  if (nft_run_cmd_from_buffer(context_->ctx, commands.c_str()) != 0) {
    return Error{Code::kInternal, std::string("nftables: ") + nft_ctx_get_error_buffer(context_->ctx)};
  }
  return Done{};
}

Status Nft::apply(const Ruleset& ruleset) {
  if (valid_) {
    auto update = incremental_update(installed_, ruleset);
    if (update.empty()) return Done{};
    auto status = run(update);
    if (status.ok()) {
      installed_ = ruleset;
      return status;
    }
    LOG(WARNING) << "incremental update refused, installing the whole table: " << status.error().message;
    valid_ = false;
  }
  ++whole_;
  auto status = run(full_update(ruleset, config_));
  if (status.ok()) {
    installed_ = ruleset;
    valid_ = true;
  }
  return status;
}

Status Nft::remove() {
  valid_ = false;
  return run("add table ip gantry\ndelete table ip gantry\n");
}

}  // namespace gantry::netproxy

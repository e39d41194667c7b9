// Applies rulesets to the kernel of the network namespace that the process is in.
#pragma once

#include <memory>
#include <string>

#include "libs/base/result.h"
#include "services/netproxy/rules/ruleset.h"

namespace gantry::netproxy {

/// One atomic transaction for each apply(). Blocking (a few milliseconds); one thread at a time.
class Nft {
 public:
  explicit Nft(RulesetConfig config);
  ~Nft();

  /// Installs `ruleset`: incrementally when the last apply() succeeded, else the whole table anew. kInternal with nft's
  /// words; the table is then as before.
  Status apply(const Ruleset& ruleset);
  /// How often apply() installed the whole table.
  uint64_t whole_updates() const { return whole_; }
  /// Removes the table.
  Status remove();

 private:
  Status run(const std::string& commands);
  struct Context;
  RulesetConfig config_;
  std::unique_ptr<Context> context_;
  Ruleset installed_;
  bool valid_ = false;
  uint64_t whole_ = 0;
};

/// Forgets the connections of UDP frontends to backends that are in `before` and no more in `after`: without it, a
/// client that keeps its source port talks to a pod that is gone. Needs CAP_NET_ADMIN; returns how many were removed.
size_t purge_stale_udp(const std::vector<Frontend>& before, const std::vector<Frontend>& after);

}  // namespace gantry::netproxy

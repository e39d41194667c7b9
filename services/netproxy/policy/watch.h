// A PolicyBook with its feeds of pods and namespaces. Loop's thread only.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "libs/projection/cache.h"
#include "services/netproxy/policy/book.h"

namespace gantry::netproxy {

class PolicyWatch {
 public:
  /// `changed` is called after each change that the rules may show, and once synced() turns true. What is passed
  /// outlives this.
  PolicyWatch(Loop& loop, bus::Bus& bus, bus::Commands& commands, std::string node, std::function<void()> changed);

  bool synced() const { return pods_.synced() && namespaces_.synced(); }
  void policy(const projection::Change& change);
  PolicyBook& book() { return book_; }

 private:
  PolicyBook book_;
  projection::Cache pods_, namespaces_;
  std::unique_ptr<bus::Feed> pod_feed_, namespace_feed_;
};

}  // namespace gantry::netproxy

// A gateway's core on a store in memory and a manual loop, for tests that read as stories. Every call runs the loop
// until its answer is there.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "libs/base/testing/manual_loop.h"
#include "libs/state/testing/memory_store.h"
#include "services/apigw/core/api.h"

namespace gantry::apigw::testing {

class TestGateway {
 public:
  using Json = nlohmann::json;
  explicit TestGateway(ApiConfig config = {.advertise_address = "192.0.2.1:6443"});

  gantry::testing::ManualLoop loop;
  state::testing::MemoryStore store{loop};
  std::unique_ptr<Api> api;
  Identity admin = identity_of_bus("admin");

  /// A second gateway on the same store.
  std::unique_ptr<Api> another();

  Result<Answer> call(bus::Command command, const Identity* as = nullptr, Api* on = nullptr);
  Result<Answer> create(const std::string& resource, const std::string& ns, const Json& body,
                        const Identity* as = nullptr);
  Result<Answer> get(const std::string& resource, const std::string& ns, const std::string& name,
                     const std::string& subresource = "", const Identity* as = nullptr);
  Result<Answer> list(const std::string& resource, const std::string& ns = "", const std::string& labels = "",
                      const std::string& fields = "");
  Result<Answer> update(const std::string& resource, const std::string& ns, const Json& body,
                        const std::string& subresource = "", const Identity* as = nullptr);
  Result<Answer> patch(const std::string& resource, const std::string& ns, const std::string& name, const Json& body,
                       const std::string& subresource = "", bus::PatchType type = bus::PatchType::Merge);
  Result<Answer> remove(const std::string& resource, const std::string& ns, const std::string& name,
                        const Identity* as = nullptr);
  Result<Answer> bind(const std::string& ns, const std::string& name, const std::string& node);

  /// The stored object as JSON; null when there is none.
  Json stored(const std::string& resource, const std::string& ns, const std::string& name);

  static Json pod(const std::string& name);
  static Json deployment(const std::string& name, int replicas = 1);
  static Json service(const std::string& name, const std::string& type = "ClusterIP");
};

/// What a watch has told: "ADDED default/web", "BOOKMARK", "ERROR Expired".
class TestWatch {
 public:
  TestWatch(TestGateway& gateway, WatchRequest request, const Identity* as = nullptr);
  std::vector<std::string> take();
  void pause() { reading_ = false; }
  void resume() {
    reading_ = true;
    watch_->resume();
  }

 private:
  TestGateway& gateway_;
  std::vector<std::string> told_;
  bool reading_ = true;
  std::unique_ptr<Watch> watch_;
};

}  // namespace gantry::apigw::testing

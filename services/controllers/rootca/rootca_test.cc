#include "services/controllers/rootca/rootca.h"

#include <gtest/gtest.h>

#include "schemas/api/core_v1_generated.h"
#include "services/controllers/framework/testing/harness.h"

namespace gantry::controllers {
namespace {

using namespace std::chrono_literals;

std::string ca_of(testing::Harness& h, const std::string& key) {
  const model::Object* map = h.view.find("configmaps", key);
  if (map == nullptr) return "none";
  const auto* data = map->as<api::core_v1::ConfigMap>()->data();
  return data == nullptr || data->size() != 1 ? "other" : std::string(model::str(data->Get(0)->value()));
}

TEST(RootCaController, MakesAndRestores) {
  testing::Harness h;
  h.start(std::make_unique<RootCaController>("PEM"));
  h.cluster.add(R"({"apiVersion":"v1","kind":"Namespace","metadata":{"name":"a"}})");
  h.cluster.add(
      R"({"apiVersion":"v1","kind":"Namespace","metadata":{"name":"ending","deletionTimestamp":"2024-01-01T00:00:00Z"}})");
  h.cluster.add(R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"own","namespace":"a"},"data":{"x":"y"}})");
  h.run();
  EXPECT_EQ(h.cluster.keys("configmaps"), (std::vector<std::string>{"a/kube-root-ca.crt", "a/own"}));
  EXPECT_EQ(ca_of(h, "a/kube-root-ca.crt"), "PEM");
  h.cluster.erase("configmaps", "a/kube-root-ca.crt");
  h.pass(1s);
  EXPECT_EQ(ca_of(h, "a/kube-root-ca.crt"), "PEM");
  h.cluster.edit("configmaps", "a/kube-root-ca.crt", R"({"data":{"ca.crt":"forged","x":"y"}})");
  h.pass(1s);
  EXPECT_EQ(ca_of(h, "a/kube-root-ca.crt"), "PEM");
}

TEST(RootCaController, LeavesAloneWhatItDoesNotKnow) {
  testing::Harness h;
  h.start(std::make_unique<RootCaController>(""));
  h.cluster.add(R"({"apiVersion":"v1","kind":"Namespace","metadata":{"name":"a"}})");
  h.run();
  EXPECT_TRUE(h.cluster.keys("configmaps").empty());
}

}  // namespace
}  // namespace gantry::controllers

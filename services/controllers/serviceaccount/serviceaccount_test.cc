#include "services/controllers/serviceaccount/serviceaccount.h"

#include <gtest/gtest.h>

#include "services/controllers/framework/testing/harness.h"

namespace gantry::controllers {
namespace {

using namespace std::chrono_literals;

TEST(ServiceAccountController, MakesAndRestoresTheDefault) {
  testing::Harness h;
  h.start(std::make_unique<ServiceAccountController>());
  h.cluster.add(R"({"apiVersion":"v1","kind":"Namespace","metadata":{"name":"a"}})");
  h.cluster.add(
      R"({"apiVersion":"v1","kind":"Namespace","metadata":{"name":"ending","deletionTimestamp":"2024-01-01T00:00:00Z"}})");
  h.run();
  EXPECT_EQ(h.cluster.keys("serviceaccounts"), (std::vector<std::string>{"a/default"}));
  h.cluster.erase("serviceaccounts", "a/default");
  h.pass(1s);
  EXPECT_EQ(h.cluster.keys("serviceaccounts"), (std::vector<std::string>{"a/default"}));
}

}  // namespace
}  // namespace gantry::controllers

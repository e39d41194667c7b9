#include "services/controllers/ttlafterfinished/ttlafterfinished.h"

#include <gtest/gtest.h>

#include "services/controllers/framework/testing/harness.h"

namespace gantry::controllers {
namespace {

using namespace std::chrono_literals;

TEST(TtlAfterFinished, DeletesWhenTheTimeIsOver) {
  testing::Harness h;
  h.start(std::make_unique<TtlAfterFinishedController>());
  h.cluster.add(
      R"({"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"a","namespace":"d"},"spec":{"ttlSecondsAfterFinished":60}})");
  h.cluster.add(R"({"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"b","namespace":"d"},"spec":{}})");
  h.run(100s);
  for (const char* key : {"d/a", "d/b"}) {
    h.cluster.edit(
        "jobs", key,
        fmt::format(R"({{"status":{{"conditions":[{{"type":"Failed","status":"True","lastTransitionTime":"{}"}}]}}}})",
                    h.now()));
  }
  h.pass(58s);
  EXPECT_EQ(h.cluster.count("jobs"), 2u);
  h.pass(4s);
  const auto* job = h.cluster.get("jobs", "d/a");
  ASSERT_NE(job, nullptr);  // its pods go first
  EXPECT_EQ((*job)["metadata"]["finalizers"][0], "foregroundDeletion");
  size_t before = h.cluster.log.size();
  h.pass(100s);
  EXPECT_EQ(h.cluster.log.size(), before);
}

}  // namespace
}  // namespace gantry::controllers

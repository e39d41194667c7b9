#include "services/controllers/ephemeralvolume/ephemeralvolume.h"

#include <gtest/gtest.h>

#include "services/controllers/framework/testing/harness.h"

namespace gantry::controllers {
namespace {

using namespace std::chrono_literals;

TEST(EphemeralVolumeController, MakesTheClaimsThatPodsBring) {
  testing::Harness h;
  h.start(std::make_unique<EphemeralVolumeController>());
  h.cluster.add(
      R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","namespace":"d"},"spec":{"containers":[],"volumes":[{"name":"scratch","ephemeral":
         {"volumeClaimTemplate":{"metadata":{"labels":{"a":"b"}},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}}}}]}})");
  h.run(5s);
  const auto& claim = *h.cluster.get("persistentvolumeclaims", "d/p-scratch");
  EXPECT_EQ(claim["metadata"]["ownerReferences"][0]["kind"], "Pod");
  EXPECT_EQ(claim["metadata"]["labels"]["a"], "b");
  EXPECT_EQ(claim["spec"]["resources"]["requests"]["storage"], "1Gi");
  h.cluster.erase("persistentvolumeclaims", "d/p-scratch");
  h.pass(1s);
  EXPECT_EQ(h.cluster.count("persistentvolumeclaims"), 1u);
}

}  // namespace
}  // namespace gantry::controllers

#include "services/nodeagent/agent/sequence.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace gantry::nodeagent {
namespace {

TEST(Epoch, GrowsWithEachStartAndAfterDamage) {
  char name[] = "/tmp/gantry-epoch-XXXXXX";
  ASSERT_NE(mkdtemp(name), nullptr);
  auto path = std::string(name) + "/epoch";
  EXPECT_EQ(*next_epoch(path, 1000), 1001u);
  EXPECT_EQ(*next_epoch(path, 5000), 1002u);
  std::ofstream(path) << "10x";
  EXPECT_EQ(*next_epoch(path, 5000), 5001u);
  std::filesystem::remove_all(name);
  EXPECT_FALSE(next_epoch("/proc/nowhere/epoch", 1).ok());
}

}  // namespace
}  // namespace gantry::nodeagent

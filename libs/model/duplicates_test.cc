#include "libs/model/duplicates.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace gantry::model {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(DuplicateKeys, AreNamedByTheirPath) {
  EXPECT_THAT(duplicate_keys(R"({"a":1,"b":[{"c":1},{"c":2}]})"), IsEmpty());
  EXPECT_THAT(duplicate_keys(R"({"a":1,"a":2,"a":3})"), ElementsAre("a"));
  EXPECT_THAT(duplicate_keys(R"({"s":{"l":[1,{"n":1,"n":2}],"r":1,"r":2}})"), ElementsAre("s.l[1].n", "s.r"));
  EXPECT_THAT(duplicate_keys(R"([{"op":"add","op":"test"}])"), ElementsAre("[0].op"));
  EXPECT_THAT(duplicate_keys(R"({"a":1,"a")"), ElementsAre("a"));
  EXPECT_THAT(duplicate_keys(""), IsEmpty());
}

}  // namespace
}  // namespace gantry::model

#include "libs/service/log.h"

#include <gtest/gtest.h>

#include <sstream>

namespace gantry::service {
namespace {

TEST(Log, OneLineForEachMessage) {
  EXPECT_EQ(format_log_line('I', 1'700'000'000'000'042, "../libs/state/redis_store.cc", "hello a=1\nthere\n"),
            "I1114 22:13:20.000042 state] hello a=1\\nthere");
  EXPECT_EQ(format_log_line('W', 0, "/src/services/controllers/deployment/plan.cc", "x"),
            "W0101 00:00:00.000000 controllers/deployment] x");
  EXPECT_EQ(format_log_line('E', 0, "main.cc", "x"), "E0101 00:00:00.000000 main] x");
}

TEST(Log, ValuesAreQuotedWhenTheyMustBe) {
  std::ostringstream out;
  out << "bound" << kv("pod", "default/web-1") << kv("n", 3) << kv("empty", "") << kv("why", "no \"room\"\nat all");
  EXPECT_EQ(out.str(), "bound pod=default/web-1 n=3 empty=\"\" why=\"no \\\"room\\\"\\nat all\"");
}

}  // namespace
}  // namespace gantry::service

#include "libs/model/quantity.h"

#include <gtest/gtest.h>

#include <limits>

namespace gantry::model {
namespace {

std::string canonical(std::string_view text) {
  auto q = Quantity::parse(text);
  return q.ok() ? q->to_string() : "error";
}

TEST(Quantity, PrintsAsKubernetesDoes) {
  const std::pair<const char*, const char*> kCases[] = {
      {"0", "0"},
      {"0Ki", "0"},
      {"-0", "0"},
      {"1", "1"},
      {"+1", "1"},
      {"1000m", "1"},
      {"1500m", "1500m"},
      {"0.5", "500m"},
      {".5", "500m"},
      {"5.", "5"},
      {"100m", "100m"},
      {"1k", "1k"},
      {"1000", "1k"},
      {"1024", "1024"},
      {"1024Mi", "1Gi"},
      {"1.5Gi", "1536Mi"},
      {"1Ki", "1Ki"},
      {"0.5Ki", "512"},
      {"1023Ki", "1023Ki"},
      {"0.1Ki", "102400m"},
      {"12e3", "12e3"},
      {"1e3", "1e3"},
      {"1.5e3", "1500"},
      {"1E", "1E"},
      {"1e0", "1"},
      {"100u", "100u"},
      {"1n", "1n"},
      {"0.1n", "1n"},
      {"0.0000000001", "1n"},
      {"-1.5", "-1500m"},
      {"-1Gi", "-1Gi"},
      {"8Ei", "8Ei"},
      {"9223372036854775807", "9223372036854775807"},
      {"1.25Gi", "1280Mi"},
      {"250G", "250G"},
      {"0012", "12"},
      {"3.0", "3"},
      {"1E3", "1e3"},
      {"1e-3", "1e-3"},
  };
  for (auto [in, out] : kCases) EXPECT_EQ(canonical(in), out) << in;
}

TEST(Quantity, RefusesWhatIsNone) {
  for (std::string bad : {"", "+", "-", ".", "abc", "1.2.3", "1mi", "1KI", "1 Gi", "1e", "1e+", "1ee3", "e3", "--1",
                          "1Kii", "1e3x", "0x1"}) {
    EXPECT_EQ(canonical(bad), "error") << bad;
  }
}

TEST(Quantity, CalculatesAndCompares) {
  auto q = [](const char* s) { return *Quantity::parse(s); };
  EXPECT_EQ((q("1") + q("500m")).to_string(), "1500m");
  EXPECT_EQ((q("1Gi") - q("512Mi")).to_string(), "512Mi");
  EXPECT_EQ((Quantity() + q("1Gi")).to_string(), "1Gi");
  EXPECT_EQ((q("1") - q("3")).to_string(), "-2");
  EXPECT_LT(q("999m"), q("1"));
  EXPECT_GT(q("1Gi"), q("1G"));
  EXPECT_EQ(q("1024Mi"), q("1Gi"));
}

TEST(Quantity, ConvertsRoundingUp) {
  EXPECT_EQ(Quantity::parse("1500m")->value(), 2);
  EXPECT_EQ(Quantity::parse("1500m")->milli(), 1500);
  EXPECT_EQ(Quantity::parse("100u")->milli(), 1);
  EXPECT_EQ(Quantity::parse("-1500m")->value(), -2);
  EXPECT_EQ(Quantity::parse("100E")->value(), std::numeric_limits<int64_t>::max());
  EXPECT_EQ(Quantity::parse("1e999999999999999999999")->value(), std::numeric_limits<int64_t>::max());
  EXPECT_EQ(Quantity::parse("1e-999999999999999999999")->milli(), 1);
  EXPECT_EQ(Quantity::from_bytes(1 << 20).to_string(), "1Mi");
  EXPECT_EQ(Quantity::from_milli(250).to_string(), "250m");
  EXPECT_EQ(Quantity::from_value(std::numeric_limits<int64_t>::min()).value(), std::numeric_limits<int64_t>::min());
}

}  // namespace
}  // namespace gantry::model

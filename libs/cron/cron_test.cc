#include <gtest/gtest.h>

#include "libs/cron/schedule.h"
#include "libs/cron/zone.h"

namespace gantry::cron {
namespace {

int64_t utc(int year, int month, int day, int hour = 0, int minute = 0) {
  return days_from_civil(year, month, day) * 86'400 + hour * 3600 + minute * 60;
}

/// The next runs after `from`, as local times.
std::vector<std::string> runs(std::string_view text, int64_t from, size_t n, const Zone& zone = Zone::utc()) {
  auto schedule = Schedule::parse(text);
  EXPECT_TRUE(schedule.ok()) << text;
  std::vector<std::string> out;
  for (auto t = schedule->next(from, zone); t && out.size() < n; t = schedule->next(*t, zone))
    out.push_back(zone.format(*t));
  return out;
}

using Runs = std::vector<std::string>;

TEST(Schedule, FieldsRangesStepsAndNames) {
  const int64_t from = utc(2026, 1, 1);  // a Thursday
  EXPECT_EQ(runs("* * * * *", from, 2), (Runs{"2026-01-01T00:01:00Z", "2026-01-01T00:02:00Z"}));
  EXPECT_EQ(runs("*/20 3 * * *", from, 3),
            (Runs{"2026-01-01T03:00:00Z", "2026-01-01T03:20:00Z", "2026-01-01T03:40:00Z"}));
  EXPECT_EQ(runs("5,10-12/2 0 * * *", from, 3),
            (Runs{"2026-01-01T00:05:00Z", "2026-01-01T00:10:00Z", "2026-01-01T00:12:00Z"}));
  EXPECT_EQ(runs("50/5 0 * * *", from, 2), (Runs{"2026-01-01T00:50:00Z", "2026-01-01T00:55:00Z"}));
  EXPECT_EQ(runs("0 12 * * mon-WED", from, 2), (Runs{"2026-01-05T12:00:00Z", "2026-01-06T12:00:00Z"}));
  EXPECT_EQ(runs("0 0 29 feb ?", from, 1), (Runs{"2028-02-29T00:00:00Z"}));
  // Both days restricted: either.
  EXPECT_EQ(runs("0 0 13 * 5", from, 3),
            (Runs{"2026-01-02T00:00:00Z", "2026-01-09T00:00:00Z", "2026-01-13T00:00:00Z"}));
  EXPECT_EQ(runs("@hourly", from, 1), (Runs{"2026-01-01T01:00:00Z"}));
  EXPECT_EQ(runs("@weekly", from, 1), (Runs{"2026-01-04T00:00:00Z"}));
  EXPECT_EQ(runs("@yearly", from, 1), (Runs{"2027-01-01T00:00:00Z"}));
  EXPECT_EQ(runs("@every 1h30m", from, 2), (Runs{"2026-01-01T01:30:00Z", "2026-01-01T03:00:00Z"}));
  EXPECT_TRUE(runs("0 0 31 2 *", from, 1).empty());
}

TEST(Schedule, WhatCannotBeReadIsSaidInKubernetesWords) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "empty spec string"},
      {"bad", "expected exactly 5 fields, found 1: [bad]"},
      {"* * * *", "expected exactly 5 fields, found 4: [* * * *]"},
      {"60 * * * *", "end of range (60) above maximum (59): 60"},
      {"* * 0 * *", "beginning of range (0) below minimum (1): 0"},
      {"* * * * 7", "end of range (7) above maximum (6): 7"},
      {"5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"},
      {"*/0 * * * *", "step of range should be a positive number: */0"},
      {"x * * * *", "failed to parse int from x: strconv.Atoi: parsing \"x\": invalid syntax"},
      {"@often", "unrecognized descriptor: @often"},
  };
  for (const auto& [text, message] : cases) {
    auto schedule = Schedule::parse(text);
    ASSERT_FALSE(schedule.ok()) << text;
    EXPECT_EQ(schedule.error().message, message);
  }
}

TEST(Zone, OffsetsFollowTheDatabaseAndItsRules) {
  auto berlin = Zone::find("Europe/Berlin");
  ASSERT_TRUE(berlin.ok());
  EXPECT_EQ((*berlin)->offset(utc(2026, 1, 1)), 3600);
  EXPECT_EQ((*berlin)->offset(utc(2026, 7, 1)), 7200);
  EXPECT_EQ((*berlin)->offset(utc(2060, 1, 1)), 3600);  // beyond the table: by rule
  EXPECT_EQ((*berlin)->offset(utc(2060, 7, 1)), 7200);
  EXPECT_EQ((*berlin)->format(utc(2026, 7, 1, 10)), "2026-07-01T12:00:00+02:00");
  auto sydney = Zone::find("Australia/Sydney");
  ASSERT_TRUE(sydney.ok());
  EXPECT_EQ((*sydney)->offset(utc(2060, 1, 1)), 39'600);  // summer over the turn of the year
  EXPECT_EQ((*sydney)->offset(utc(2060, 7, 1)), 36'000);
  auto kolkata = Zone::find("Asia/Kolkata");
  ASSERT_TRUE(kolkata.ok());
  EXPECT_EQ((*kolkata)->offset(utc(2050, 7, 1)), 19'800);
  for (const char* bad : {"Nowhere/Town", "", "../etc/passwd", "/etc/localtime", "Europe"}) {
    auto zone = Zone::find(bad);
    ASSERT_FALSE(zone.ok()) << bad;
    EXPECT_EQ(zone.error().message, fmt::format("unknown time zone {}", bad));
  }
  EXPECT_FALSE(Zone::parse("TZif2").ok());
}

TEST(Schedule, ASkippedHourHasNoRunAndARepeatedOneTwo) {
  const Zone& berlin = **Zone::find("Europe/Berlin");
  EXPECT_EQ(runs("30 2 * * *", utc(2026, 3, 28, 12), 1, berlin), (Runs{"2026-03-30T02:30:00+02:00"}));
  EXPECT_EQ(runs("30 2 * * *", utc(2026, 10, 24, 12), 3, berlin),
            (Runs{"2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00", "2026-10-26T02:30:00+01:00"}));
  EXPECT_EQ(runs("0 0 * * 1", utc(2026, 3, 28, 12), 1, berlin), (Runs{"2026-03-30T00:00:00+02:00"}));
  // The clock goes from 24:00 to 01:00: that day has no midnight.
  const Zone& cairo = **Zone::find("Africa/Cairo");
  EXPECT_EQ(runs("0 1 24 4 *", utc(2026, 4, 1), 1, cairo), (Runs{"2026-04-24T01:00:00+03:00"}));
}

}  // namespace
}  // namespace gantry::cron

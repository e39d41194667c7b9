#include <gtest/gtest.h>

#include <future>
#include <random>
#include <set>

#include "libs/base/background.h"
#include "libs/base/ids.h"
#include "libs/base/result.h"
#include "libs/base/testing/manual_loop.h"
#include "libs/base/uv_loop.h"

namespace gantry {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(Ids, TokenEncodingIsInjectiveAndReversible) {
  std::mt19937 random(7);
  std::map<std::string, std::string> seen;
  for (int i = 0; i < 20000; ++i) {
    std::string raw;
    for (size_t n = random() % 6; n > 0; --n) raw += "a_%.*>-5F \xff"[random() % 12];
    auto token = encode_token(raw);
    EXPECT_EQ(decode_token(token), raw);
    EXPECT_EQ(token.find_first_of(".*> "), std::string::npos);
    auto [it, fresh] = seen.emplace(token, raw);
    EXPECT_EQ(it->second, raw);
  }
  EXPECT_EQ(encode_token("_"), "%5F");
  EXPECT_EQ(decode_token("%61"), std::nullopt);  // never produced
  EXPECT_EQ(decode_token("%5"), std::nullopt);
}

TEST(Ids, UidsDiffer) {
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) EXPECT_TRUE(seen.insert(new_uid()).second);
  EXPECT_EQ(new_uid()[14], '4');
  EXPECT_EQ(random_suffix(8).size(), 8u);
}

TEST(Result, CodesMapBothWays) {
  EXPECT_EQ(http_status(Code::kInvalid), 422);
  EXPECT_EQ(code_from_reason("AlreadyExists"), Code::kAlreadyExists);
  EXPECT_EQ(code_from_reason("what"), Code::kInternal);
}

TEST(ManualLoop, TimersRunInOrderAndCancel) {
  testing::ManualLoop loop;
  std::string order;
  auto b = loop.after(seconds(2), [&] { order += 'b'; });
  auto a = loop.after(seconds(1), [&] { order += 'a'; });
  auto never = loop.after(seconds(1), [&] { order += 'x'; });
  auto tick = loop.every(seconds(3), [&] { order += 't'; });
  never.reset();
  loop.post([&] { order += 'p'; });
  loop.advance(seconds(9));
  EXPECT_EQ(order, "pabttt");
}

TEST(Background, WorksInTurnAndAnswersByTheLoop) {
  UvLoop loop;
  Background background(2);
  std::vector<int> done;
  std::promise<void> gate;
  EXPECT_TRUE(background.run([&] { gate.get_future().wait(); }));
  size_t queued = 0;
  while (queued < 10 && background.run([&, i = static_cast<int>(queued)] {
    loop.post([&, i] {
      done.push_back(i);
      if (done.size() == queued) loop.stop();
    });
  }))
    ++queued;
  EXPECT_GE(queued, 1u);
  EXPECT_LE(queued, 3u);  // the gate's own place may be free again
  gate.set_value();
  loop.run();
  EXPECT_TRUE(std::is_sorted(done.begin(), done.end()));
}

TEST(UvLoop, PostFromThreadAndTimers) {
  UvLoop loop;
  int ticks = 0;
  auto timer = loop.every(milliseconds(1), [&] {
    if (++ticks == 3) loop.post([&] { loop.stop(); });
  });
  loop.run();
  EXPECT_GE(ticks, 3);
}

TEST(UvLoop, ATimerMayCancelItself) {
  UvLoop loop;
  Timer timer;
  timer = loop.every(milliseconds(1), [&] {
    timer.reset();
    loop.stop();
  });
  loop.run();
  EXPECT_FALSE(timer);
}

}  // namespace
}  // namespace gantry

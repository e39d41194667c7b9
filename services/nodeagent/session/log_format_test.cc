#include "services/nodeagent/session/log_format.h"

#include <gtest/gtest.h>

#include <random>

namespace gantry::nodeagent {
namespace {

std::string record(int i, char tag = 'F', const char* stream = "stdout") {
  return fmt::format("2024-05-01T12:{:02}:{:02}.123456789Z {} {} line {}\n", i / 60 % 60, i % 60, stream, tag, i);
}

std::string print(const std::string& file, LogFilter filter, size_t cut = 0) {
  LogPrinter printer(filter);
  std::string out;
  if (cut == 0) cut = file.size();
  for (size_t at = 0; at < file.size(); at += cut) printer.feed(std::string_view(file).substr(at, cut), out);
  return out;
}

TEST(LogFormat, PrintsTextsWhateverTheCut) {
  auto file = record(1) + record(2, 'F', "stderr") + "2024-05-01T12:00:03Z stdout F \n" + record(4);
  for (size_t cut : {0, 1, 7, 50}) EXPECT_EQ(print(file, {}, cut), "line 1\nline 2\n\nline 4\n") << cut;
}

TEST(LogFormat, JoinsPartialRecords) {
  auto file = record(1, 'P') + record(2, 'P') + record(3);
  EXPECT_EQ(print(file, {}), "line 1line 2line 3\n");
  EXPECT_EQ(print(file, {.timestamps = true}), "2024-05-01T12:00:01.123456789Z line 1line 2line 3\n");
}

TEST(LogFormat, SinceAndLimit) {
  auto file = record(1) + record(2) + record(3);
  EXPECT_EQ(print(file, {.since_micros = 1'714'564'802'000'000}), "line 2\nline 3\n");
  EXPECT_EQ(print(file, {.limit_bytes = 9}), "line 1\nli");
}

TEST(LogFormat, IgnoresWhatIsNoRecord) { EXPECT_EQ(print("garbage\n\nx y z\n" + record(1), {}), "line 1\n"); }

TEST(LogFormat, TailAgreesWithCountingFromTheFront) {
  std::mt19937 random(7);
  for (int round = 0; round < 50; ++round) {
    std::string file;
    std::vector<uint64_t> starts = {0};  // of whole lines
    int records = static_cast<int>(random() % 6000);
    for (int i = 0; i < records; ++i) {
      bool partial = random() % 5 == 0;
      file += record(i, partial ? 'P' : 'F');
      if (!partial) starts.push_back(file.size());
    }
    auto read = [&](uint64_t offset, size_t length) { return file.substr(offset, length); };
    bool open_end = starts.back() != file.size();
    for (int64_t n : {1, 2, 10, 100, 5000}) {
      // Lines of the file: each start but the last, unless partial records follow it.
      auto lines = static_cast<int64_t>(starts.size()) - (open_end ? 0 : 1);
      auto whole = open_end ? lines - 1 : lines;
      auto expected = whole <= n ? 0 : starts[static_cast<size_t>(whole - n)];
      EXPECT_EQ(find_tail(file.size(), n, read), expected) << "records=" << records << " n=" << n;
    }
  }
  EXPECT_EQ(find_tail(10, 0, nullptr), 10u);
}

}  // namespace
}  // namespace gantry::nodeagent

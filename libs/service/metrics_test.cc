#include "libs/service/metrics.h"

#include <gtest/gtest.h>

namespace gantry::service {
namespace {

TEST(Metrics, CountersAndGaugesInTextFormat) {
  Metrics metrics;
  metrics.counter("b_total", "Bs, with a \\ and\na line.", {{"z", "1"}, {"a", "say \"hi\"\n"}}).add(3);
  metrics.gauge("a", "As.").set(1.5);
  EXPECT_EQ(metrics.expose(),
            "# HELP a As.\n# TYPE a gauge\na 1.5\n"
            "# HELP b_total Bs, with a \\\\ and\\na line.\n# TYPE b_total counter\nb_total{a=\"say "
            "\\\"hi\\\"\\n\",z=\"1\"} 3\n");
}

TEST(Metrics, TheSameNameAndLabelsAreTheSameMetric) {
  Metrics metrics;
  metrics.counter("c", "", {{"a", "1"}, {"b", "2"}}).add();
  metrics.counter("c", "", {{"b", "2"}, {"a", "1"}}).add();
  EXPECT_EQ(metrics.counter("c", "", {{"a", "1"}, {"b", "2"}}).value(), 2u);
}

TEST(Metrics, HistogramsAreCumulative) {
  Metrics metrics;
  auto& histogram = metrics.histogram("h", "Hs.", {{"l", "x"}}, {0.1, 1});
  for (double value : {0.05, 0.1, 0.5, 7.0}) histogram.observe(value);
  auto text = metrics.expose();
  EXPECT_NE(text.find("h_bucket{l=\"x\",le=\"0.1\"} 2\nh_bucket{l=\"x\",le=\"1\"} 3\nh_bucket{l=\"x\",le=\"+Inf\"} 4\n"
                      "h_sum{l=\"x\"} 7.65\nh_count{l=\"x\"} 4\n"),
            std::string::npos)
      << text;
}

TEST(Metrics, SeriesAreBounded) {
  Metrics metrics;
  for (size_t i = 0; i < Metrics::kMaxSeries + 10; ++i) metrics.counter("c", "", {{"pod", std::to_string(i)}}).add();
  EXPECT_EQ(metrics.counter("c", "", {{"overflow", "true"}}).value(), 10u);
}

TEST(Metrics, AnotherTypeUnderTheSameNameIsKeptApart) {
  Metrics metrics;
  metrics.counter("x", "").add();
  metrics.gauge("x", "").set(5);
  auto text = metrics.expose();
  EXPECT_NE(text.find("x 1\n"), std::string::npos);
  EXPECT_NE(text.find("x_gauge 5\n"), std::string::npos);
}

TEST(Metrics, TheProcessIsMeasured) {
  Metrics metrics;
  add_process_metrics(metrics);
  metrics.expose();
  EXPECT_GT(metrics.gauge("process_resident_memory_bytes", "").value(), 1e6);
  EXPECT_GT(metrics.gauge("process_open_fds", "").value(), 2);
  EXPECT_GE(metrics.gauge("process_threads", "").value(), 1);
}

}  // namespace
}  // namespace gantry::service

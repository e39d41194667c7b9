// What a service counts, in the Prometheus text format.
//
//   auto& bound = metrics.counter("gantry_scheduler_bound_total", "Pods bound to a node.");
//   bound.add();
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace gantry::service {

/// Only grows. Any thread.
class Counter {
 public:
  void add(uint64_t n = 1) { value_.fetch_add(n, std::memory_order_relaxed); }
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }
  /// For totals that are counted elsewhere, in a collector.
  void set(uint64_t total) { value_.store(total, std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

/// Goes up and down. Any thread.
class Gauge {
 public:
  void set(double value) { value_.store(value, std::memory_order_relaxed); }
  void add(double delta);
  double value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<double> value_{0};
};

/// How often and how much, by upper bounds. Any thread.
class Histogram {
 public:
  explicit Histogram(std::vector<double> bounds);
  void observe(double value);
  uint64_t count() const { return count_.load(std::memory_order_relaxed); }
  double sum() const { return sum_.value(); }
  const std::vector<double>& bounds() const { return bounds_; }
  /// Observations at or below bounds()[i], or all of them past the last bound.
  uint64_t cumulative(size_t i) const;

 private:
  const std::vector<double> bounds_;
  std::unique_ptr<std::atomic<uint64_t>[]> buckets_;
  std::atomic<uint64_t> count_{0};
  Gauge sum_;
};

/// 100 us to 60 s: what a request or a commit may take, in seconds.
const std::vector<double>& duration_buckets();

using Labels = std::vector<std::pair<std::string, std::string>>;

/// Owns the metrics of a process: references stay valid as long as it. Asking again for the same name and labels gives
/// the same one. A family holds at most kMaxSeries label sets: beyond, all share one with the label overflow="true".
/// Any thread.
class Metrics {
 public:
  static constexpr size_t kMaxSeries = 2'000;

  Metrics();
  ~Metrics();
  Counter& counter(const std::string& name, const std::string& help, const Labels& labels = {});
  Gauge& gauge(const std::string& name, const std::string& help, const Labels& labels = {});
  /// The bounds of the first call hold for the family.
  Histogram& histogram(const std::string& name, const std::string& help, const Labels& labels = {},
                       const std::vector<double>& bounds = duration_buckets());
  /// Runs before each exposition, on the exposing thread, to bring gauges up to date.
  void collect(std::function<void()> collector);
  /// What follows the rest at each exposition, as it is: series that come and go, with their own HELP and TYPE.
  void append(std::function<std::string()> text);
  std::string expose();

 private:
  struct Family;
  template <typename T>
  T& find(const char* type, const std::string& name, const std::string& help, const Labels& labels,
          const std::function<std::unique_ptr<T>(const Family&)>& make);

  std::mutex mutex_;  // guards the maps; the metrics themselves are atomic
  std::map<std::string, std::unique_ptr<Family>> families_;
  std::vector<std::function<void()>> collectors_;
  std::vector<std::function<std::string()>> appended_;
};

/// process_cpu_seconds_total, process_resident_memory_bytes, process_open_fds and so on, from /proc.
void add_process_metrics(Metrics& metrics);

}  // namespace gantry::service

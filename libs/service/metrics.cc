#include "libs/service/metrics.h"

#include <fmt/format.h>
#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <variant>

namespace gantry::service {
namespace {

std::string escape(std::string_view text, bool quotes) {
  std::string out;
  for (char c : text) {
    if (c == '\\') {
      out += "\\\\";
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '"' && quotes) {
      out += "\\\"";
    } else {
      out += c;
    }
  }
  return out;
}

/// `a="1",b="2"`, sorted by name.
std::string print(Labels labels) {
  std::sort(labels.begin(), labels.end());
  std::string out;
  for (const auto& [name, value] : labels)
    out += fmt::format("{}{}=\"{}\"", out.empty() ? "" : ",", name, escape(value, true));
  return out;
}

std::string print(double value) {
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  return std::isnan(value) ? "NaN" : fmt::format("{}", value);
}

std::string braces(const std::string& labels) { return labels.empty() ? "" : '{' + labels + '}'; }

using Metric = std::variant<std::unique_ptr<Counter>, std::unique_ptr<Gauge>, std::unique_ptr<Histogram>>;

}  // namespace

struct Metrics::Family {
  std::string type, help;
  std::vector<double> bounds;
  std::map<std::string, Metric> series;
};

void Gauge::add(double delta) {
  double before = value_.load(std::memory_order_relaxed);
  while (!value_.compare_exchange_weak(before, before + delta, std::memory_order_relaxed)) {
  }
}

Histogram::Histogram(std::vector<double> bounds)
    : bounds_(std::move(bounds)), buckets_(new std::atomic<uint64_t>[bounds_.size() + 1]()) {}

void Histogram::observe(double value) {
  auto bucket = std::lower_bound(bounds_.begin(), bounds_.end(), value) - bounds_.begin();
  buckets_[static_cast<size_t>(bucket)].fetch_add(1, std::memory_order_relaxed);
  count_.fetch_add(1, std::memory_order_relaxed);
  sum_.add(value);
}

uint64_t Histogram::cumulative(size_t i) const {
  uint64_t out = 0;
  for (size_t bucket = 0; bucket <= std::min(i, bounds_.size()); ++bucket)
    out += buckets_[bucket].load(std::memory_order_relaxed);
  return out;
}

const std::vector<double>& duration_buckets() {
  static const std::vector<double> kBounds = {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
                                              0.1,    0.25,    0.5,    1,     2.5,    5,     10,   30,    60};
  return kBounds;
}

Metrics::Metrics() = default;
Metrics::~Metrics() = default;

template <typename T>
T& Metrics::find(const char* type, const std::string& name, const std::string& help, const Labels& labels,
                 const std::function<std::unique_ptr<T>(const Family&)>& make) {
  std::lock_guard lock(mutex_);
  auto& family = families_[name];
  if (family == nullptr) family = std::make_unique<Family>(Family{type, help, {}, {}});
  std::string key = print(labels);
  if (family->type != type) {  // a fault of the program, but none to die of
    LOG(ERROR) << "metric registered twice name=" << name << " type=" << type << " before=" << family->type;
    auto& other = families_[fmt::format("{}_{}", name, type)];
    if (other == nullptr) other = std::make_unique<Family>(Family{type, help, {}, {}});
    auto [it, fresh] = other->series.try_emplace(key);
    if (fresh) it->second = make(*other);
    return *std::get<std::unique_ptr<T>>(it->second);
  }
  auto found = family->series.find(key);
  if (found == family->series.end()) {
    if (family->series.size() >= kMaxSeries) key = "overflow=\"true\"";
    bool fresh = false;
    std::tie(found, fresh) = family->series.try_emplace(key);
    if (fresh) found->second = make(*family);
  }
  return *std::get<std::unique_ptr<T>>(found->second);
}

Counter& Metrics::counter(const std::string& name, const std::string& help, const Labels& labels) {
  return find<Counter>("counter", name, help, labels, [](const Family&) { return std::make_unique<Counter>(); });
}

Gauge& Metrics::gauge(const std::string& name, const std::string& help, const Labels& labels) {
  return find<Gauge>("gauge", name, help, labels, [](const Family&) { return std::make_unique<Gauge>(); });
}

Histogram& Metrics::histogram(const std::string& name, const std::string& help, const Labels& labels,
                              const std::vector<double>& bounds) {
  return find<Histogram>("histogram", name, help, labels, [&](const Family& family) {
    const Histogram* first = nullptr;
    for (const auto& [key, metric] : family.series) {
      const auto* existing = std::get_if<std::unique_ptr<Histogram>>(&metric);
      if (existing != nullptr && *existing != nullptr) first = existing->get();
    }
    return std::make_unique<Histogram>(first != nullptr ? first->bounds() : bounds);
  });
}

void Metrics::collect(std::function<void()> collector) {
  std::lock_guard lock(mutex_);
  collectors_.push_back(std::move(collector));
}

void Metrics::append(std::function<std::string()> text) {
  std::lock_guard lock(mutex_);
  appended_.push_back(std::move(text));
}

std::string Metrics::expose() {
  std::vector<std::function<void()>> collectors;
  std::vector<std::function<std::string()>> appended;
  {
    std::lock_guard lock(mutex_);
    collectors = collectors_;
    appended = appended_;
  }
  for (const auto& collector : collectors) collector();  // may register

  std::lock_guard lock(mutex_);
  std::string out;
  for (const auto& [name, family] : families_) {
    out += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, escape(family->help, false), name, family->type);
    for (const auto& [labels, metric] : family->series) {
      if (const auto* counter = std::get_if<std::unique_ptr<Counter>>(&metric)) {
        out += fmt::format("{}{} {}\n", name, braces(labels), (*counter)->value());
      } else if (const auto* gauge = std::get_if<std::unique_ptr<Gauge>>(&metric)) {
        out += fmt::format("{}{} {}\n", name, braces(labels), print((*gauge)->value()));
      } else {
        const auto& histogram = *std::get<std::unique_ptr<Histogram>>(metric);
        std::string prefix = labels.empty() ? "" : labels + ',';
        for (size_t i = 0; i < histogram.bounds().size(); ++i) {
          out += fmt::format("{}_bucket{{{}le=\"{}\"}} {}\n", name, prefix, print(histogram.bounds()[i]),
                             histogram.cumulative(i));
        }
        // One number for both, so that a reader never sees them differ.
        uint64_t all = histogram.cumulative(histogram.bounds().size());
        out += fmt::format("{}_bucket{{{}le=\"+Inf\"}} {}\n", name, prefix, all);
        out += fmt::format("{}_sum{} {}\n{}_count{} {}\n", name, braces(labels), print(histogram.sum()), name,
                           braces(labels), all);
      }
    }
  }
  for (const auto& text : appended) out += text();
  return out;
}

}  // namespace gantry::service

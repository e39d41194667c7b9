#include "tools/load/api.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <numeric>

#include "tools/load/http2_client.h"

namespace gantry::load {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }
int64_t micros() {
  return std::chrono::duration_cast<std::chrono::microseconds>(Clock::now().time_since_epoch()).count();
}

struct Percentiles {
  double p50 = 0, p99 = 0, max = 0;
};
Percentiles percentiles(std::vector<double> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  return {values[values.size() / 2], values[values.size() * 99 / 100], values.back()};
}

class ApiRun {
 public:
  explicit ApiRun(const ApiOptions& options) : options_(options) {}

  Status run() {
    if (auto started = start(); !started.ok()) return started;
    for (const auto& step : {&ApiRun::creates, &ApiRun::gets, &ApiRun::lists, &ApiRun::watches}) {
      if (auto done = (this->*step)(); !done.ok()) return done;
    }
    fmt::print("\n");
    (void)one({.method = "DELETE", .path = namespace_});
    return Done{};
  }

 private:
  using Requests = std::function<Http2Client::Request(size_t n)>;

  Status start() {
    rlimit files{};
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    if (options_.server.empty()) {
      cluster_ = std::make_unique<Cluster>(options_.cluster);
      if (auto started = cluster_->start_control_plane(); !started.ok()) return started;
      options_.server = fmt::format("https://127.0.0.1:{}", cluster_->https_port());
      options_.ca = cluster_->paths().pki("ca.crt");
      options_.certificate = cluster_->paths().pki("kubernetes-admin.crt");
      options_.key = cluster_->paths().pki("kubernetes-admin.key");
      options_.pid = cluster_->pid(Cluster::gateway_name(0));
    }
    auto target = http_target(options_.server, options_.ca, options_.certificate, options_.key);
    if (!target.ok()) return target.error();
    target_ = std::move(*target);
    namespace_ = fmt::format("/api/v1/namespaces/load-{}", getpid());
    const auto begun = Clock::now();
    while (true) {
      clients_.clear();
      for (int i = 0; i < options_.connections; ++i) clients_.push_back(std::make_unique<Http2Client>(io_, target_));
      const auto ready = one({.path = "/readyz"});
      if (ready.status == 200) break;
      if (seconds_since(begun) > 60) return Error{Code::kTimeout, options_.server + " does not become ready"};
      const auto pause = loop_.after(std::chrono::milliseconds(100), [] {});
      loop_.run_once();
    }
    const auto made =
        one(json("POST", "/api/v1/namespaces", fmt::format(R"({{"metadata":{{"name":"load-{}"}}}})", getpid())));
    if (made.status != 201) return failed("creating the namespace", made);
    fmt::print("| what | figure | p50 ms | p99 ms | max ms |\n|---|---|---|---|---|\n");
    return Done{};
  }

  static Http2Client::Request json(const char* method, std::string path, std::string body) {
    return {.method = method,
            .path = std::move(path),
            .headers = {{"content-type", "application/json"}},
            .body = std::move(body)};
  }
  static Error failed(const std::string& what, const Http2Client::Answer& answer) {
    return {Code::kInternal, fmt::format("{}: {} {}", what, answer.status, answer.body.substr(0, 500))};
  }
  void row(const std::string& what, const std::string& figure, const std::vector<double>& times = {}) const {
    const auto p = percentiles(times);
    if (times.empty()) {
      fmt::print("| {} | {} | | | |\n", what, figure);
    } else {
      fmt::print("| {} | {} | {:.2f} | {:.2f} | {:.2f} |\n", what, figure, p.p50, p.p99, p.max);
    }
    std::fflush(stdout);
  }
  /// Of the server, in kB; 0 when its process is not known.
  double memory() const {
    std::ifstream status(fmt::format("/proc/{}/status", options_.pid));
    for (std::string line; std::getline(status, line);) {
      if (line.starts_with("VmRSS:")) return std::strtod(line.c_str() + 6, nullptr);
    }
    return 0;
  }
  double cpu() const {
    std::ifstream stat(fmt::format("/proc/{}/stat", options_.pid));
    std::string text, field;
    std::getline(stat, text);
    std::istringstream fields(text.substr(std::min(text.size(), text.rfind(')') + 1)));
    double user = 0, system = 0;
    for (int i = 0; i < 11; ++i) fields >> field;
    fields >> user >> system;
    return (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
  }

  Http2Client::Answer one(Http2Client::Request request) {
    std::optional<Http2Client::Answer> answer;
    clients_.front()->send(std::move(request), [&](Http2Client::Answer a) { answer = std::move(a); });
    while (!answer) loop_.run_once();
    return std::move(*answer);
  }

  /// Keeps `concurrency` requests under way until `count` are answered or the time is over. Milliseconds of each.
  Result<std::vector<double>> many(const Requests& requests, size_t count, double limit, int status) {
    struct State {
      size_t next = 0, flying = 0;
      std::vector<double> times;
      std::optional<Error> error;
    } state;
    const auto start = Clock::now();
    std::function<void(Http2Client&)> next = [&](Http2Client& client) {
      if (state.error || state.next >= count || seconds_since(start) > limit) return;
      ++state.flying;
      const auto sent = micros();
      client.send(requests(state.next++), [&, sent](Http2Client::Answer answer) {
        --state.flying;
        state.times.push_back(static_cast<double>(micros() - sent) / 1000);
        if (answer.status != status && !state.error) state.error = failed("a request", answer);
        next(client);
      });
    };
    for (int i = 0; i < options_.concurrency; ++i) next(*clients_[static_cast<size_t>(i) % clients_.size()]);
    while (state.flying > 0) loop_.run_once();
    if (state.error) return *state.error;
    return std::move(state.times);
  }

  Status creates() {
    const double before = memory(), busy = cpu();
    const auto start = Clock::now();
    auto times = many(
        [&](size_t n) {
          // Nobody schedules them: they stay as they are.
          return json(
              "POST", namespace_ + "/pods",
              fmt::format(
                  R"({{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"pod-{}","labels":{{"app":"load","part":"{}"}}}},"spec":{{"schedulerName":"nobody","containers":[{{"name":"main","image":"gantry.local/pause:1","resources":{{"requests":{{"cpu":"10m","memory":"16Mi"}}}}}}]}}}})",
                  n, n % 10));
        },
        static_cast<size_t>(options_.pods), 600, 201);
    if (!times.ok()) return times.error();
    const double took = seconds_since(start);
    row(fmt::format("creates of {} pods, {} at once", options_.pods, options_.concurrency),
        fmt::format("{:.0f}/s", static_cast<double>(times->size()) / took), *times);
    if (options_.pid != 0) {
      row("the server's CPU for a create",
          fmt::format("{:.0f} us", (cpu() - busy) / static_cast<double>(options_.pods) * 1e6));
      row(fmt::format("the server's memory for {} pods", options_.pods),
          fmt::format("{:.1f} MB", (memory() - before) / 1024));
    }
    return Done{};
  }

  Status gets() {
    const double busy = cpu();
    const auto start = Clock::now();
    auto times = many(
        [&](size_t n) {
          return Http2Client::Request{
              .path = fmt::format("{}/pods/pod-{}", namespace_, n * 7919 % static_cast<size_t>(options_.pods))};
        },
        SIZE_MAX, options_.seconds, 200);
    if (!times.ok()) return times.error();
    const auto count = static_cast<double>(times->size());
    row(fmt::format("gets of a pod, {} at once", options_.concurrency),
        fmt::format("{:.0f}/s", count / seconds_since(start)), *times);
    if (options_.pid != 0) row("the server's CPU for a get", fmt::format("{:.0f} us", (cpu() - busy) / count * 1e6));
    return Done{};
  }

  Status lists() {
    const std::string all = namespace_ + "/pods";
    const auto list = [&](const std::string& what, const std::string& path, http::Headers headers) -> Status {
      std::vector<double> times;
      size_t bytes = 0;
      for (int i = 0; i < 5; ++i) {
        const auto start = Clock::now();
        const auto answer = one({.path = path, .headers = headers});
        if (answer.status != 200) return failed(what, answer);
        times.push_back(seconds_since(start) * 1000);
        bytes = answer.body.size();
      }
      row(what, fmt::format("{:.1f} MB", static_cast<double>(bytes) / 1e6), times);
      return Done{};
    };
    for (const auto& [what, path, headers] :
         {std::tuple(fmt::format("list of {} pods", options_.pods), all, http::Headers{}),
          std::tuple(std::string("the same, resourceVersion=0"), all + "?resourceVersion=0", http::Headers{}),
          std::tuple(std::string("the same, gzip"), all, http::Headers{{"accept-encoding", "gzip"}}),
          std::tuple(std::string("the same, as a Table (kubectl get)"), all,
                     http::Headers{{"accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}}),
          std::tuple(std::string("the same, protobuf"), all,
                     http::Headers{{"accept", "application/vnd.kubernetes.protobuf,application/json"}}),
          std::tuple(std::string("a tenth of them by label"), all + "?labelSelector=part%3D3", http::Headers{}),
          std::tuple(std::string("a page of 500"), all + "?limit=500", http::Headers{})}) {
      if (auto done = list(what, path, headers); !done.ok()) return done;
    }
    return Done{};
  }

  struct Watcher {
    std::string line;
    size_t seen = 0;
  };

  Status watches() {
    const std::string maps = namespace_ + "/configmaps";
    if (const auto made = one(json("POST", maps, R"({"metadata":{"name":"ticker"},"data":{"sent":"0"}})"));
        made.status != 201)
      return failed("creating a ConfigMap", made);
    const double before = memory();
    std::vector<std::unique_ptr<Http2Client>> clients;
    std::vector<Watcher> watchers(static_cast<size_t>(options_.watchers));
    std::vector<double> times;
    size_t ended = 0, seen = 0, begun = 0;
    auto start = Clock::now();
    for (size_t i = 0; i < watchers.size(); ++i) {
      if (i % static_cast<size_t>(options_.streams) == 0)
        clients.push_back(std::make_unique<Http2Client>(io_, target_));
      auto& watcher = watchers[i];
      const auto on_data = [&](std::string_view piece) {
        watcher.line += piece;
        for (size_t end; (end = watcher.line.find('\n')) != std::string::npos; watcher.line.erase(0, end + 1)) {
          constexpr std::string_view kSent = R"("sent":")";
          const auto at = watcher.line.find(kSent);
          if (at == std::string::npos || at > end) continue;
          const auto sent = std::strtoll(watcher.line.c_str() + at + kSent.size(), nullptr, 10);
          if (watcher.seen++ == 0) ++begun;
          if (sent == 0) continue;
          ++seen;
          times.push_back(static_cast<double>(micros() - sent) / 1000);
        }
      };
      clients.back()->send({.path = maps + "?watch=true&resourceVersion=0", .on_data = on_data},
                           [&](Http2Client::Answer) { ++ended; });
      while (begun + 200 < i) loop_.run_once();
    }
    while (begun < watchers.size() && ended == 0 && seconds_since(start) < 120) loop_.run_once();
    if (begun < watchers.size())
      return Error{Code::kTimeout, fmt::format("{} of {} watches began", begun, watchers.size())};
    row(fmt::format("{} watches, {} on a connection", options_.watchers, options_.streams),
        fmt::format("begun in {:.2f} s", seconds_since(start)));
    if (options_.pid != 0)
      row("the server's memory for a watch, its connection included",
          fmt::format("{:.1f} kB", (memory() - before) / options_.watchers));
    const int total = options_.events * options_.seconds;
    const double busy = cpu();
    int sent = 0, answered = 0;
    std::optional<Error> error;
    start = Clock::now();
    const auto tick = loop_.every(std::chrono::microseconds(1'000'000 / options_.events), [&] {
      if (sent == total) return;
      ++sent;
      clients_.front()->send(
          json("PUT", maps + "/ticker",
               fmt::format(R"({{"metadata":{{"name":"ticker"}},"data":{{"sent":"{}"}}}})", micros())),
          [&](Http2Client::Answer answer) {
            ++answered;
            if (answer.status != 200) error = failed("updating a ConfigMap", answer);
          });
    });
    const size_t wanted = watchers.size() * static_cast<size_t>(total);
    while ((seen < wanted || answered < total) && ended == 0 && !error && seconds_since(start) < options_.seconds + 60)
      loop_.run_once();
    if (error) return *error;
    if (ended != 0 || seen != wanted)
      return Error{Code::kInternal, fmt::format("{} of {} events arrived, {} watches ended", seen, wanted, ended)};
    const double took = seconds_since(start);
    row(fmt::format("{} events a second to each of {} watches, from before the write", options_.events,
                    options_.watchers),
        fmt::format("{:.0f} deliveries/s", static_cast<double>(seen) / took), times);
    if (options_.pid != 0)
      row("the server's CPU for a delivery",
          fmt::format("{:.1f} us", (cpu() - busy) / static_cast<double>(seen) * 1e6));
    return Done{};
  }

  ApiOptions options_;
  UvLoop loop_;
  std::unique_ptr<Cluster> cluster_;
  std::shared_ptr<http::IoContext> io_ = http::IoContext::create(loop_);
  HttpTarget target_;
  std::string namespace_;
  std::vector<std::unique_ptr<Http2Client>> clients_;
};

}  // namespace

Status run_api(const ApiOptions& options) { return ApiRun(options).run(); }

}  // namespace gantry::load

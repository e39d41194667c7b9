// An apigw in memory for tests of what sits behind Commands and Caches: objects with revisions, generations,
// finalizers, graceful deletion and guards, close enough to the API's behaviour for controllers and the scheduler. It
// can hold back events, lose answers and fail commands. Single-threaded.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "libs/base/loop.h"
#include "libs/bus/command.h"
#include "libs/model/object.h"
#include "libs/projection/cache.h"

namespace gantry::projection::testing {

class FakeCluster final : public bus::Commands {
 public:
  explicit FakeCluster(Loop& loop) : loop_(loop) {}
  ~FakeCluster() override { *alive_ = false; }

  /// Feeds the cache from now on; it is synced with what there is.
  void attach(Cache& cache);

  // As a user would. JSON must carry apiVersion and kind; errors fail the test by aborting with the message.
  model::Object add(std::string_view json);
  /// Merge patch of anything, status included; bumps generation when spec changes.
  void edit(std::string_view resource, std::string_view key, std::string_view patch);
  void erase(std::string_view resource, std::string_view key);  // at once, without finalizers or grace
  const nlohmann::json* get(std::string_view resource, std::string_view key) const;
  std::vector<std::string> keys(std::string_view resource) const;
  size_t count(std::string_view resource) const { return keys(resource).size(); }
  std::vector<nlohmann::json> all(std::string_view resource) const;
  uint64_t head(std::string_view resource) const;

  void send(bus::Command command, Duration deadline, bus::CommandDone done) override;
  using Commands::send;

  /// Carries a command out at once, as send() does later.
  Result<bus::CommandOutcome> run(const bus::Command& command);

  // Faults.
  bool hold_events = false;  // caches see nothing until release_events()
  void release_events();
  std::function<std::optional<Error>(const bus::Command&)> before;  // refuse instead of carrying out
  /// What no cache has: answered here instead of carried out.
  std::function<std::optional<Result<bus::CommandOutcome>>(const bus::Command&)> instead;
  std::function<bool(const bus::Command&)> lose_answer;  // carry out, then answer kUnknownOutcome
  Duration latency = Duration::zero();
  std::map<std::string, uint64_t> fenced;  // lease -> lowest epoch that is accepted

  std::vector<bus::Command> log;  // every command carried out

 private:
  struct Row {
    nlohmann::json tree;
    uint64_t revision = 0;
  };
  struct Table {
    uint64_t head = 0;
    std::map<std::string, Row> rows;
  };
  struct Event {
    std::string resource, ns, name;
    model::Object object;  // empty: deleted
    uint64_t revision;
  };
  Table& table(std::string_view resource) { return tables_[std::string(resource)]; }
  uint64_t put(std::string_view resource, const std::string& key, nlohmann::json tree);
  uint64_t drop(std::string_view resource, const std::string& key);
  uint64_t store(std::string_view resource, const std::string& key, nlohmann::json tree, const nlohmann::json& old);
  Result<bus::CommandOutcome> execute(const bus::Command& command);
  Result<bus::CommandOutcome> remove(const bus::Command& command, const std::string& key);
  void publish(Event event);
  void deliver();

  Loop& loop_;
  std::map<std::string, Table, std::less<>> tables_;
  std::multimap<std::string, Cache*> caches_;
  std::deque<Event> events_;
  std::map<std::string, Result<bus::CommandOutcome>> done_;  // by command id
  std::map<uint64_t, Timer> timers_;
  uint64_t names_ = 0, uids_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace gantry::projection::testing

// What a controller is: a pure function from what the caches show to what must be asked of apigw, decided again
// whenever what it looked at changes.
//
//   cache change --keys_for()--> queue --> decide(view, key, now, memory) --> commands --> apigw --> events --> cache
//   change ...
//
// A controller does no I/O, reads no clock and keeps no state of its own between calls (what must be remembered of a
// key is its Memory), so that tests and the simulation drive it with tables. Runner (runner.h) does the rest.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libs/base/loop.h"
#include "libs/base/result.h"
#include "libs/bus/command.h"
#include "libs/model/object.h"
#include "libs/projection/cache.h"
#include "libs/projection/recorder.h"
#include "services/controllers/framework/view.h"

namespace gantry::controllers {

/// One command of a decision. Events are recorded when its answer is known: in `message`, "{}" becomes the name of the
/// object that was made, or the error.
struct Planned {
  bus::Command command;
  std::optional<projection::Note> on_success = {}, on_failure = {};
};

/// The answer to one command of the last decision.
struct Answer {
  bus::Command command;  // as sent, without object and json
  Result<bus::CommandOutcome> result;
};

/// What the runner remembers of one key between decisions, until a leader change.
struct Memory {
  uint32_t failures = 0;        // decisions in a row of which a command failed
  std::vector<Answer> answers;  // of the decision before, if it had commands; the view covers them
  std::string error;            // of the last failed command, "" after a decision without failures
};

/// Commands of one decision are sent together: no order between them is kept, so at most one may change a given object.
struct Decision {
  std::vector<Planned> commands;
  std::vector<projection::Note> notes;   // Events to record now
  std::optional<WallMicros> requeue_at;  // decide again then, even if nothing changes
  size_t weight = 1;  // objects looked at: a heavy key is decided less often under a flood of changes

  void add(bus::Command command) { commands.push_back({std::move(command)}); }
  void wake(WallMicros at) { requeue_at = requeue_at ? std::min(*requeue_at, at) : at; }
};

class Controller {
 public:
  virtual ~Controller() = default;
  /// e.g. "deployment": the flag, the lease controllers-<name>, the component of its Events.
  virtual std::string_view name() const = 0;
  /// Declares caches and indexes, before any object comes: view.need("pods"), view.index("pods", ...).
  virtual void setup(View& view) = 0;
  /// The resources whose changes wake it.
  virtual std::vector<std::string> watches() const = 0;
  /// The keys that a change of `resource` touches. Called after the change is in the view.
  virtual void keys_for(const View& view, std::string_view resource, const projection::Change& change,
                        std::vector<std::string>& keys) const = 0;
  virtual Decision decide(const View& view, const std::string& key, WallMicros now, const Memory& memory) const = 0;
  /// A new term began at `now`: forget what was observed before.
  virtual void on_lead(WallMicros now) { (void)now; }
};

}  // namespace gantry::controllers

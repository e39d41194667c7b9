#include "tools/gantry/dev/supervisor.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "tools/gantry/dev/files.h"

namespace gantry::dev {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Duration kAskWhileStarting = milliseconds(100), kAskWhenReady = seconds(2);
constexpr Duration kFirstPause = milliseconds(200), kLongestPause = seconds(10);
constexpr Duration kOldAge = seconds(20);  // who lived this long starts again at once
constexpr std::uintmax_t kLongestLog = 64 << 20;

void mix(uint64_t& hash, std::string_view data) {
  for (const unsigned char c : data) hash = (hash ^ c) * 1099511628211ULL;
}

/// Changes when the command, the binary or a configuration file that the command names does.
std::string fingerprint(const Component& component) {
  uint64_t hash = 14695981039346656037ULL;
  for (const auto& word : component.spawn.command) {
    mix(hash, word + '\n');
    if (!word.starts_with('/')) continue;
    struct stat info {};
    if (::stat(word.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) continue;
    if (info.st_mode & S_IXUSR) {
      mix(hash, fmt::format("{} {} {}", info.st_size, info.st_mtim.tv_sec, info.st_mtim.tv_nsec));
    } else if (auto text = read_file(word)) {
      mix(hash, *text);
    }
  }
  return fmt::format("{:016x}\n", hash);
}

}  // namespace

/// One probe on a thread of libuv's pool.
struct Supervisor::Question {
  uv_work_t work{};
  Probe probe;
  Status answer = Done{};
  std::function<void(const Status&)> done;
};

Supervisor::Supervisor(UvLoop& loop, Paths paths, std::vector<Component> components)
    : loop_(loop), paths_(std::move(paths)) {
  for (auto& component : components) {
    children_.push_back(std::make_unique<Child>());
    children_.back()->component = std::move(component);
  }
}

Supervisor::~Supervisor() { *living_ = false; }

const char* Supervisor::to_string(State state) {
  switch (state) {
    case State::kWaiting:
      return "waiting";
    case State::kStarting:
      return "starting";
    case State::kReady:
      return "ready";
    case State::kUnready:
      return "unready";
    case State::kPausing:
      return "pausing";
    case State::kStopping:
      return "stopping";
    case State::kStopped:
      return "stopped";
  }
  return "?";
}

Supervisor::Child* Supervisor::find(const std::string& name) {
  for (auto& child : children_) {
    if (child->component.name == name) return child.get();
  }
  return nullptr;
}

void Supervisor::start() {
  for (auto& child : children_) {
    if (auto process = read_pid_file(paths_.pid(child->component.name))) {
      LOG(INFO) << "component=" << child->component.name << " pid=" << process->pid << " adopted";
      watch(*child, *process);
    }
  }
  start_eligible();
  logs_ = loop_.every(seconds(60), [this] { trim_logs(); });
}

void Supervisor::start_eligible() {
  if (shut_down_) return;
  for (auto& child : children_) {
    if (child->state != State::kWaiting || !child->wanted) continue;
    const auto& after = child->component.after;
    const auto* missing = [&]() -> const std::string* {
      for (const auto& name : after) {
        const Child* other = find(name);
        if (other != nullptr && !other->was_ready) return &name;
      }
      return nullptr;
    }();
    if (missing == nullptr) {
      launch(*child);
    } else {
      child->reason = "waits for " + *missing;
    }
  }
}

void Supervisor::launch(Child& child) {
  const auto& name = child.component.name;
  auto process = spawn(child.component.spawn);
  if (!process) {
    child.state = State::kPausing;
    child.reason = process.error().message;
    child.pause = std::clamp(child.pause * 2, kFirstPause, kLongestPause);
    LOG(ERROR) << "component=" << name << " does not start: " << child.reason;
    child.next = loop_.after(child.pause, [this, &child] { launch(child); });
    return;
  }
  LOG(INFO) << "component=" << name << " pid=" << process->pid << " started";
  if (auto written = write_pid_file(paths_.pid(name), *process); !written) LOG(ERROR) << written.error().message;
  (void)write_file(paths_.run() / (name + ".fingerprint"), fingerprint(child.component));
  watch(child, *process);
}

void Supervisor::watch(Child& child, ProcessId process) {
  child.process = process;
  child.state = State::kStarting;
  child.started = loop_.now();
  child.reason = "starting";
  child.exit = std::make_unique<ExitWatch>(loop_, process, [this, &child] { ended(child); });
  ask_later(child, Duration::zero());
}

void Supervisor::ended(Child& child) {
  const Duration age = loop_.now() - child.started;
  LOG(INFO) << "component=" << child.component.name << " pid=" << child.process.pid << " ended after "
            << std::chrono::duration_cast<milliseconds>(age).count() << " ms";
  std::error_code error;
  std::filesystem::remove(paths_.pid(child.component.name), error);
  child.process = {};
  child.next.reset();
  child.kill.reset();
  child.exit.reset();
  if (shut_down_) {
    child.state = State::kStopped;
    continue_shutdown();
    return;
  }
  if (!child.wanted) {
    child.state = State::kStopped;
    child.reason = "stopped by the operator";
    return;
  }
  ++child.restarts;
  child.pause = age >= kOldAge ? Duration::zero() : std::clamp(child.pause * 2, kFirstPause, kLongestPause);
  child.state = State::kPausing;
  child.reason = fmt::format("died; see {}", paths_.log(child.component.name).string());
  child.next = loop_.after(child.pause, [this, &child] { launch(child); });
}

void Supervisor::ask_later(Child& child, Duration delay) {
  child.next = loop_.after(delay, [this, &child] { ask_now(child); });
}

void Supervisor::ask_now(Child& child) {
  if (child.asking) return;
  child.asking = true;
  auto* question = new Question;
  question->work.data = question;
  question->probe = child.component.ready;
  question->done = [this, &child, asked = child.process, living = living_](const Status& answer) {
    if (*living) answered(child, asked, answer);
  };
  uv_queue_work(
      loop_.raw(), &question->work,
      [](uv_work_t* work) {
        auto* q = static_cast<Question*>(work->data);
        q->answer = ask(q->probe);
      },
      [](uv_work_t* work, int) {
        const std::unique_ptr<Question> q(static_cast<Question*>(work->data));
        q->done(q->answer);
      });
}

void Supervisor::answered(Child& child, const ProcessId& asked, const Status& answer) {
  child.asking = false;
  if (child.process.pid == 0 || child.state == State::kStopping) return;
  if (asked != child.process) return ask_later(child, kAskWhileStarting);
  const State before = child.state;
  if (answer) {
    child.state = State::kReady;
    child.reason.clear();
    if (loop_.now() - child.started >= kOldAge) child.pause = Duration::zero();
  } else {
    if (child.state == State::kReady) child.state = State::kUnready;
    child.reason = answer.error().message;
  }
  if (child.state != before)
    LOG(INFO) << "component=" << child.component.name << " " << to_string(child.state) << " " << child.reason;
  ask_later(child, child.state == State::kReady ? kAskWhenReady : kAskWhileStarting);
  if (answer && !child.was_ready) {
    child.was_ready = true;
    start_eligible();
  }
}

void Supervisor::terminate(Child& child) {
  if (child.process.pid == 0 || child.state == State::kStopping) return;
  child.state = State::kStopping;
  child.next.reset();
  LOG(INFO) << "component=" << child.component.name << " pid=" << child.process.pid << " stopping";
  ::kill(child.process.pid, SIGTERM);
  child.kill = loop_.after(seconds(child.component.stop_seconds), [&child] {
    LOG(WARNING) << "component=" << child.component.name << " pid=" << child.process.pid << " does not stop: killed";
    if (alive(child.process)) ::kill(child.process.pid, SIGKILL);
  });
}

Status Supervisor::stop(const std::string& name) {
  Child* child = find(name);
  if (child == nullptr) return Error{.code = Code::kNotFound, .message = fmt::format("no component {}", name)};
  child->wanted = false;
  if (child->process.pid != 0) {
    terminate(*child);
  } else {
    child->next.reset();
    child->state = State::kStopped;
    child->reason = "stopped by the operator";
  }
  return Done{};
}

Status Supervisor::resume(const std::string& name) {
  Child* child = find(name);
  if (child == nullptr) return Error{.code = Code::kNotFound, .message = fmt::format("no component {}", name)};
  child->wanted = true;
  child->pause = Duration::zero();
  if (child->state == State::kStopped) {
    child->state = State::kWaiting;
    start_eligible();
  }
  return Done{};
}

Status Supervisor::restart(const std::string& name) {
  Child* child = find(name);
  if (child == nullptr) return Error{.code = Code::kNotFound, .message = fmt::format("no component {}", name)};
  if (child->process.pid == 0) return resume(name);
  child->wanted = true;
  child->started = loop_.now() - kOldAge;  // no pause before the next start
  terminate(*child);
  return Done{};
}

std::vector<std::string> Supervisor::refresh(const std::vector<Component>& components) {
  std::vector<std::string> out;
  for (const auto& component : components) {
    Child* child = find(component.name);
    if (child == nullptr) {
      children_.push_back(std::make_unique<Child>());
      child = children_.back().get();
    }
    child->component = component;
    auto old = read_file(paths_.run() / (component.name + ".fingerprint"));
    if (child->process.pid != 0 && child->wanted && (!old || *old != fingerprint(component))) {
      out.push_back(component.name);
      (void)restart(component.name);
    }
  }
  start_eligible();
  return out;
}

void Supervisor::shutdown(std::function<void()> done) {
  if (shut_down_) return;
  shut_down_ = std::move(done);
  for (auto& child : children_) {
    if (child->process.pid == 0) {
      child->next.reset();
      child->state = State::kStopped;
    }
  }
  continue_shutdown();
}

void Supervisor::continue_shutdown() {
  bool running = false;
  for (auto& child : children_) {
    if (child->process.pid == 0) continue;
    running = true;
    const bool needed = std::any_of(children_.begin(), children_.end(), [&](const auto& other) {
      const auto& after = other->component.after;
      return other->process.pid != 0 && std::find(after.begin(), after.end(), child->component.name) != after.end();
    });
    if (!needed) terminate(*child);
  }
  if (!running) loop_.post([this] { shut_down_(); });
}

void Supervisor::trim_logs() {
  for (auto& child : children_) {
    const std::filesystem::path log = child->component.spawn.log;
    std::error_code error;
    if (std::filesystem::file_size(log, error) <= kLongestLog || error) continue;
    // The writer appends to the file that it has open, so the file stays and its content moves.
    std::filesystem::copy_file(log, log.string() + ".1", std::filesystem::copy_options::overwrite_existing, error);
    std::filesystem::resize_file(log, 0, error);
  }
}

std::string Supervisor::status_json() const {
  auto list = nlohmann::json::array();
  for (const auto& child : children_) {
    list.push_back(
        {{"name", child->component.name},
         {"state", to_string(child->state)},
         {"pid", child->process.pid},
         {"restarts", child->restarts},
         {"seconds",
          child->process.pid != 0 ? std::chrono::duration_cast<seconds>(loop_.now() - child->started).count() : 0},
         {"reason", child->reason},
         {"log", child->component.spawn.log}});
  }
  return list.dump();
}

}  // namespace gantry::dev

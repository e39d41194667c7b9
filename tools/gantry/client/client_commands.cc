#include "tools/gantry/client/client_commands.h"

#include <fmt/format.h>

#include "tools/gantry/client/verbs.h"

namespace gantry::client {
namespace {

/// Lives as long as the program: CLI11 keeps references.
Options& shared() {
  static Options options;
  return options;
}

void report(const Error& error) {
  // What the server said is told as kubectl tells it; what went wrong here, plainly.
  const bool local = error.code == Code::kBadRequest && error.kind.empty() && error.causes.empty();
  fmt::print(stderr, "{}\n", local ? "error: " + error.message : server_error(error));
}

class Adder {
 public:
  explicit Adder(int& exit_code) : exit_code_(exit_code) {}

  CLI::App* verb(CLI::App& parent, const char* name, const char* help, Status (*action)(const Options&)) {
    return program(parent, name, help, [action](const Options& options) -> Result<int> {
      auto done = action(options);
      if (!done) return done.error();
      return 0;
    });
  }

  /// A verb with an exit code of its own.
  CLI::App* program(CLI::App& parent, const char* name, const char* help,
                    std::function<Result<int>(const Options&)> action) {
    auto* app = parent.add_subcommand(name, help);
    auto& o = shared();
    app->add_option("--dir", o.connect.dir, "Folder of the dev cluster, for what follows if it is not given")
        ->envname("GANTRY_DIR")
        ->group("Connection");
    app->add_option("--nats-url", o.connect.nats_url, "The bus")
        ->envname("GANTRY_NATS_URL")
        ->group("Connection")
        ->capture_default_str();
    app->add_option("--nats-ca", o.connect.nats_ca, "Who signs its certificate")
        ->envname("GANTRY_NATS_CA")
        ->group("Connection");
    app->add_option("--nats-creds", o.connect.nats_creds, "Credentials of the identity")
        ->envname("GANTRY_NATS_CREDS")
        ->group("Connection");
    app->add_option("--identity", o.connect.identity, "Who asks")
        ->envname("GANTRY_IDENTITY")
        ->group("Connection")
        ->capture_default_str();
    app->add_option("--request-timeout", o.connect.timeout_seconds, "Seconds for each command")
        ->group("Connection")
        ->capture_default_str();
    app->callback([action = std::move(action), this] {
      auto code = action(shared());
      if (!code) report(code.error());
      exit_code_ = code ? *code : 1;
    });
    return app;
  }

  static void in_namespace(CLI::App* app) {
    app->add_option("-n,--namespace", shared().ns, "Namespace")->capture_default_str();
  }
  static void everywhere(CLI::App* app) {
    app->add_flag("-A,--all-namespaces", shared().all_namespaces, "In all namespaces");
  }
  static void selected(CLI::App* app) {
    app->add_option("-l,--selector", shared().selector, "Label selector: app=web,tier!=db");
  }
  static void named(CLI::App* app, const char* help) { app->add_option("what", shared().arguments, help); }
  static void from_files(CLI::App* app) {
    app->add_option("-f,--filename", shared().files, "File, folder or - for stdin")
        ->allow_extra_args(false)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  }

 private:
  int& exit_code_;
};

}  // namespace

void add_client_commands(CLI::App& app, int& exit_code, std::vector<std::string> after_dashes) {
  auto& o = shared();
  o.command = std::move(after_dashes);
  static Adder add(exit_code);

  auto* get_app = add.verb(app, "get", "Show objects", get);
  add.in_namespace(get_app);
  add.everywhere(get_app);
  add.selected(get_app);
  add.named(get_app, "pods, pod/NAME, deployments,services, all ...");
  get_app->add_option("--field-selector", o.field_selector, "e.g. spec.nodeName=node-1");
  get_app->add_option("-o,--output", o.output, "json, yaml, wide or name");
  get_app->add_option("--at", o.at, "As it was then: 2026-01-02T03:04:05Z, or how long ago: 90s, 15m, 1h30m, 2d");
  get_app->add_flag("--no-headers", o.no_headers, "Rows only");
  get_app->add_flag("--ignore-not-found", o.ignore_not_found, "What does not exist is no error");

  auto* apply_app = add.verb(app, "apply", "Make the cluster as the files say", apply);
  add.in_namespace(apply_app);
  add.from_files(apply_app);

  auto* delete_app = add.verb(app, "delete", "Delete objects", remove);
  add.in_namespace(delete_app);
  add.everywhere(delete_app);
  add.selected(delete_app);
  add.from_files(delete_app);
  add.named(delete_app, "pod/NAME, pods -l app=web ...");
  delete_app->add_flag("--all", o.all, "All of the kind");
  delete_app->add_flag("--ignore-not-found", o.ignore_not_found, "What does not exist is no error");
  delete_app->add_option("--grace-period", o.grace_period, "Seconds for a clean end");
  delete_app->add_option("--cascade", o.cascade, "What becomes of dependents")
      ->check(CLI::IsMember({"background", "foreground", "orphan"}))
      ->capture_default_str();
  delete_app->add_option("--wait", o.wait, "Until it is gone")->expected(0, 1)->default_str("true");

  auto* scale_app = add.verb(app, "scale", "Set how many replicas", scale);
  add.in_namespace(scale_app);
  add.named(scale_app, "deployment/NAME");
  scale_app->add_option("--replicas", o.replicas)->required()->check(CLI::NonNegativeNumber);

  auto* logs_app = add.program(app, "logs", "Print what a container said", logs);
  add.in_namespace(logs_app);
  add.named(logs_app, "POD or pod/NAME");
  logs_app->add_option("-c,--container", o.container, "Container; default: the only one");
  logs_app->add_flag("-f,--follow", o.follow, "And what it says from now on");
  logs_app->add_flag("-p,--previous", o.previous, "Of the container's run before this one");
  logs_app->add_flag("--timestamps", o.timestamps, "With the time of each line");
  logs_app->add_option("--tail", o.tail, "The last lines only; -1: all");
  logs_app->add_option("--since-seconds", o.since_seconds, "What is younger only")->check(CLI::PositiveNumber);
  logs_app->add_option("--limit-bytes", o.limit_bytes, "Not more bytes")->check(CLI::PositiveNumber);

  auto* exec_app = add.program(app, "exec", "Run a command in a container: exec POD -- COMMAND", exec);
  add.in_namespace(exec_app);
  add.named(exec_app, "POD or pod/NAME");
  exec_app->add_option("-c,--container", o.container, "Container; default: the only one");
  exec_app->add_flag("-i,--stdin", o.in, "Pass stdin on");
  exec_app->add_flag("-t,--tty", o.tty, "Stdin is a terminal");

  auto* rollout = app.add_subcommand("rollout", "Follow or force a rollout");
  rollout->require_subcommand(1);
  auto* status_app = add.verb(*rollout, "status", "Wait until it is done", rollout_status);
  add.in_namespace(status_app);
  add.named(status_app, "deployment/NAME");
  status_app->add_option("--timeout", o.timeout_seconds, "Seconds to wait; 0: for ever");
  auto* restart_app = add.verb(*rollout, "restart", "Replace every pod", rollout_restart);
  add.in_namespace(restart_app);
  add.named(restart_app, "deployment/NAME");

  auto* trace_app = add.verb(app, "trace", "How long each step took until a pod was ready", trace);
  add.in_namespace(trace_app);
  add.named(trace_app, "POD or pod/NAME; with -f none: every pod of the cluster");
  trace_app->add_flag("-f,--follow", o.follow, "Each pod that becomes ready from now on");
  trace_app->add_option("-o,--output", o.output, "json: one object a pod");

  auto* why_app = add.verb(app, "why", "The way from a user's command to an object as it is now", why);
  add.in_namespace(why_app);
  add.named(why_app, "KIND/NAME");
  why_app->add_flag("--all", o.all, "Every step, also where the way goes in circles");
  why_app->add_option("-o,--output", o.output, "json: one object a step");

  auto* history_app = add.verb(app, "history", "All revisions of an object: when, by whom, what changed", history);
  add.in_namespace(history_app);
  add.named(history_app, "KIND/NAME");
  history_app->add_flag("--all", o.all, "Every field that changed");
  history_app->add_option("-o,--output", o.output, "json: one object a revision, whole");

  auto* events_app = add.verb(app, "events", "The event stream, live and decoded", events);
  // Without one, events of all namespaces.
  events_app->add_option("-n,--namespace", o.ns, "Only of this namespace");
  events_app->add_option("--resource", o.resource, "Only of this resource");
  events_app->add_option("-o,--output", o.output, "json: whole events, one a line");
  events_app->preparse_callback([](size_t) { shared().ns.clear(); });
}

}  // namespace gantry::client

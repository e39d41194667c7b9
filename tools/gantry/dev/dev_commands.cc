#include "tools/gantry/dev/dev_commands.h"

#include <fmt/format.h>
#include <unistd.h>

#include <iostream>

#include "tools/gantry/dev/control.h"
#include "tools/gantry/dev/files.h"
#include "tools/gantry/dev/lifecycle.h"
#include "tools/gantry/dev/network.h"

namespace gantry::dev {
namespace {

/// What the flags of all `gantry dev` commands are parsed into; lives as long as the program.
struct Flags {
  std::string dir = ".gantry";
  UpOptions up;
  bool purge = false, follow = false, json = false;
  int lines = 50;
  std::string component;
  std::string leg;
  Paths paths() const { return {std::filesystem::absolute(dir).lexically_normal()}; }
};

std::string age(int64_t seconds) {
  if (seconds < 120) return fmt::format("{}s", seconds);
  if (seconds < 7200) return fmt::format("{}m", seconds / 60);
  return fmt::format("{}h", seconds / 3600);
}

Status print_status(const Flags& flags) {
  auto status = control(flags.paths(), {{"do", "status"}});
  if (!status) return status.error();
  if (flags.json) {
    fmt::print("{}\n", (*status)["components"].dump(2));
    return Done{};
  }
  fmt::print("{:<20} {:<9} {:>8} {:>8} {:>6}  {}\n", "COMPONENT", "STATE", "PID", "RESTARTS", "AGE", "REASON");
  for (const auto& c : (*status)["components"]) {
    fmt::print("{:<20} {:<9} {:>8} {:>8} {:>6}  {}\n", c["name"].get<std::string>(), c["state"].get<std::string>(),
               c["pid"].get<int>(), c["restarts"].get<int>(), age(c["seconds"].get<int64_t>()),
               c["reason"].get<std::string>());
  }
  return Done{};
}

Status ask_supervisor(const Flags& flags, const char* what) {
  auto done = control(flags.paths(), {{"do", what}, {"component", flags.component}});
  if (!done) return done.error();
  return Done{};
}

/// tail does it better than we would.
Status print_log(const Flags& flags) {
  const std::string file = flags.paths().log(flags.component), lines = std::to_string(flags.lines);
  if (!std::filesystem::exists(file)) return Error{.code = Code::kNotFound, .message = "no log " + file};
  fflush(stdout);
  ::execlp("tail", "tail", "-n", lines.c_str(), flags.follow ? "-F" : "-q", file.c_str(), nullptr);
  return system_error("tail");
}

}  // namespace

void add_dev_commands(CLI::App& app, int& exit_code) {
  static Flags flags;
  auto* dev = app.add_subcommand("dev", "A whole cluster on this machine");
  dev->require_subcommand(1);

  const auto command = [&](const char* name, const char* help, std::function<Status()> action) {
    auto* sub = dev->add_subcommand(name, help);
    sub->add_option("--dir", flags.dir, "Folder of the cluster")->envname("GANTRY_DIR")->capture_default_str();
    sub->callback([action = std::move(action), &exit_code] {
      auto done = action();
      if (!done) fmt::print(stderr, "error: {}\n", done.error().message);
      exit_code = done ? 0 : 1;
    });
    return sub;
  };
  const auto on_component = [&](CLI::App* sub) {
    sub->add_option("component", flags.component, "As `status` names it")->required();
  };

  const auto self = std::filesystem::read_symlink("/proc/self/exe");
  flags.up.cluster.binaries = self.parent_path();
  flags.up.cluster.images = self.parent_path().parent_path() / "images";
  auto* up_command = command("up", "Start it, or bring it up to date", [] { return up(flags.paths(), flags.up); });
  up_command->add_option("--nodes", flags.up.cluster.nodes, "How many nodes")
      ->check(CLI::Range(1, kMaxNodes))
      ->capture_default_str();
  up_command->add_option("--capacity", flags.up.cluster.capacity, "Of each node")->capture_default_str();
  up_command->add_option("--binaries", flags.up.cluster.binaries, "Folder of the services' programs")
      ->envname("GANTRY_BINARIES")
      ->capture_default_str();
  up_command->add_option("--images", flags.up.cluster.images, "Folder of the image archives")
      ->envname("GANTRY_IMAGES")
      ->capture_default_str();
  up_command->add_option("--timeout", flags.up.timeout_seconds, "Seconds to wait for it to be ready")
      ->capture_default_str();

  auto* down_command = command("down", "Stop it and leave nothing behind but its state",
                               [] { return down(flags.paths(), flags.purge); });
  down_command->add_flag("--purge", flags.purge, "Forget its state too");

  auto* status_command = command("status", "What runs", [] { return print_status(flags); });
  status_command->add_flag("--json", flags.json, "As JSON");

  auto* logs_command = command("logs", "A component's log", [] { return print_log(flags); });
  on_component(logs_command);
  logs_command->add_flag("-f,--follow", flags.follow, "Go on as it grows");
  logs_command->add_option("-n,--lines", flags.lines, "How many of the last lines")->capture_default_str();

  on_component(command("stop", "Stop a component and keep it stopped", [] { return ask_supervisor(flags, "stop"); }));
  on_component(command("start", "Start a stopped component", [] { return ask_supervisor(flags, "start"); }));
  on_component(command("restart", "Restart a component", [] { return ask_supervisor(flags, "restart"); }));
  command("cut", "Cut the network of a node, of controllers or scheduler", [] { return set_link(flags.leg, false); })
      ->add_option("name", flags.leg)
      ->required();
  command("mend", "Mend it", [] { return set_link(flags.leg, true); })->add_option("name", flags.leg)->required();
  command("supervise", "The process that keeps it running (started by up)", [] {
    return supervise(flags.paths());
  })->group("");
}

}  // namespace gantry::dev

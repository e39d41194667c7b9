// gantry-csi-hostpath: a CSI driver whose volumes are directories of this machine. See README.md.
#include <glog/logging.h>
#include <signal.h>

#include <CLI/CLI.hpp>

#include "tools/csi-hostpath/driver.h"

int main(int argc, char** argv) {
  using namespace gantry;
  FLAGS_logtostderr = true;
  google::InitGoogleLogging(argv[0]);
  CLI::App app("A CSI driver whose volumes are directories");
  csi_hostpath::Options options;
  app.add_option("--name", options.name, "The driver's name")->capture_default_str();
  app.add_option("--root", options.root, "Where volumes lie")->required();
  app.add_option("--node", options.node, "This node's name")->required();
  app.add_option("--socket", options.socket, "Serves CSI here")->required();
  app.add_option("--registry", options.registry, "The agent's plugins_registry; empty: nobody is told");
  CLI11_PARSE(app, argc, argv);
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  pthread_sigmask(SIG_BLOCK, &ends, nullptr);  // gRPC's threads inherit it
  auto driver = csi_hostpath::Driver::start(options);
  if (!driver.ok()) {
    LOG(ERROR) << driver.error().message;
    return 1;
  }
  LOG(INFO) << "driver=" << options.name << " node=" << options.node << " socket=" << options.socket;
  int signal = 0;
  sigwait(&ends, &signal);
  return 0;
}

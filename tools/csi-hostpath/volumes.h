// The volumes of the driver on disk. Blocks; one call at a time (gRPC's threads are many: a mutex is inside).
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "libs/base/result.h"

namespace gantry::csi_hostpath {

struct Volume {
  std::string id, name;
  int64_t capacity = 0;
  bool block = false, ephemeral = false;
};

class Volumes {
 public:
  /// Reads what is there.
  static Result<std::unique_ptr<Volumes>> open(std::string root);

  /// The volume of that name, made if it is not there. kAlreadyExists if it is too small or of the other mode.
  Result<Volume> create(const std::string& name, int64_t required, int64_t limit, bool block);
  /// One that a pod brings with it: its id is given.
  Result<Volume> create_ephemeral(const std::string& id);
  /// Succeeds when it is not there.
  Status remove(const std::string& id);
  Result<Volume> expand(const std::string& id, int64_t required);
  std::optional<Volume> find(const std::string& id) const;
  std::vector<Volume> list() const;

  /// Mounts the volume's content at `target` (made if it is not there); nothing if it is mounted already.
  Status mount(const std::string& id, const std::string& target, bool read_only);
  /// Whether or not anything is mounted there; removes `target`.
  static Status unmount(const std::string& target);
  int64_t available() const;  // bytes

 private:
  explicit Volumes(std::string root) : root_(std::move(root)) {}
  std::string content(const Volume& v) const { return root_ + "/volumes/" + v.id + (v.block ? ".img" : ""); }
  std::string record(const std::string& id) const { return root_ + "/volumes/" + id + ".json"; }
  Status save(const Volume& v) const;

  const std::string root_;
  mutable std::mutex mutex_;  // guards volumes_ and the disk below root_
  std::map<std::string, Volume> volumes_;
};

}  // namespace gantry::csi_hostpath

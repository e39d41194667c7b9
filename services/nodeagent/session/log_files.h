// A container's log as one stream of bytes: what was rotated away (`0.log.<time>`, oldest first) and what is written
// now (`0.log`). Blocking: for an Executor. One caller at a time.
#pragma once

#include <sys/types.h>

#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "libs/base/result.h"

namespace gantry::nodeagent {

/// The rotated files of `path` that are there, oldest first.
std::vector<std::string> rotated_logs(const std::string& path);
/// The name to which `path` is rotated at `wall` (microseconds since 1970): sorts by time.
std::string rotated_name(const std::string& path, int64_t wall);

class LogFiles {
 public:
  explicit LogFiles(std::string path) : path_(std::move(path)) {}
  ~LogFiles();
  LogFiles(const LogFiles&) = delete;

  /// Begins at the first byte kept, or with the last `tail` whole lines. No file at all is an empty log.
  Status open(std::optional<int64_t> tail);
  /// The next bytes, at most `most`; empty at the end. With `follow` a file that was rotated away is left only once
  /// nobody writes to it any more, and new files are taken up.
  std::string read(size_t most, bool follow);
  /// Whether nobody can write any more to the last file: what is read after this is all there will be.
  bool settled() const { return files_.empty() || (files_.size() == 1 && finished(files_.front())); }
  /// Tells the file being read from others.
  ino_t current() const { return files_.empty() ? 0 : files_.front().inode; }

 private:
  struct File {
    int fd;
    ino_t inode;
    uint64_t offset = 0;
  };
  bool add(const std::string& name);
  void take_up_later(ino_t inode);
  bool finished(const File& file) const;
  void drop_first();

  std::string path_;
  std::deque<File> files_;  // the one being read, then those that follow
};

}  // namespace gantry::nodeagent

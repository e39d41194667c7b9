// How a redis-server that holds our state must be started, by whoever supervises it.
#pragma once

namespace gantry::state {

/// A script: `sh -c kStartRedis redis-start DIR ARGUMENTS...` repairs the append-only file in DIR and becomes
/// `redis-server ARGUMENTS...`.
///
/// kill -9 can tear the transaction that is being appended. Redis 7.0 then loads what is whole (aof-load-truncated),
/// but cuts the file behind the last whole *command*, inside the open MULTI, and appends behind it: at the next restart
/// what was answered since is dropped as part of an unfinished transaction, or the torn half comes to life.
/// redis-check-aof cuts before the MULTI; and without aof-load-truncated no server starts unrepaired.
inline constexpr char kStartRedis[] = R"(
manifest="$1/appendonlydir/appendonly.aof.manifest"
shift
if [ -f "$manifest" ]; then echo y | redis-check-aof --fix "$manifest" >/dev/null || echo "redis-start: cannot repair $manifest" >&2; fi
exec redis-server "$@" --aof-load-truncated no
)";

}  // namespace gantry::state

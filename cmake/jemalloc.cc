// How the programs want jemalloc: one thread does nearly all the work, and memory goes back to the system within
// seconds.
extern "C" {
extern const char* malloc_conf;
const char* malloc_conf = "narenas:2,dirty_decay_ms:2000,muzzy_decay_ms:0";
}

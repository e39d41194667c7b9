# Compiler, cache and linker settings that every target shares (one precompiled header needs one set of flags).
# Clang builds everything (see the presets): a sixth faster than GCC when it optimizes, twice as fast when not.
# Dev optimizes what is HOT (see gantry.cmake), Check (the sanitizers') nothing: they have to be quick to build.
foreach(language C CXX)
  set(CMAKE_${language}_FLAGS_DEV "-O0 -g1")
  set(CMAKE_${language}_FLAGS_CHECK "-O0 -g1")
endforeach()
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -g1 -DNDEBUG")

set(GANTRY_SANITIZE "" CACHE STRING "Sanitizers, as for -fsanitize=")

find_program(CCACHE ccache)
if(CCACHE)
  # Precompiled headers need the sloppiness; the base directory lets other checkouts share the cache.
  set(GANTRY_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
      CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${GANTRY_LAUNCHER})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${GANTRY_LAUNCHER})
endif()
find_program(LLD ld.lld)
if(LLD)
  add_link_options(-fuse-ld=lld)
endif()

add_compile_options(-Wall -Wextra -Wno-unused-parameter -Wno-missing-field-initializers -fno-omit-frame-pointer)
if(GANTRY_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
if(GANTRY_SANITIZE)
  add_compile_options(-fsanitize=${GANTRY_SANITIZE} -fno-sanitize-recover=all)
  if(GANTRY_SANITIZE MATCHES undefined)
    # A third of the code, and ASan finds what null and vptr look for; every load of our machines may be unaligned.
    add_compile_options(-fno-sanitize=null,alignment,vptr)
  endif()
  add_link_options(-fsanitize=${GANTRY_SANITIZE})
endif()

find_package(Threads REQUIRED)
find_package(FlatBuffers REQUIRED CONFIG)
find_package(fmt REQUIRED)
find_package(GTest REQUIRED)
find_package(benchmark REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(PkgConfig REQUIRED)
foreach(lib libuv libglog openssl hiredis libnats libnghttp2 libsodium simdjson yaml-cpp re2 libnftables libnl-route-3.0 ldns zlib)
  pkg_check_modules(${lib} IMPORTED_TARGET ${lib})
endforeach()

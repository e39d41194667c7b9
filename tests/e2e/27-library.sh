# A client library that knows nothing of Gantry: lists, watches, informers, patches, server-side apply, errors.

test_the_client_library_on_objects() { assert_contains "$(client_library library.mjs)" "all passed"; }

// The precompiled header is made while this is compiled.

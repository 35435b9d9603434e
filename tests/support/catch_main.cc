// The main function for Catch2 2.x, compiled once for all test programs; 3.x brings its own.
#if !__has_include(<catch2/catch_test_macros.hpp>)
#pragma GCC diagnostic ignored "-Wall"
#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>
#endif

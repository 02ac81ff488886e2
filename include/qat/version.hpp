// The version of the library; meson.build states the same (a test compares them).
#pragma once

#define QAT_VERSION_MAJOR 0
#define QAT_VERSION_MINOR 1
#define QAT_VERSION_PATCH 0

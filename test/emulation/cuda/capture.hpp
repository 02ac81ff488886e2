// Work of the device that is captured into a graph: launches are kept, and what a capture forbids is a fault.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "fault.hpp"

namespace qat::emulation {

/// Launches in their order.
struct Graph {
  std::vector<std::function<void()>> work;
  std::string broken;  ///< the first call that a capture forbids; empty: none
};

namespace detail {
inline Graph*& captured() {
  static Graph* graph = nullptr;
  return graph;
}
}  // namespace detail

inline bool is_capturing() { return detail::captured() != nullptr; }
/// Runs work of the device, or keeps it for the graph that is being captured.
template <class F>
void queue(F work) {
  if (is_capturing())
    detail::captured()->work.push_back(std::move(work));
  else
    work();
}
/// what: a call that allocates or waits. CUDA refuses it, and the capture, while one goes on.
inline void forbid_in_capture(const char* what) {
  if (is_capturing() && detail::captured()->broken.empty()) detail::captured()->broken = what;
}
inline void begin_capture(Graph& graph) { detail::captured() = &graph; }
inline void end_capture() {
  const Graph* const graph = std::exchange(detail::captured(), nullptr);
  if (graph != nullptr && !graph->broken.empty())
    throw Fault(Rule::kCapture, "cuda emulation: " + graph->broken + " while a graph was captured");
}
inline void replay(const Graph& graph) {
  for (const auto& work : graph.work) work();
}

}  // namespace qat::emulation

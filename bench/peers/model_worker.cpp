// Training steps, whole models and layers of them, by request (worker.hpp).
#include "model_works.hpp"
#include "step_works.hpp"

int main() {
  using namespace qat::bench;
  return serve({{"step", step_work}, {"model", model_work}, {"linear", linear_work}},
               std::string("qat on ") + qat::name(qat::active_target()));
}

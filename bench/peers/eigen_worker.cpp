// Eigen's fp32 product, by request. Built with -march=native, which gives Eigen
// its vectors.
#define EIGEN_DONT_PARALLELIZE
#include <Eigen/Core>

#include "buffers.hpp"

namespace {

using namespace qat::bench;

Work gemm(const Request& request) {
  using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  auto p = std::make_shared<FloatProblem>(request);
  Work work;
  work.ops = p->ops();
  work.bytes = 4.0 * static_cast<double>(p->N * p->K);
  work.call = [p](long i) {
    const bool ta = p->a_transposed, tb = p->b_transposed;
    const Eigen::Map<const Matrix> a(p->a.data(), ta ? p->K : p->M, ta ? p->M : p->K),
        b(p->weight(i), tb ? p->N : p->K, tb ? p->K : p->N);
    Eigen::Map<Matrix> c(p->c.data(), p->M, p->N);
    if (ta)
      c.noalias() = a.transpose() * b;
    else if (tb)
      c.noalias() = a * b.transpose();
    else
      c.noalias() = a * b;
  };
  return work;
}

}  // namespace

int main() {
  return qat::bench::serve({{"gemm", gemm}}, "Eigen " + std::to_string(EIGEN_WORLD_VERSION) + "." +
                                                 std::to_string(EIGEN_MAJOR_VERSION) + "." +
                                                 std::to_string(EIGEN_MINOR_VERSION));
}

// fp32 products of a library that is opened at run time: any with cblas_sgemm (OpenBLAS, BLIS), or oneDNN's dnnl_sgemm.
// Usage: blas_worker LIBRARY.so
#include <dlfcn.h>

#include "buffers.hpp"

namespace {

using namespace qat::bench;
using qat::index_t;

using CblasSgemm = void (*)(int order, int ta, int tb, int m, int n, int k, float alpha, const float* a, int lda,
                            const float* b, int ldb, float beta, float* c, int ldc);
using DnnlSgemm = int (*)(char ta, char tb, std::int64_t m, std::int64_t n, std::int64_t k, float alpha, const float* a,
                          std::int64_t lda, const float* b, std::int64_t ldb, float beta, float* c, std::int64_t ldc);

struct Library {
  CblasSgemm cblas = nullptr;
  DnnlSgemm dnnl = nullptr;
  std::string version = "unknown version";

  explicit Library(const char* path) {
    void* const handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) throw std::runtime_error(dlerror());
    cblas = reinterpret_cast<CblasSgemm>(dlsym(handle, "cblas_sgemm"));
    dnnl = reinterpret_cast<DnnlSgemm>(dlsym(handle, "dnnl_sgemm"));
    if (cblas == nullptr && dnnl == nullptr) throw std::runtime_error("neither cblas_sgemm nor dnnl_sgemm is in it");
    if (void* const f = dlsym(handle, "openblas_get_config")) version = reinterpret_cast<const char* (*)()>(f)();
    if (void* const f = dlsym(handle, "bli_info_get_version_str"))
      version = std::string("BLIS ") + reinterpret_cast<const char* (*)()>(f)();
    if (void* const f = dlsym(handle, "dnnl_version")) {
      struct Version {
        int major, minor, patch;
      };
      const auto* v = reinterpret_cast<const Version* (*)()>(f)();
      version = "oneDNN " + std::to_string(v->major) + "." + std::to_string(v->minor) + "." + std::to_string(v->patch);
    }
  }
  void run(const FloatProblem& p, long i, float* c) const {
    constexpr int kRowMajor = 101, kNoTrans = 111, kTrans = 112;
    const index_t lda = p.a_transposed ? p.M : p.K, ldb = p.b_transposed ? p.K : p.N;
    if (cblas != nullptr) {
      cblas(kRowMajor, p.a_transposed ? kTrans : kNoTrans, p.b_transposed ? kTrans : kNoTrans, static_cast<int>(p.M),
            static_cast<int>(p.N), static_cast<int>(p.K), 1.0f, p.a.data(), static_cast<int>(lda), p.weight(i),
            static_cast<int>(ldb), 0.0f, c, static_cast<int>(p.N));
    } else {
      dnnl(p.a_transposed ? 'T' : 'N', p.b_transposed ? 'T' : 'N', p.M, p.N, p.K, 1.0f, p.a.data(), lda, p.weight(i),
           ldb, 0.0f, c, p.N);
    }
  }
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: blas_worker LIBRARY.so\n");
    return 2;
  }
  try {
    const Library library(argv[1]);
    const auto gemm = [&library](const Request& request) {
      auto p = std::make_shared<FloatProblem>(request);
      Work work;
      work.ops = p->ops();
      work.bytes = 4.0 * static_cast<double>(p->N * p->K);
      work.call = [&library, p](long i) { library.run(*p, i, p->c.data()); };
      return work;
    };
    return serve({{"gemm", gemm}}, library.version);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "blas_worker: %s\n", e.what());
    return 2;
  }
}

// What qat launches on a GPU, declared: plain C++ for any compiler. Link kernels/instances, or include qat/cuda.cuh in
// a file that nvcc compiles.
#pragma once

#include "qat/backend/cuda.hpp"
#include "qat/kernels/cuda/activation.hpp"
#include "qat/kernels/cuda/adamw.hpp"
#include "qat/kernels/cuda/attention.hpp"
#include "qat/kernels/cuda/average.hpp"
#include "qat/kernels/cuda/cross_entropy.hpp"
#include "qat/kernels/cuda/device.hpp"
#include "qat/kernels/cuda/embedding.hpp"
#include "qat/kernels/cuda/fake_quantize.hpp"
#include "qat/kernels/cuda/lsq.hpp"
#include "qat/kernels/cuda/prepack_int4.hpp"
#include "qat/kernels/cuda/quantize.hpp"
#include "qat/kernels/cuda/rmsnorm.hpp"
#include "qat/kernels/cuda/rope.hpp"
#include "qat/kernels/cuda/scaled_float.hpp"
#include "qat/kernels/cuda/sum_rows.hpp"
#include "qat/kernels/cuda/w4a16_gemm.hpp"
#include "qat/kernels/cuda/w4a8_gemm.hpp"

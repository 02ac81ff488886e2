// The CPU kernels as one object file: what QAT_INSTANCE names, compiled here once (built with QAT_COMPILE_KERNELS), so
// that a program built with QAT_COMPILED_KERNELS compiles none of them. Same code, same bits; a large program builds in
// a third of the time. Meson: dependency('qat-kernels'); others: pkg-config qat-kernels (docs/design.md).
#include "qat/kernels/cpu/attention.hpp"
#include "qat/kernels/cpu/backward_operands.hpp"
#include "qat/kernels/cpu/bf16_gemm.hpp"
#include "qat/kernels/cpu/gemm.hpp"
#include "qat/kernels/cpu/layernorm.hpp"
#include "qat/kernels/cpu/lsq.hpp"
#include "qat/kernels/cpu/pack_weight.hpp"
#include "qat/kernels/cpu/packed_gemm.hpp"
#include "qat/kernels/cpu/packed_operand.hpp"
#include "qat/kernels/cpu/qgemm.hpp"
#include "qat/kernels/cpu/quantize.hpp"
#include "qat/kernels/cpu/rmsnorm.hpp"
#include "qat/kernels/cpu/softmax_cross_entropy.hpp"

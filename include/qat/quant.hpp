// Umbrella of the scalar and policy layers: value types, rounding, granularity, mapping, specs and the definition of
// quantization. What a framework author needs; standard library alone.
#pragma once

#include "qat/base/check.hpp"
#include "qat/base/config.hpp"
#include "qat/base/random.hpp"
#include "qat/numeric/bfloat16.hpp"
#include "qat/numeric/float4.hpp"
#include "qat/numeric/float8.hpp"
#include "qat/numeric/half.hpp"
#include "qat/numeric/int_subbyte.hpp"
#include "qat/numeric/rounding.hpp"
#include "qat/quant/affine.hpp"
#include "qat/quant/formats.hpp"
#include "qat/quant/granularity.hpp"
#include "qat/quant/int4_weight.hpp"
#include "qat/quant/mapping.hpp"
#include "qat/quant/qparams.hpp"
#include "qat/quant/scaled_float.hpp"
#include "qat/quant/spec.hpp"
#include "qat/quant/visit.hpp"

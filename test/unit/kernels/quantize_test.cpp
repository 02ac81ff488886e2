#include "qat/kernels/cpu/quantize.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "support/compare.hpp"

using namespace qat;
using namespace qat::test;

namespace {
const CpuBackend& backend() { return CpuBackend::shared(); }
constexpr float kNan = std::bit_cast<float>(0x7FC00000u), kInfinity = std::bit_cast<float>(0x7F800000u);

std::vector<float> fake_quantized(const char* spec, const std::vector<float>& x, std::vector<float>* scale = nullptr) {
  std::vector<float> y(x.size()), s(x.size());
  kernels::fake_quantize_dynamic(backend(), parse_spec(spec), x.data(), 1, static_cast<index_t>(x.size()), y.data(),
                                 s.data());
  if (scale != nullptr) *scale = s;
  return y;
}
template <class F>
ErrorCode code_of(F&& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.code();
  }
  FAIL("no error was thrown");
  return ErrorCode::kIo;
}
}  // namespace

TEST_CASE("int4 symmetric: the scale is amax / 7.5 and the values are its multiples") {
  std::vector<float> scale;
  const std::vector<float> y = fake_quantized("int4:group4:symmetric", {7.5f, -7.5f, 1.4f, 2.5f}, &scale);
  CHECK(scale[0] == 1.0f);
  CHECK(compare_bits(std::vector<float>{7.0f, -8.0f, 1.0f, 2.0f}, y));  // 7.5 -> 8 clips to 7; ties to even
}

TEST_CASE("signed extremum: the element of largest magnitude, first on ties, becomes the lowest code exactly") {
  std::vector<float> scale;
  const std::vector<float> y = fake_quantized("int4:group4:signed_extremum", {1.0f, 8.0f, -8.0f, 0.5f}, &scale);
  CHECK(scale[0] == -1.0f);
  CHECK(compare_bits(std::vector<float>{1.0f, 8.0f, -7.0f, -0.0f}, y));
}

TEST_CASE("degenerate input follows its written rule on every target") {
  for (const Target target : supported_targets()) {
    CAPTURE(std::string(name(target)));
    const ScopedTarget forced(target);
    std::vector<float> scale;
    CHECK(compare_bits(std::vector<float>(40, 0.0f),
                       fake_quantized("int4:group32:symmetric", std::vector<float>(40, 0.0f), &scale)));
    CHECK(scale[0] == 0x1p-126f);
    CHECK(compare_bits(std::vector<float>(4, 0.0f),
                       fake_quantized("int8:token:asymmetric", std::vector<float>(4, -0.0f))));
    // NaN is 0, infinities saturate, neither moves the scale
    const std::vector<float> y =
        fake_quantized("int8:token:symmetric_no_clip", {kNan, kInfinity, -kInfinity, 127.0f}, &scale);
    CHECK(scale[0] == 1.0f);
    CHECK(compare_bits(std::vector<float>{0.0f, 127.0f, -128.0f, 127.0f}, y));
    const float big[] = {1e30f, -1e30f};
    float out[2];
    CHECK(kernels::fake_quantize_dynamic(backend(), parse_spec("int8:tensor:symmetric"), big, 1, 2, out) == 0);
    CHECK(out[0] > 0.99e30f);
    const float all_nan[] = {kNan, kNan, kNan};
    float zeros[3];
    CHECK(kernels::fake_quantize_dynamic(backend(), parse_spec("uint4:group3:float_zero_point"), all_nan, 1, 3,
                                         zeros) == 3);
    CHECK(zeros[0] == 0x1p-123f);  // the middle of a range of 16 steps of eps that starts at 0
  }
}

TEST_CASE("empty tensors are accepted and touch nothing") {
  for (const char* text :
       {"int4:group32:symmetric", "int8:token:asymmetric", "int8:tensor:symmetric", "int4:axis1:symmetric"}) {
    const QuantSpec spec = parse_spec(text);
    CHECK(kernels::fake_quantize_dynamic<float>(backend(), spec, nullptr, 0, 64, nullptr) == 0);
    CHECK(kernels::fake_quantize_dynamic<float>(backend(), spec, nullptr, 3, 0, nullptr) == 0);
    kernels::dequantize<float>(backend(), spec, nullptr, 0, 64, nullptr, nullptr, nullptr);
  }
}

TEST_CASE("the tensor may be quantized in place") {
  std::vector<float> x(300);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 37) - 11.0f;
  const QuantSpec spec = parse_spec("int4:group32:asymmetric");
  std::vector<float> y(x.size());
  kernels::fake_quantize_dynamic(backend(), spec, x.data(), 3, 100, y.data());
  kernels::fake_quantize_dynamic(backend(), spec, x.data(), 3, 100, x.data());
  CHECK(compare_bits(y, x));
}

TEST_CASE("stochastic rounding draws by seed and index: reruns agree, seeds differ, the mean is kept") {
  const QuantSpec spec = parse_spec("int8:tensor:symmetric_no_clip:stochastic");
  std::vector<float> x(4096, 0.3f), a(x.size()), b(x.size()), c(x.size());
  x[0] = 127.0f;  // scale 1
  kernels::fake_quantize_dynamic<float>(CpuBackend(1), spec, x.data(), 64, 64, a.data(), nullptr, nullptr, 5);
  kernels::fake_quantize_dynamic<float>(CpuBackend(3), spec, x.data(), 64, 64, b.data(), nullptr, nullptr, 5);
  kernels::fake_quantize_dynamic<float>(CpuBackend(1), spec, x.data(), 64, 64, c.data(), nullptr, nullptr, 6);
  CHECK(compare_bits(a, b));
  CHECK_FALSE(compare_bits(a, c));
  double sum = 0;
  for (std::size_t i = 1; i < a.size(); ++i) sum += static_cast<double>(a[i]);
  CHECK(sum / 4095 > 0.3 - 4 * 0.46 / 64);  // four standard errors
  CHECK(sum / 4095 < 0.3 + 4 * 0.46 / 64);
}

TEST_CASE("what runs on the reference kernel can be asked") {
  for (const QuantSpec& spec : {parse_spec("int4:group32:symmetric"), parse_spec("int8:token:asymmetric:e8m0"),
                                parse_spec("int8:block1x32:symmetric")})
    CHECK(kernels::has_kernel(spec));
  for (const char* text : {"int4:axis1:symmetric", "int8:block4x4:symmetric", "int4:group32:symmetric:stochastic"})
    CHECK_FALSE(kernels::has_kernel(parse_spec(text)));
}

TEST_CASE("missing parameters and groups that do not fit are errors, not reads of null") {
  const QuantSpec symmetric = parse_spec("int4:group4:symmetric"), asymmetric = parse_spec("int4:group4:asymmetric");
  const float x[4] = {}, scale[1] = {1.0f};
  float y[4];
  CHECK(code_of([&] { kernels::fake_quantize(backend(), symmetric, x, 1, 4, nullptr, nullptr, y); }) ==
        ErrorCode::kInvalidArgument);
  CHECK(code_of([&] { kernels::fake_quantize(backend(), asymmetric, x, 1, 4, scale, nullptr, y); }) ==
        ErrorCode::kInvalidArgument);
  CHECK(code_of([&] { kernels::fake_quantize_dynamic(backend(), symmetric, x, 2, 2, y); }) ==
        ErrorCode::kInvalidArgument);
}

TEST_CASE("NaN gradients pass where the mask passes, and NaN inputs get none") {
  const QuantSpec spec = parse_spec("int4:group4:symmetric");
  const float x[4] = {1.0f, kNan, 100.0f, -3.0f}, dy[4] = {kNan, 1.0f, 1.0f, 2.0f}, scale[1] = {1.0f};
  float dx[4];
  kernels::fake_quantize_backward(backend(), spec, dy, x, 1, 4, scale, nullptr, SteMask::kInclusive, dx);
  CHECK(is_nan(dx[0]));
  CHECK(dx[1] == 0.0f);
  CHECK(dx[2] == 0.0f);
  CHECK(dx[3] == 2.0f);
}

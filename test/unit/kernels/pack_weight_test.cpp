// quantize_and_pack gives the bytes of its two definitions one after the other: quantize, then put every code.
#include "qat/kernels/cpu/pack_weight.hpp"

#include <limits>
#include <vector>

#include <doctest/doctest.h>

#include "support/compare.hpp"
#include "support/packed_weights.hpp"
#include "support/random_values.hpp"
#include "support/tuning_scope.hpp"

namespace {

using qat::index_t;
using qat::PackedWeight;
using qat::Target;

std::vector<std::uint8_t> bytes_of(const PackedWeight& w) {
  const index_t slots =
      w.groups().tile_rows == 1 ? w.layout().panels() * 16 * w.groups().tiles_per_row : w.groups().count();
  std::vector<std::uint8_t> all(w.data(), w.data() + w.layout().bytes());
  const index_t scales = slots * qat::scale_bits(w.spec().scale_type) / 8;
  all.insert(all.end(), w.scale_data(), w.scale_data() + scales);
  const index_t rest = w.resident_bytes() - static_cast<index_t>(all.size());
  if (rest > 0) all.insert(all.end(), w.zero_point_data(), w.zero_point_data() + rest);
  return all;
}

}  // namespace

TEST_CASE("quantize_and_pack leaves the bytes of quantize and pack: every scheme, width, ragged shape and target") {
  const qat::CpuBackend backend(2);
  for (const char* text : qat::test::packed_schemes()) {
    const qat::QuantSpec spec = qat::parse_spec(text);
    CAPTURE(text);
    for (const index_t rows : {1, 15, 16, 17, 50})
      for (const index_t columns : {1, 4, 7, 31, 32, 33, 64, 65, 200}) {
        if (spec.granularity.group_size > columns) continue;
        CAPTURE(rows);
        CAPTURE(columns);
        const std::vector<float> w = qat::test::uniform_values(rows * columns, static_cast<std::uint64_t>(columns));
        const auto tiles = static_cast<std::size_t>(qat::group_layout(spec.granularity, rows, columns).count());
        std::vector<std::int8_t> codes(w.size());
        std::vector<float> scale(tiles), zero(tiles);
        qat::kernels::quantize_dynamic(backend, spec, w.data(), rows, columns, codes.data(), scale.data(), zero.data());
        const PackedWeight expected = PackedWeight::pack(spec, rows, columns, codes.data(), scale.data(), zero.data());
        for (const Target target : qat::supported_targets()) {
          const qat::ScopedTarget scope(target);
          CAPTURE(qat::name(target));
          PackedWeight packed;
          std::vector<float> s(tiles, 7.0f), z(tiles, 7.0f);
          for (int repeat = 0; repeat < 2; ++repeat)  // into new storage, then into the same
            CHECK(qat::kernels::quantize_and_pack(backend, spec, w.data(), rows, columns, packed, s.data(), z.data()) ==
                  0);
          CHECK(qat::test::compare_bits(bytes_of(expected), bytes_of(packed)));
          CHECK(qat::test::compare_bits(scale, s));
          CHECK(qat::test::compare_bits(zero, z));
          PackedWeight without;
          qat::kernels::quantize_and_pack(backend, spec, w.data(), rows, columns, without);
          CHECK(qat::test::compare_bits(bytes_of(expected), bytes_of(without)));
          CHECK(without == expected);
          PackedWeight given;
          const float* const given_zero = qat::has_constant_zero_point(spec.mapping) ? nullptr : zero.data();
          CHECK(qat::kernels::quantize_and_pack_static(backend, spec, w.data(), rows, columns, given, scale.data(),
                                                       given_zero) == 0);
          CHECK(qat::test::compare_bits(bytes_of(expected), bytes_of(given)));
        }
      }
  }
}

TEST_CASE("4-bit weights packed in blocks of 128 columns have the bytes of quantize and pack, streamed or not") {
  const qat::test::TuningScope restored;
  const qat::CpuBackend backend(2);
  const float big = 0x1p127f, tiny = 0x1p-140f;
  for (const char* text :
       {"int4:group32:symmetric", "int4:group32:symmetric:bf16safe", "uint4:group32:symmetric",
        "int4:group64:symmetric:float16", "int4:group128:asymmetric:bfloat16", "uint4:group32:asymmetric_raw:float16",
        "int4:group32:symmetric_no_clip:e4m3", "uint4:group64:asymmetric"}) {
    const qat::QuantSpec spec = qat::parse_spec(text);
    CAPTURE(text);
    for (const index_t columns : {128, 384})
      for (const float factor : {1.0f, big, tiny, 1e6f}) {  // scales clamped, codes beyond int32, groups of zeros
        CAPTURE(factor);
        const index_t rows = 50;
        std::vector<float> w = qat::test::uniform_values(rows * columns, static_cast<std::uint64_t>(columns));
        for (std::size_t i = 0; i < w.size(); ++i) w[i] *= i % 1024 < 96 ? 0.0f : i % 5 == 0 ? factor : 1.0f;
        w[700] = 0.0f;
        for (std::size_t i = 2048; i < 2304; ++i) w[i] = 3.0f;  // one value: the range of a raw mapping is 0
        const auto tiles = static_cast<std::size_t>(qat::group_layout(spec.granularity, rows, columns).count());
        std::vector<std::int8_t> codes(w.size());
        std::vector<float> scale(tiles), zero(tiles);
        qat::kernels::reference::choose_qparams(spec, w.data(), rows, columns, scale.data(), zero.data());
        qat::kernels::reference::quantize(spec, w.data(), rows, columns, scale.data(), zero.data(), codes.data());
        const PackedWeight expected = PackedWeight::pack(spec, rows, columns, codes.data(), scale.data(), zero.data());
        for (const Target target : qat::supported_targets())
          for (const index_t stream : {index_t{0}, index_t{1} << 40}) {
            const qat::ScopedTarget scope(target);
            CAPTURE(qat::name(target));
            qat::kernels::cpu_tuning().stream_bytes = stream;
            PackedWeight packed;
            std::vector<float> s(tiles, 7.0f), z(tiles, 7.0f);
            CHECK(qat::kernels::quantize_and_pack(backend, spec, w.data(), rows, columns, packed, s.data(), z.data()) ==
                  0);
            CHECK(qat::test::compare_bits(bytes_of(expected), bytes_of(packed)));
            CHECK(qat::test::compare_bits(scale, s));
            CHECK(qat::test::compare_bits(zero, z));
            w[700] = std::numeric_limits<float>::quiet_NaN();
            CHECK(qat::kernels::quantize_and_pack(backend, spec, w.data(), rows, columns, packed) == 1);
            w[700] = 0.0f;
          }
      }
  }
}

TEST_CASE("storage that held weights of another shape or scheme is replaced") {
  const qat::CpuBackend backend(1);
  const std::vector<float> w = qat::test::uniform_values(64 * 64, 1);
  PackedWeight packed;
  for (const char* text : {"int4:group32:symmetric", "int8:axis0:symmetric", "int4:group32:asymmetric:bfloat16"})
    for (const index_t rows : {64, 20}) {
      const qat::QuantSpec spec = qat::parse_spec(text);
      qat::kernels::quantize_and_pack(backend, spec, w.data(), rows, 64, packed);
      PackedWeight fresh;
      qat::kernels::quantize_and_pack(backend, spec, w.data(), rows, 64, fresh);
      CHECK(packed.rows() == rows);
      CHECK(qat::test::compare_bits(bytes_of(fresh), bytes_of(packed)));
    }
}

TEST_CASE("packed weights are equal where scheme, shape, codes and parameters are") {
  const qat::CpuBackend backend(1);
  std::vector<float> w = qat::test::uniform_values(20 * 40, 3);
  const auto packed = [&](const char* text, index_t rows) {
    PackedWeight p;
    qat::kernels::quantize_and_pack(backend, qat::parse_spec(text), w.data(), rows, 40, p);
    return p;
  };
  const PackedWeight four = packed("int4:group32:symmetric", 20), zeros = packed("int4:group32:asymmetric", 20);
  CHECK(four == packed("int4:group32:symmetric", 20));
  CHECK_FALSE(four == packed("int4:group32:symmetric", 19));
  CHECK_FALSE(four == packed("int4:group32:symmetric_no_clip", 20));
  CHECK_FALSE(four == PackedWeight());
  w[7] += 0.5f;  // another code
  CHECK_FALSE(four == packed("int4:group32:symmetric", 20));
  w[7] -= 0.5f;
  for (float& v : w) v *= 2.0f;  // the same codes and zero points, other scales
  CHECK_FALSE(four == packed("int4:group32:symmetric", 20));
  CHECK_FALSE(zeros == packed("int4:group32:asymmetric", 20));
}

TEST_CASE("weights that are not finite are counted") {
  const qat::CpuBackend backend(2);
  std::vector<float> w = qat::test::uniform_values(40 * 32, 2);
  w[5] = std::numeric_limits<float>::quiet_NaN();
  w[1000] = std::numeric_limits<float>::infinity();
  for (const char* text : {"int4:group32:symmetric", "int8:tensor:symmetric"}) {
    PackedWeight packed;
    CHECK(qat::kernels::quantize_and_pack(backend, qat::parse_spec(text), w.data(), 40, 32, packed) == 2);
    const std::vector<float> scale(40, 0.1f);
    CHECK(qat::kernels::quantize_and_pack_static(backend, qat::parse_spec(text), w.data(), 40, 32, packed, scale.data(),
                                                 nullptr) == 2);
  }
}

// Tensors: zeroed, aligned, moved or cloned, never copied by accident.
#include "qat/tensor/tensor.hpp"

#include <doctest/doctest.h>

#include <string>

static_assert(!std::is_copy_constructible_v<qat::Tensor<float>> && !std::is_copy_assignable_v<qat::Tensor<float>>);
static_assert(std::is_nothrow_move_constructible_v<qat::Tensor<float>>);

TEST_CASE("a new tensor is zero, aligned and of its shape") {
  qat::Tensor<float> t({3, 5, 7});
  CHECK(t.rank() == 3);
  CHECK(t.dim(1) == 5);
  CHECK(t.size() == 105);
  CHECK(reinterpret_cast<std::uintptr_t>(t.data()) % qat::kAlignment == 0);
  for (const float x : t) REQUIRE(x == 0.0f);
  CHECK(t.view<3>()(2, 4, 6) == 0.0f);
  CHECK(t.matrix().shape[0] == 15);
  CHECK(t.flat().size() == 105);
}

TEST_CASE("clone has storage of its own; a moved-from tensor is empty") {
  qat::Tensor<int> a({4});
  a.fill(7);
  qat::Tensor<int> b = a.clone();
  b[0] = 1;
  CHECK(a[0] == 7);
  qat::Tensor<int> c = std::move(a);
  CHECK(a.empty());
  CHECK(a.rank() == 0);
  CHECK(c[3] == 7);
  a = std::move(c);
  CHECK(a[3] == 7);
  qat::Tensor<int>& self = a;
  a = std::move(self);
  CHECK(a[3] == 7);
}

TEST_CASE("shapes are checked: rank, sign, size, overflow") {
  qat::Tensor<float> t({2, 3});
  CHECK_THROWS_AS(t.view<1>(), qat::Error);
  CHECK_THROWS_AS(t.reshape({4}), qat::Error);
  t.reshape({3, 2});
  CHECK(t.dim(0) == 3);
  CHECK_THROWS_AS(qat::Tensor<float>({-1, 2}), qat::Error);
  CHECK_THROWS_AS(qat::Tensor<float>({qat::index_t{1} << 40, qat::index_t{1} << 40}), qat::Error);
  CHECK_THROWS_AS(qat::Tensor<float>({1, 1, 1, 1, 1}), qat::Error);
  CHECK(qat::Tensor<float>({0, 5}).empty());
  CHECK(std::string(to_string(t.shape()).c_str()) == "(3, 2)");
  try {
    t.view<4>();
    FAIL("expected an error");
  } catch (const qat::Error& error) {
    CHECK(std::string(error.what()) == "Tensor::view<4>: the tensor has shape (3, 2)");
  }
}

// A model as ONNX: quantized, written, and the logits that a runtime should give for some tokens beside it.
//   write_onnx MODEL SCHEME OUT.onnx      also writes OUT.onnx.tokens (I64) and OUT.onnx.logits (F32, tokens x
//   vocabulary)
#include <cstdio>
#include <vector>

#include "qat/io/llama.hpp"
#include "qat/recipe/onnx_export.hpp"

int main(int argc, char** argv) {
  using namespace qat;
  if (argc != 4) return std::fprintf(stderr, "usage: write_onnx MODEL SCHEME OUT.onnx\n"), 2;
  const std::string out = argv[3];
  try {
    LlamaWeights weights = load_llama(argv[1]);
    nn::Transformer model(weights.config);
    model.load(std::move(weights.tensors));
    const CpuBackend cpu;
    if (std::string(argv[2]) != "float") recipe::quantize(cpu, model, {{"linear", recipe::parse_scheme(argv[2])}});
    const recipe::OnnxReport report = recipe::save_onnx(model, out);
    std::printf("wrote %s: %td packed layers, %td in floating point\n", out.c_str(), report.packed, report.in_float);

    std::vector<std::int32_t> tokens;
    CounterRandom random(1);
    for (int i = 0; i < 48; ++i)
      tokens.push_back(
          static_cast<std::int32_t>(random.next_below(static_cast<std::uint32_t>(model.config().vocab_size))));
    const std::vector<std::int64_t> wide(tokens.begin(), tokens.end());
    const Tensor<float> logits = model.forward(cpu, view<const std::int32_t>(tokens.data(), 48), 1);  // (48, V)
    write_file(out + ".tokens", {reinterpret_cast<const char*>(wide.data()), wide.size() * sizeof(std::int64_t)});
    write_file(out + ".logits",
               {reinterpret_cast<const char*>(logits.data()), static_cast<std::size_t>(logits.size_bytes())});
  } catch (const Error& error) {
    return std::fprintf(stderr, "%s\n", error.what()), 2;
  }
  return 0;
}

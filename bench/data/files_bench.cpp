// Rates of reading and writing every format against copying the same bytes, durably and without waiting for the disk;
// peak memory of conversions, and the time to open a file.
//   files_bench DIRECTORY MEGABYTES     writes a model of that size in fp32, and all formats of it, below DIRECTORY
#include <malloc.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <thread>

#include "qat/io/directory.hpp"
#include "qat/io/file_summary.hpp"
#include "qat/recipe/compressed_tensors_checkpoint.hpp"
#include "qat/recipe/gguf_export.hpp"
#include "qat/recipe/onnx_export.hpp"
#include "qat/recipe/torchao_checkpoint.hpp"

namespace {

using namespace qat;

bool to_disk = true;  // what fsync of this program does: its own work, or nothing

}  // namespace

extern "C" int fsync(int descriptor) { return to_disk ? static_cast<int>(::syscall(SYS_fsync, descriptor)) : 0; }

namespace {

double seconds_of(const auto& work) {
  const auto begun = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
}
double best_of(int rounds, const auto& work) {
  double best = 1e30;
  for (int i = 0; i < rounds; ++i) best = (std::min)(best, seconds_of(work));
  return best;
}

/// A line of /proc/self/status in MB.
double status_mb(const char* key) {
  std::FILE* const file = std::fopen("/proc/self/status", "r");
  char line[256];
  double kb = 0.0;
  while (file != nullptr && std::fgets(line, sizeof line, file) != nullptr)
    if (std::strncmp(line, key, std::strlen(key)) == 0) kb = std::atof(line + std::strlen(key) + 1);
  if (file != nullptr) std::fclose(file);
  return kb / 1024.0;
}

/// The largest anonymous memory (pages of mapped files are the page cache's) of a fresh process that does the work.
double peak_mb_of(const auto& work) {
  int ends[2];
  if (::pipe(ends) != 0) return -1.0;
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child == 0) {
    std::atomic<bool> done = false;
    double peak = 0.0;
    const double before = status_mb("RssAnon:");
    std::thread watcher([&] {
      while (!done) {
        peak = (std::max)(peak, status_mb("RssAnon:"));
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
    });
    work();
    done = true;
    watcher.join();
    peak -= before;
    ::_exit(::write(ends[1], &peak, sizeof peak) == sizeof peak ? 0 : 1);
  }
  double peak = -1.0;
  ::close(ends[1]);
  if (::read(ends[0], &peak, sizeof peak) != sizeof peak) peak = -1.0;
  ::close(ends[0]);
  ::waitpid(child, nullptr, 0);
  return peak;
}

std::uint64_t bytes_below(const std::string& path) {
  if (!is_directory(path)) return MappedFile(path).size();
  std::uint64_t bytes = 0;
  for (const std::string& name : list_directory(path)) bytes += MappedFile(join_path(path, name)).size();
  return bytes;
}

/// Copies the first bytes of a file in pieces of a megabyte, by system calls alone.
void copy_file(const std::string& from, const std::string& to, std::uint64_t bytes) {
  const std::string temporary = to + ".new";
  const int in = ::open(from.c_str(), O_RDONLY), out = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666);
  std::vector<char> piece(1 << 20);
  while (bytes > 0) {
    const ssize_t n =
        ::read(in, piece.data(), static_cast<std::size_t>((std::min)(bytes, std::uint64_t{piece.size()})));
    if (n <= 0 || ::write(out, piece.data(), static_cast<std::size_t>(n)) != n) std::abort();
    bytes -= static_cast<std::uint64_t>(n);
  }
  fsync(out);
  ::close(in);
  ::close(out);
  if (::rename(temporary.c_str(), to.c_str()) != 0) std::abort();
  sync_directory(parent_directory(to));
}
/// Copies a file's pages into fresh memory, which is what a reader that owns its tensors does.
void read_file(const std::string& path) {
  const MappedFile file(path);
  const std::unique_ptr<unsigned char[]> memory(new unsigned char[file.size()]);
  std::memcpy(memory.get(), file.data(), file.size());
  volatile unsigned char seen = memory[file.size() / 2];
  (void)seen;
}

LlamaConfig config_of(double megabytes) {
  LlamaConfig c;
  c.dim = 1024;
  c.hidden_dim = 2816;
  c.n_heads = 16;
  c.n_kv_heads = 8;
  c.head_dim = 64;
  c.vocab_size = 32000;
  c.max_seq_len = 1024;
  const double layer = 4.0 * 1024 * (1024 * 3 + 3 * 2816) / 1e6, table = 4.0 * 32000 * 1024 / 1e6;
  c.n_layers = static_cast<index_t>((std::max)(1.0, (megabytes - table) / layer));
  return c;
}

/// Times of the work and of the copy beside it, in alternation: the best of some rounds each.
struct Pair {
  double work = 1e30, copy = 1e30;
};
Pair best_pair(int rounds, const auto& work, const auto& copy) {
  Pair best;
  for (int i = 0; i < rounds; ++i) {
    best.copy = (std::min)(best.copy, seconds_of(copy));
    best.work = (std::min)(best.work, seconds_of(work));
  }
  return best;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return std::fprintf(stderr, "usage: files_bench DIRECTORY MEGABYTES\n"), 2;
  const std::string at = std::string(argv[1]) + "/";
  make_directory(argv[1]);
  const LlamaConfig config = config_of(std::atof(argv[2]));
  const std::string hf = at + "hf", weights = hf + "/model.safetensors";
  {
    CounterRandom random(1);
    LlamaWeights made{config, {}};
    for (const auto& [name, shape] : llama_tensor_shapes(config))
      for (float& w : made.tensors.emplace(name, Tensor<float>::uninitialized(shape)).first->second)
        w = 0.1f * (random.next_float() - 0.5f);
    write_hf_llama(made, hf);
    nn::Transformer model(config);
    model.load(std::move(made.tensors));
    recipe::quantize(CpuBackend(0), model, {{"linear", recipe::parse_scheme("gguf:q4_0")}});
    recipe::save_packed(model, at + "packed");
  }
  ::malloc_trim(0);  // memory that was freed counts again when it is used
  const double largest = 4.0 * static_cast<double>(config.vocab_size * config.dim) / 1048576.0;
  const std::uint64_t size = bytes_below(weights);
  std::printf("%.0f MB in fp32. GB/s: of the larger of input and output; copy: reading and writing as many bytes\n",
              static_cast<double>(size) / 1e6);
  std::printf("%-28s %7s | %7s %7s %6s | %7s %7s %6s | %7s %7s %7s\n", "", "", "durably", "copy", "", "cached", "copy",
              "", "peak MB", "may MB", "open ms");
  struct Conversion {
    const char* name;
    std::string from, to;
    std::function<void(const std::string& to)> write;
    std::function<void(const std::string& path)> open;
  };
  const auto open_hf = [](const std::string& path) { (void)HfCheckpoint(path); };
  const auto open_tensors = [](const std::string& path) { (void)Safetensors::open(path); };
  const auto open_gguf = [](const std::string& path) { (void)GgufCheckpoint(path); };
  const auto open_onnx = [](const std::string& path) { (void)OnnxFile::open(path); };
  const auto packed = [&] { return recipe::open_packed_source(at + "packed"); };
  const auto in_float = [&] { return recipe::export_source(open_weights(hf)); };
  const auto to_gguf = [](const recipe::ExportSource& source, const std::string& to, std::optional<GgmlType> type,
                          GgmlType float_type) {
    recipe::export_gguf(source, {}, to, {"m", type, float_type});
  };
  const Conversion conversions[] = {
      {"hf -> hf", hf, at + "hf2", [&](auto& to) { save_llama(open_weights(hf), to); }, open_hf},
      {"hf -> hf bf16", hf, at + "bf16", [&](auto& to) { save_llama(open_weights(hf), to, DType::kBF16); }, open_hf},
      {"hf -> hf f16", hf, at + "f16", [&](auto& to) { save_llama(open_weights(hf), to, DType::kF16); }, open_hf},
      {"hf bf16 -> hf", at + "bf16", at + "hf3", [&](auto& to) { save_llama(open_weights(at + "bf16"), to); }, open_hf},
      {"hf -> llama2c", hf, at + "m.bin", [&](auto& to) { save_llama(open_weights(hf), to); },
       [](auto& path) { (void)Llama2cCheckpoint(path); }},
      {"llama2c -> hf", at + "m.bin", at + "hf3", [&](auto& to) { save_llama(open_weights(at + "m.bin"), to); },
       open_hf},
      {"hf -> gguf f16", hf, at + "f16.gguf", [&](auto& to) { to_gguf(in_float(), to, {}, GgmlType::kF16); },
       open_gguf},
      {"hf -> gguf bf16", hf, at + "bf16.gguf", [&](auto& to) { to_gguf(in_float(), to, {}, GgmlType::kBF16); },
       open_gguf},
      {"hf -> onnx", hf, at + "m.onnx", [&](auto& to) { recipe::save_onnx(in_float(), to); }, open_onnx},
      {"packed -> hf", at + "packed", at + "hf3", [&](auto& to) { save_llama(recipe::on_grid_weights(packed()), to); },
       open_hf},
      {"packed -> compressed-tensors", at + "packed", at + "ct",
       [&](auto& to) { (void)recipe::save_compressed_tensors(packed(), to); }, open_tensors},
      {"packed -> torchao", at + "packed", at + "ao", [&](auto& to) { (void)recipe::save_torchao(packed(), to); },
       open_tensors},
      {"packed -> gguf q4_0", at + "packed", at + "q4.gguf",
       [&](auto& to) { to_gguf(packed(), to, GgmlType::kQ4_0, GgmlType::kF32); }, open_gguf},
      {"gguf q4_0 -> hf", at + "q4.gguf", at + "hf3", [&](auto& to) { save_llama(open_weights(at + "q4.gguf"), to); },
       open_hf},
      {"gguf bf16 -> hf", at + "bf16.gguf", at + "hf3",
       [&](auto& to) { save_llama(open_weights(at + "bf16.gguf"), to); }, open_hf},
      {"packed -> onnx", at + "packed", at + "q4.onnx", [&](auto& to) { recipe::save_onnx(packed(), to); }, open_onnx},
  };
  for (const Conversion& c : conversions) {
    const double peak = peak_mb_of([&] { c.write(c.to); });
    const std::uint64_t moved = (std::max)(bytes_below(c.from), bytes_below(c.to));
    const auto write = [&] { c.write(c.to); };
    const auto copy = [&] { copy_file(weights, at + "copy", (std::min)(moved, size)); };
    const double copied = static_cast<double>((std::min)(moved, size)) / 1e9, bytes = static_cast<double>(moved) / 1e9;
    std::printf("%-28s %4.0f MB |", c.name, static_cast<double>(bytes_below(c.to)) / 1e6);
    for (const bool durably : {true, false}) {
      to_disk = durably;
      const Pair seconds = best_pair(3, write, copy);
      const double rate = bytes / seconds.work, reference = copied / seconds.copy;
      std::printf(" %7.2f %7.2f %5.0f%% |", rate, reference, 100.0 * rate / reference);
    }
    to_disk = true;
    std::printf(" %7.1f %7.0f %7.2f\n", peak, largest + 64.0, best_of(3, [&] { c.open(c.to); }) * 1e3);
    std::fflush(stdout);
  }
  for (const std::string& path : {hf, at + "m.bin", at + "bf16", at + "f16", at + "bf16.gguf", at + "q4.gguf"}) {
    const WeightSource source = open_weights(path);
    const Pair seconds = best_pair(
        3,
        [&] {
          for (const auto& [name, shape] : llama_tensor_shapes(config)) (void)source.tensor(name);
        },
        [&] { read_file(weights); });
    const auto gigabytes = static_cast<double>(size) / 1e9;
    std::printf("%-28s %4.0f MB | %7.2f GB/s in fp32, %.0f%% of copying as many bytes into memory, %.2f GB/s\n",
                ("read " + file_name(path)).c_str(), static_cast<double>(bytes_below(path)) / 1e6,
                gigabytes / seconds.work, 100.0 * seconds.copy / seconds.work, gigabytes / seconds.copy);
    std::fflush(stdout);
  }
  return 0;
}

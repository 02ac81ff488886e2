// Rates of reading and writing every format against copying a file from the page cache, peak memory of conversions, and
// the time to open a file.
//   files_bench DIRECTORY MEGABYTES     writes a model of that size in fp32, and all formats of it, below DIRECTORY
#include <sys/wait.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <thread>

#include "qat/io/directory.hpp"
#include "qat/io/file_summary.hpp"
#include "qat/recipe/compressed_tensors_checkpoint.hpp"
#include "qat/recipe/gguf_export.hpp"
#include "qat/recipe/torchao_checkpoint.hpp"

namespace {

using namespace qat;

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

/// Copies a file in pieces of a megabyte, durable as a written file is.
void copy_file(const std::string& from, const std::string& to) {
  const int in = ::open(from.c_str(), O_RDONLY);
  std::vector<char> piece(1 << 20);
  AtomicFileWriter writer(to);
  for (ssize_t n; (n = ::read(in, piece.data(), piece.size())) > 0;)
    writer.write(piece.data(), static_cast<std::size_t>(n));
  ::close(in);
  writer.commit();
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

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return std::fprintf(stderr, "usage: files_bench DIRECTORY MEGABYTES\n"), 2;
  const std::string at = std::string(argv[1]) + "/";
  make_directory(argv[1]);
  const LlamaConfig config = config_of(std::atof(argv[2]));
  const std::string hf = at + "hf", weights = hf + "/model.safetensors";
  const auto shapes = llama_tensor_shapes(config);
  CounterRandom random(1);
  write_hf_llama(WeightSource{config,
                              [&](const std::string& name) {
                                auto t = std::make_shared<Tensor<float>>(Tensor<float>::uninitialized(shapes.at(name)));
                                for (float& w : *t) w = 0.1f * (random.next_float() - 0.5f);
                                return std::shared_ptr<const Tensor<float>>(t);
                              }},
                 hf);
  const double largest = 4.0 * static_cast<double>(config.vocab_size * config.dim) / 1048576.0;
  const auto size = static_cast<double>(bytes_below(weights));
  const double read_rate = size / best_of(3, [&] { read_file(weights); }) / 1e9,
               copy_rate = size / best_of(3, [&] { copy_file(weights, at + "copy"); }) / 1e9;
  std::printf("%.0f MB in fp32; page cache: copied into memory %.2f GB/s, to a file %.2f GB/s, durably\n", size / 1e6,
              read_rate, copy_rate);
  std::printf("%-28s %9s %9s %8s %9s %9s %9s\n", "format", "MB", "GB/s", "of copy", "peak MB", "may MB", "open ms");
  {
    nn::Transformer model(config);
    model.load(load_llama(hf).tensors);
    recipe::quantize(CpuBackend(0), model, {{"linear", recipe::parse_scheme("qat4")}});
    recipe::save_packed(model, at + "packed");
  }
  struct Conversion {
    const char* name;
    std::string from, to;
    std::function<void(const std::string& to)> write;
    std::function<void(const std::string& path)> open;
  };
  const auto open_hf = [](const std::string& path) { (void)HfCheckpoint(path); };
  const auto open_tensors = [](const std::string& path) { (void)Safetensors::open(path); };
  const auto packed = [&] { return recipe::open_packed_source(at + "packed"); };
  const Conversion conversions[] = {
      {"hf -> hf", hf, at + "hf2", [&](auto& to) { save_llama(open_weights(hf), to); }, open_hf},
      {"hf -> hf bf16", hf, at + "bf16", [&](auto& to) { save_llama(open_weights(hf), to, DType::kBF16); }, open_hf},
      {"hf -> llama2c", hf, at + "m.bin", [&](auto& to) { save_llama(open_weights(hf), to); },
       [](auto& path) { (void)Llama2cCheckpoint(path); }},
      {"llama2c -> hf", at + "m.bin", at + "hf3", [&](auto& to) { save_llama(open_weights(at + "m.bin"), to); },
       open_hf},
      {"packed -> hf", at + "packed", at + "grid", [&](auto& to) { save_llama(recipe::on_grid_weights(packed()), to); },
       open_hf},
      {"packed -> compressed-tensors", at + "packed", at + "ct",
       [&](auto& to) { (void)recipe::save_compressed_tensors(packed(), to); }, open_tensors},
      {"packed -> torchao", at + "packed", at + "ao", [&](auto& to) { (void)recipe::save_torchao(packed(), to); },
       open_tensors},
  };
  for (const Conversion& c : conversions) {
    const double peak = peak_mb_of([&] { c.write(c.to); });
    const double seconds = best_of(2, [&] { c.write(c.to); });
    const auto moved = static_cast<double>((std::max)(bytes_below(c.from), bytes_below(c.to)));
    const double opened = best_of(3, [&] { c.open(c.to); });
    std::printf("%-28s %9.0f %9.2f %7.0f%% %9.0f %9.0f %9.2f\n", c.name, static_cast<double>(bytes_below(c.to)) / 1e6,
                moved / seconds / 1e9, 100.0 * moved / seconds / 1e9 / copy_rate, peak, largest + 64.0, opened * 1e3);
    std::fflush(stdout);
  }
  for (const std::string& path : {hf, at + "m.bin"}) {
    const WeightSource source = open_weights(path);
    const double seconds = best_of(2, [&] {
      for (const auto& [name, shape] : shapes) (void)source.tensor(name);
    });
    std::printf("%-28s %9.0f %9.2f %7.0f%% of copying\n", ("read " + file_name(path)).c_str(), size / 1e6,
                size / seconds / 1e9, 100.0 * size / seconds / 1e9 / read_rate);
  }
  return 0;
}

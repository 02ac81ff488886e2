// Text to training data: documents to one stream of tokens, the stream to windows and batches.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qat/base/random.hpp"
#include "qat/data/batch_source.hpp"
#include "qat/data/permutation.hpp"
#include "qat/data/tokenizer.hpp"
#include "qat/data/unicode.hpp"
#include "qat/io/file.hpp"

namespace qat::inline v0 {

inline constexpr std::string_view kDocumentSeparator = "\n<|endoftext|>\n";

/// The parts between separators, stripped of white space at both ends; empty ones are left out.
inline std::vector<std::string_view> split_documents(std::string_view text,
                                                     std::string_view separator = kDocumentSeparator) {
  std::vector<std::string_view> documents;
  for (std::size_t start = 0; start <= text.size();) {
    const std::size_t end = (std::min)(text.find(separator, start), text.size());
    const std::string_view document = strip(text.substr(start, end - start));
    if (!document.empty()) documents.push_back(document);
    start = end + separator.size();
  }
  return documents;
}

/// BOS and the tokens of each document, one after the other.
struct TokenStream {
  std::vector<std::int32_t> tokens;
  index_t documents = 0;
  index_t bytes = 0;  ///< of the documents' text, separators and stripped white space left out
  index_t words = 0;  ///< of the documents' text: what white space divides
};

/// Parts of the text that ASCII white space divides.
inline index_t count_words(std::string_view text) {
  constexpr std::string_view kSpace = " \t\n\v\f\r";
  index_t words = 0;
  for (std::size_t end = 0, begin; (begin = text.find_first_not_of(kSpace, end)) != text.npos; ++words)
    end = (std::min)(text.find_first_of(kSpace, begin), text.size());
  return words;
}

/// Throws for the first id outside [0, vocab_size).
inline void check_token_ids(std::span<const std::int32_t> ids, index_t vocab_size, const std::string& source) {
  for (std::size_t i = 0; i < ids.size(); ++i)
    QAT_CHECK(ids[i] >= 0 && ids[i] < vocab_size, kInvalidArgument, source, ": token ", i, " has id ", ids[i],
              "; accepted by the model's vocabulary: 0 to ", vocab_size - 1);
}

namespace detail {
inline void append_document(TokenStream& stream, std::string_view document, const Tokenizer& tokenizer) {
  const std::vector<std::int32_t> ids = tokenizer.encode(document, true);
  stream.tokens.insert(stream.tokens.end(), ids.begin(), ids.end());
  stream.bytes += static_cast<index_t>(document.size());
  stream.words += count_words(document);
  ++stream.documents;
}
}  // namespace detail

/// `source` names the text in errors; `vocab_size` is the model's.
inline TokenStream make_token_stream(std::string_view text, const Tokenizer& tokenizer, index_t vocab_size,
                                     const std::string& source, std::string_view separator = kDocumentSeparator) {
  TokenStream stream;
  for (const std::string_view document : split_documents(text, separator))
    detail::append_document(stream, document, tokenizer);
  QAT_CHECK(stream.documents > 0, kBadFile, source, ": has no text (", text.size(),
            " bytes); accepted: documents separated by a line "
            "<|endoftext|>");
  check_token_ids(stream.tokens, vocab_size, source);
  return stream;
}

inline TokenStream load_token_stream(const std::string& path, const Tokenizer& tokenizer, index_t vocab_size) {
  const MappedFile file(path);
  QAT_CHECK(file.size() > 0, kBadFile, path, ": is empty; accepted: text, documents separated by a line <|endoftext|>");
  return make_token_stream(file.text(), tokenizer, vocab_size, path);
}

/// The documents of a text in two streams: those that held_out(share, seed) leaves, and those it holds out.
inline std::pair<TokenStream, TokenStream> split_token_stream(std::string_view text, const Tokenizer& tokenizer,
                                                              index_t vocab_size, const std::string& source,
                                                              double share, std::uint64_t seed) {
  const std::vector<std::string_view> documents = split_documents(text);
  const std::vector<bool> out = held_out(static_cast<index_t>(documents.size()), share, seed, source.c_str());
  std::pair<TokenStream, TokenStream> streams;
  for (std::size_t i = 0; i < documents.size(); ++i)
    detail::append_document(out[i] ? streams.second : streams.first, documents[i], tokenizer);
  check_token_ids(streams.first.tokens, vocab_size, source);
  check_token_ids(streams.second.tokens, vocab_size, source);
  return streams;
}

/// Whole windows of `window` tokens, `stride` apart, from the start; an incomplete last one is left out. Borrows the
/// tokens.
class TokenWindows {
 public:
  TokenWindows(std::span<const std::int32_t> tokens, index_t window, index_t stride,
               const std::string& source = "token stream")
      : tokens_(tokens), window_(window), stride_(stride) {
    QAT_CHECK(window >= 2 && stride >= 1, kInvalidArgument, source, ": window is ", window, " and stride ", stride,
              " tokens; accepted: at least 2 and 1");
    const auto available = static_cast<index_t>(tokens.size());
    QAT_CHECK(available >= window, kBadFile, source, ": has ", available, " tokens; one window needs ", window);
    count_ = (available - window) / stride + 1;
  }
  /// Windows whose inputs and targets are `length` tokens and do not overlap: the protocol of the evaluations (length
  /// 512).
  static TokenWindows contiguous(std::span<const std::int32_t> tokens, index_t length,
                                 const std::string& source = "token stream") {
    return TokenWindows(tokens, length + 1, length, source);
  }

  index_t count() const { return count_; }
  index_t length() const { return window_ - 1; }  ///< of inputs and targets
  std::span<const std::int32_t> inputs(index_t i) const { return at(i).first(static_cast<std::size_t>(window_ - 1)); }
  std::span<const std::int32_t> targets(index_t i) const { return at(i).last(static_cast<std::size_t>(window_ - 1)); }

 private:
  std::span<const std::int32_t> at(index_t i) const {
    QAT_CHECK(i >= 0 && i < count_, kInvalidArgument, "TokenWindows: window ", i, " of ", count_);
    return tokens_.subspan(static_cast<std::size_t>(i * stride_), static_cast<std::size_t>(window_));
  }
  std::span<const std::int32_t> tokens_;
  index_t window_, stride_, count_ = 0;
};

/// Batches of windows at random offsets. Batch i is a pure function of (seed, i), so a resumed run sees the same data.
/// Borrows the tokens.
class BatchSampler final : public BatchSource {
 public:
  BatchSampler(std::span<const std::int32_t> tokens, index_t batch, index_t length, std::uint64_t seed,
               const std::string& source = "token stream")
      : tokens_(tokens), batch_(batch), length_(length), seed_(seed) {
    QAT_CHECK(batch >= 1 && length >= 1, kInvalidArgument, source, ": batch is ", batch, " windows of ", length,
              " tokens; accepted: at least 1 of each");
    const auto available = static_cast<index_t>(tokens.size());
    QAT_CHECK(available > length, kBadFile, source, ": has ", available, " tokens; one window needs ", length + 1);
    QAT_CHECK(available - length < (index_t{1} << 32), kUnsupported, source, ": has ", available,
              " tokens; accepted: fewer than 2^32");
  }
  index_t batch() const { return batch_; }
  index_t length() const { return length_; }

  /// Where window `row` of batch `index` starts in the stream.
  index_t offset(std::uint64_t index, index_t row) const {
    CounterRandom random(seed_, kStream + index);
    random.seek(static_cast<std::uint64_t>(row));
    return static_cast<index_t>(
        random.next_below(static_cast<std::uint32_t>(static_cast<index_t>(tokens_.size()) - length_)));
  }
  /// inputs, targets: (batch, length) row-major; targets are the inputs one token later.
  void sample(std::uint64_t index, std::int32_t* inputs, std::int32_t* targets) const {
    for (index_t row = 0; row < batch_; ++row) {
      const std::int32_t* window = tokens_.data() + offset(index, row);
      for (index_t i = 0; i < length_; ++i) {
        inputs[row * length_ + i] = window[i];
        targets[row * length_ + i] = window[i + 1];
      }
    }
  }
  void sample(std::uint64_t index, TrainingBatch& out) override {
    out.inputs.resize(static_cast<std::size_t>(batch_ * length_));
    out.targets.resize(out.inputs.size());
    out.sequences = ops::Sequences(batch_, length_);
    sample(index, out.inputs.data(), out.targets.data());
  }
  index_t counted_targets(std::uint64_t) override { return batch_ * length_; }

 private:
  static constexpr std::uint64_t kStream = std::uint64_t{0xDA7A}
                                           << 48;  // apart from the streams of other users of the seed
  std::span<const std::int32_t> tokens_;
  index_t batch_, length_;
  std::uint64_t seed_;
};

}  // namespace qat::inline v0

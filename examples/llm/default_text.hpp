// The text of the default model: short articles, stories and exercises about a made-up country. Its people and towns
// carry thousands of random facts, the same in every document, so a small model has to spend all its weights on
// remembering them.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "default_words.hpp"
#include "qat/base/random.hpp"
#include "qat/data/token_stream.hpp"  // kDocumentSeparator
#include "text_template.hpp"

namespace qat_llm {

/// Document i is a pure function of (seed, i): any index range is a text, and disjoint ranges are disjoint texts.
class DefaultText {
 public:
  static constexpr std::uint64_t kSeed = 1;
  static constexpr std::size_t kPeople = 128, kTowns = 32;
  static constexpr std::uint64_t kTrainBegin = 0, kValidBegin = 1u << 30;  ///< first documents of the two texts

  explicit DefaultText(std::uint64_t seed = kSeed, std::size_t people = kPeople, std::size_t towns = kTowns)
      : seed_(seed), people_(people), towns_(towns) {
    CounterRandom random(seed, kWorldStream);
    make_world(random);
  }
  DefaultText(const DefaultText&) = delete;  // entities point at each other
  DefaultText& operator=(const DefaultText&) = delete;

  std::string document(std::uint64_t index) const {
    CounterRandom random(seed_, kDocumentStream + index);
    const std::uint32_t kind = random.next_below(100);
    if (kind < 40) return biography(random);
    if (kind < 55) return town_article(random);
    if (kind < 75) return story(random);
    return kind < 90 ? questions(random) : exercise(random);
  }

  /// A question about the country and its answer, as they stand in documents: a pure function of (seed, index).
  std::pair<std::string, std::string> question(std::uint64_t index) const {
    CounterRandom random(seed_, kQuestionStream + index);
    const std::string both = question_and_answer(random);
    const std::size_t end = both.find("? ") + 1;
    return {both.substr(0, end), both.substr(end + 1)};
  }

  /// Documents from `first` on, until they have `bytes` bytes, each followed by the separator.
  std::string text(std::uint64_t first, std::size_t bytes) const {
    std::string out;
    while (out.size() < bytes) out += document(first++) + std::string(qat::kDocumentSeparator);
    return out;
  }

 private:
  using CounterRandom = qat::CounterRandom;
  using Templates = std::vector<const char*>;  ///< ways to say one thing
  static constexpr std::uint64_t kWorldStream = 0, kDocumentStream = std::uint64_t{1} << 32,
                                 kQuestionStream = std::uint64_t{1} << 33;

  // ---- random choices ----------------------------------------------------------------------------------------------

  // Draws are never operands of one expression: C++ leaves their order open, and the text must not depend on the
  // compiler.
  static std::string pick(CounterRandom& random, std::span<const char* const> list) {
    return list[random.next_below(static_cast<std::uint32_t>(list.size()))];
  }
  /// One word of each list, written together.
  static std::string compose(CounterRandom& random, std::initializer_list<words::List> parts) {
    std::string out;
    for (const words::List& part : parts) out += pick(random, part);
    return out;
  }
  static const Entity* pick(CounterRandom& random, const std::vector<Entity>& list, const Entity* except = nullptr) {
    const Entity* found = except;
    while (found == except) found = &list[random.next_below(static_cast<std::uint32_t>(list.size()))];
    return found;
  }
  static std::string with_article(const std::string& noun) {
    return (std::string_view("aeiou").find(noun[0]) == std::string_view::npos ? "a " : "an ") + noun;
  }
  /// A value not used before; `used` grows.
  template <class Make>
  static std::string unique(std::map<std::string, bool>& used, Make&& make) {
    for (;;)
      if (std::string value = make(); !std::exchange(used[value], true)) return value;
  }

  // ---- the country -------------------------------------------------------------------------------------------------

  void make_world(CounterRandom& random) {
    std::map<std::string, bool> used;
    for (Entity& town : towns_) {
      auto& facts = town.facts;
      facts["name"] = unique(used, [&] {
        return compose(random, {words::kOnsets, words::kMiddles, words::kTownEnds});
      });
      facts["river"] = unique(used, [&] { return compose(random, {words::kOnsets, words::kMiddles}) + "e"; });
      facts["region"] = pick(random, words::kRegions);
      facts["day"] = pick(random, words::kDays);
      facts["goods"] = pick(random, words::kThings);
      facts["crop"] = pick(random, words::kFoods);
      facts["sight"] = pick(random, words::kSights);
      facts["year"] = std::to_string(1200 + random.next_below(600));
      facts["houses"] = std::to_string(2 + random.next_below(98)) + "0";
      town.links["next"] = pick(random, towns_, &town);
      town.links["mayor"] = pick(random, people_);
    }
    for (Entity& person : people_) {
      auto& facts = person.facts;
      const bool female = random.next_below(2) == 0;
      facts["name"] = unique(used, [&] {
        facts["first"] = compose(random, {words::kOnsets, words::kMiddles, female ? words::kFemale : words::kMale});
        return facts["first"] + " " + compose(random, {words::kSurnameStarts, words::kSurnameEnds});
      });
      facts["He"] = female ? "She" : "He";
      facts["he"] = female ? "she" : "he";
      facts["him"] = female ? "her" : "him";
      facts["His"] = female ? "Her" : "His";
      facts["his"] = female ? "her" : "his";
      facts["trade"] = pick(random, words::kTrades);
      facts["a_trade"] = with_article(facts["trade"]);
      facts["colour"] = pick(random, words::kColours);
      facts["animal"] = pick(random, words::kAnimals);
      facts["an_animal"] = with_article(facts["animal"]);
      facts["pet"] = pick(random, words::kPetNames);
      facts["food"] = pick(random, words::kFoods);
      facts["things"] = pick(random, words::kThings);
      facts["fear"] = pick(random, words::kFears);
      facts["instrument"] = pick(random, words::kInstruments);
      facts["born"] = std::to_string(1820 + random.next_below(80));
      person.links["town"] = pick(random, towns_);
      person.links["friend"] = pick(random, people_, &person);
      person.links["teacher"] = pick(random, people_, &person);
    }
  }

  // ---- sentences ---------------------------------------------------------------------------------------------------

  /// One of the ways to say it.
  static std::string say(CounterRandom& random, const Templates& ways, const Entity& scope) {
    return expand(pick(random, ways), scope);
  }
  /// `count` different subjects, in random order, each said in one of its ways.
  static std::string say_some(CounterRandom& random, std::vector<Templates> subjects, std::size_t count,
                              const Entity& scope) {
    std::string out;
    for (std::size_t i = 0; i < count; ++i) {
      std::swap(subjects[i], subjects[i + random.next_below(static_cast<std::uint32_t>(subjects.size() - i))]);
      out += " " + say(random, subjects[i], scope);
    }
    return out;
  }

  // ---- documents ---------------------------------------------------------------------------------------------------

  std::string biography(CounterRandom& random) const {
    const Entity& person = *pick(random, people_);
    static const std::vector<Templates> kSubjects = {
        {"$He lives in $town.", "$His home is in $town.", "$first lives in $town, in $town.region."},
        {"$He has $an_animal called $pet.", "$His $animal is called $pet."},
        {"$His favourite colour is $colour.", "$first always wears $colour clothes.",
         "The door of $his house is $colour."},
        {"$He likes to eat $food.", "Most of all $he likes $food."},
        {"$He collects $things.", "$His house is full of $things."},
        {"$first is afraid of $fear.", "$He is not brave: $he fears $fear."},
        {"$He plays the $instrument.", "In the evening $first plays the $instrument."},
        {"$His best friend is $friend, $friend.a_trade.", "$He often visits $his friend $friend in $friend.town."},
        {"$He learned $his trade from $teacher.", "$His teacher was $teacher of $teacher.town."}};
    const std::string out = say(random,
                                {"$name is $a_trade from $town, born in $born.", "$name, born in $born, is $a_trade.",
                                 "$name works as $a_trade in $town."},
                                person);
    const std::uint32_t count = 4 + random.next_below(4);
    return out + say_some(random, kSubjects, count, person);
  }

  std::string town_article(CounterRandom& random) const {
    const Entity& town = *pick(random, towns_);
    static const std::vector<Templates> kSubjects = {
        {"It was founded in $year.", "The town is known since the year $year."},
        {"Its market is held on $day.", "Every $day there is a market."},
        {"The people of $name make $goods.", "Its $goods are sold everywhere."},
        {"Around it grow $crop.", "Its farmers grow $crop."},
        {"Visitors come to see $sight.", "In the middle of the town stands $sight."},
        {"It has $houses houses.", "There are $houses houses in $name."},
        {"The mayor is $mayor, $mayor.a_trade.", "$mayor is the mayor of $name."},
        {"The road leads to $next on the $next.river.", "The next town is $next in $next.region."}};
    const std::string out = say(
        random,
        {"$name is a town in $region, on the river $river.", "The town of $name lies on the $river in $region."}, town);
    const std::uint32_t count = 4 + random.next_below(3);
    return out + say_some(random, kSubjects, count, town);
  }

  std::string story(CounterRandom& random) const {
    const Entity& guest = *pick(random, people_);
    const Entity& host = *guest.links.find("friend")->second;
    const std::uint32_t had = 4 + random.next_below(17), gave = 1 + random.next_below(had - 2),
                        found = 2 + random.next_below(9);
    Entity scope;
    scope.links = {{"guest", &guest}, {"host", &host}, {"town", host.links.find("town")->second}};
    scope.facts = {{"weather", pick(random, words::kWeathers)},
                   {"feeling", pick(random, words::kFeelings)},
                   {"had", std::to_string(had)},
                   {"gave", std::to_string(gave)},
                   {"left", std::to_string(had - gave)},
                   {"found", std::to_string(found)},
                   {"total", std::to_string(had - gave + found)}};
    std::string out =
        say(random,
            {"One $weather $town.day $guest, the $guest.trade, went to $town to see $guest.his friend $host.",
             "It was a $weather day. $guest from $guest.town walked to the market of $town to meet $host."},
            scope);
    out +=
        say(random,
            {" $guest.He had $had $guest.food and gave $gave of them to $host.first, so $guest.he had $left left.",
             " $guest.first had $had $guest.food. $guest.He gave $host.first $gave $guest.food. Then $left were left."},
            scope);
    out +=
        say(random,
            {" Then $guest.he bought $found more and had $total.", " They found $found more, which made $total.", ""},
            scope);
    out += say(random,
               {" $host.first showed $guest.him $host.his $host.things and played the $host.instrument.",
                " The $host.animal $host.pet ran around the house, and $host.first gave $guest.him some $host.food.",
                " $host.He wore $host.colour and spoke of $host.fear, which $host.he fears."},
               scope);
    out += say(
        random,
        {" In the evening $guest.first went home to $guest.town and to $guest.pet, $guest.his $guest.animal.",
         " \"Come to $guest.town,\" said $guest.first, \"and see my $guest.animal $guest.pet and my $guest.things!\"",
         " They saw $town.sight by the river $town.river and bought $town.goods."},
        scope);
    return out + say(random, {" Both were $feeling.", " $guest.first was $feeling.", ""}, scope);
  }

  std::string question_and_answer(CounterRandom& random) const {
    static const Templates kPerson = {"Where does $name live? In $town.",
                                      "What does $name do? $He is $a_trade.",
                                      "What is the pet of $name? $pet, $an_animal.",
                                      "Which colour does $name like? $colour.",
                                      "What does $name eat? $food.",
                                      "What does $name collect? $things.",
                                      "What does $name fear? $fear.",
                                      "What does $name play? The $instrument.",
                                      "Who is the friend of $name? $friend.",
                                      "Who taught $name? $teacher.",
                                      "When was $name born? In $born."};
    static const Templates kTown = {"On which river is $name? On the $river.",   "Where is $name? In $region.",
                                    "When is the market of $name? On $day.",     "What is made in $name? $goods.",
                                    "Who is the mayor of $name? $mayor.",        "Which town is next to $name? $next.",
                                    "How old is $name? It was founded in $year."};
    const bool about_town = random.next_below(4) == 0;
    const Entity& entity = *pick(random, about_town ? towns_ : people_);
    return expand(pick(random, about_town ? kTown : kPerson), entity);
  }

  std::string questions(CounterRandom& random) const {
    std::string out = "Questions.";
    for (std::uint32_t i = 3 + random.next_below(3); i > 0; --i) out += "\n" + question_and_answer(random);
    return out;
  }

  static std::string exercise(CounterRandom& random) {
    std::vector<std::string> list;
    for (std::uint32_t i = 3 + random.next_below(5); i > 0; --i) list.push_back(pick(random, words::kThings));
    const auto joined = [&] {
      std::string out;
      for (const std::string& word : list) out += (out.empty() ? "" : ", ") + word;
      return out + ".";
    };
    std::string out = "Say this list again and then backwards: " + joined() + "\nAgain: " + joined();
    for (std::size_t i = 0; 2 * i + 1 < list.size(); ++i) std::swap(list[i], list[list.size() - 1 - i]);
    out += "\nBackwards: " + joined() + "\nSums:";
    for (std::uint32_t i = 3 + random.next_below(4); i > 0; --i) {
      const std::uint32_t a = random.next_below(50), b = random.next_below(50);
      out += " " + std::to_string(a) + " + " + std::to_string(b) + " = " + std::to_string(a + b) + (i > 1 ? "," : ".");
    }
    return out;
  }

  std::uint64_t seed_;
  std::vector<Entity> people_, towns_;
};

}  // namespace qat_llm

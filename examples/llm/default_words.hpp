// The words of the default text.
#pragma once

#include <span>

namespace qat_llm::words {

/// A list of words, to pick from.
using List = std::span<const char* const>;

inline constexpr const char* kOnsets[] = {"B", "Br", "D", "Dr", "F", "G", "H", "J", "K",
                                          "L", "M",  "N", "P",  "R", "S", "T", "V", "W"};
inline constexpr const char* kMiddles[] = {"al", "ar", "el", "en", "er", "il", "in",
                                           "ir", "ol", "om", "or", "ul", "un", "ur"};
inline constexpr const char* kFemale[] = {"a", "ia", "ana", "y"};
inline constexpr const char* kMale[] = {"o", "an", "ik", "us"};
inline constexpr const char* kTownEnds[] = {"mor", "dun", "vik", "holm", "gard", "esk"};
inline constexpr const char* kSurnameStarts[] = {"Ash",   "Black", "Brook", "Clay",  "Cold",  "East", "Fair",  "Glen",
                                                 "Green", "Hart",  "Hazel", "High",  "King",  "Long", "Marsh", "Mill",
                                                 "North", "Oak",   "Red",   "Stone", "Thorn", "White"};
inline constexpr const char* kSurnameEnds[] = {"berry", "bridge", "dale",  "field", "ford", "ham",  "hill", "land",
                                               "ley",   "ridge",  "stead", "ton",   "well", "wick", "wood", "worth"};
inline constexpr const char* kTrades[] = {
    "actor",  "archer", "baker",    "barber",   "brewer",  "carpenter", "clerk",   "cook",
    "doctor", "farmer", "fisher",   "gardener", "glazier", "guard",     "hunter",  "innkeeper",
    "judge",  "mason",  "merchant", "miller",   "miner",   "nurse",     "painter", "pilot",
    "poet",   "potter", "sailor",   "shepherd", "smith",   "tailor",    "teacher", "weaver"};
inline constexpr const char* kColours[] = {"black",  "blue", "brown",  "gold",  "green",  "grey",  "orange",  "pink",
                                           "purple", "red",  "silver", "white", "yellow", "amber", "crimson", "violet"};
inline constexpr const char* kAnimals[] = {"cat",  "crow", "dog",   "donkey", "duck", "fox",    "goat", "goose",
                                           "hare", "hen",  "horse", "mouse",  "owl",  "parrot", "pig",  "snail"};
inline constexpr const char* kPetNames[] = {
    "Bell",   "Button", "Cloud", "Copper", "Dusty", "Feather", "Ginger", "Honey", "Jam",  "Lucky", "Moss", "Nettle",
    "Pepper", "Pebble", "Plum",  "Puddle", "Rags",  "Rusty",   "Shadow", "Smoke", "Snow", "Spark", "Spot", "Thimble"};
inline constexpr const char* kFoods[] = {"apples",    "beans", "berries", "cakes",    "carrots",  "cherries",
                                         "eggs",      "figs",  "grapes",  "leeks",    "lemons",   "melons",
                                         "mushrooms", "nuts",  "olives",  "onions",   "peaches",  "pears",
                                         "peas",      "pies",  "plums",   "potatoes", "radishes", "turnips"};
inline constexpr const char* kThings[] = {
    "bells",   "books", "boots", "bottles", "bowls",  "boxes",  "candles", "chairs", "clocks",  "coins", "cups",
    "drums",   "hats",  "jars",  "keys",    "knives", "lamps",  "maps",    "masks",  "mirrors", "nails", "pots",
    "ribbons", "rings", "ropes", "shells",  "spoons", "stamps", "stones",  "tiles",  "toys",    "wheels"};
inline constexpr const char* kFears[] = {"bears",   "bees",      "the dark",    "deep water", "fire", "ghosts",
                                         "heights", "lightning", "loud noises", "moths",      "rats", "snakes",
                                         "spiders", "strangers", "thunder",     "wolves"};
inline constexpr const char* kInstruments[] = {"accordion", "bagpipes", "banjo", "cello", "fiddle", "flute",
                                               "guitar",    "harp",     "horn",  "lute",  "organ",  "trumpet"};
inline constexpr const char* kRegions[] = {"the Dry Hills",   "the Far Coast",  "the Grey Moor",  "the Low Marsh",
                                           "the North Woods", "the Old Valley", "the Salt Plain", "the Silver Lakes"};
inline constexpr const char* kSights[] = {"an old bridge",  "a round tower",   "a stone wall",  "a deep well",
                                          "a glass dome",   "a clock tower",   "a long pier",   "a walled garden",
                                          "a white temple", "a broken castle", "a copper gate", "a great oak",
                                          "a hot spring",   "a bell tower",    "a ship yard",   "a wind mill"};
inline constexpr const char* kDays[] = {"Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"};
inline constexpr const char* kFeelings[] = {"happy", "proud", "tired", "hungry", "pleased", "cheerful"};
inline constexpr const char* kWeathers[] = {"rainy", "sunny", "windy", "cold", "warm", "foggy", "snowy", "bright"};

}  // namespace qat_llm::words

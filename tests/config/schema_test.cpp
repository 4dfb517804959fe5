// The field table: what is read, what is refused and how the refusal is worded and located.
#include "isoflop/config/schema.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "isoflop/base/error.hpp"

namespace isoflop::config {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

enum class Colour { red, green };

}  // namespace
}  // namespace isoflop::config

namespace isoflop {
template <>
inline constexpr auto enum_names<config::Colour> =
    std::to_array<EnumName<config::Colour>>({{config::Colour::red, "red"},
                                             {config::Colour::red, "crimson"},
                                             {config::Colour::green, "green"}});
}  // namespace isoflop

namespace isoflop::config {
namespace {

struct Body {
    std::optional<std::int64_t> wheels;
    double weight = 1.5;
    bool open = false;
    std::string name = "car";
    Colour colour = Colour::green;
    std::optional<double> price;
    std::optional<Value> extras;
    Solvable<std::int64_t> seats;
};

struct Loose {
    std::int64_t doors = 4;
};

struct Car {
    Body body;
    Loose loose;
};

const Schema<Car>& car_schema() {
    static const Schema<Car> schema = [] {
        Schema<Car> s("car", "A car.");
        auto body = s.section("body", &Car::body, "The body.", Required::yes);
        body.field(&Body::wheels, {.key = "wheels",
                                   .help = "Number of wheels.",
                                   .unit = "wheels",
                                   .minimum = 1,
                                   .maximum = 18,
                                   .required = true,
                                   .aliases = {"n_wheels", "tyres"}})
            .field(&Body::weight, {.key = "weight",
                                   .help = "Weight.",
                                   .unit = "t",
                                   .minimum = 0,
                                   .exclusive_minimum = true})
            .field(&Body::open, {.key = "open", .help = "No roof | none at all."})
            .field(&Body::name, {.key = "name", .help = "Name."})
            .field(&Body::colour, {.key = "colour", .help = "Colour."})
            .field(&Body::price,
                   {.key = "price", .help = "Price.", .maximum = 1e6, .default_help = "ask"})
            .field(&Body::extras, {.key = "extras", .help = "Anything."})
            .field(&Body::seats, {.key = "seats",
                                  .help = "Seats.",
                                  .minimum = 1,
                                  .maximum = 9,
                                  .default_help = "solved"})
            .ignored("serial_number", "Nobody needs it.");
        auto loose = s.section("loose", &Car::loose, "Carries foreign keys.", Required::no);
        loose.field(&Loose::doors, {.key = "doors_of_the_car", .help = "Doors.", .minimum = 0});
        loose.tolerate_unknown_keys();
        return s;
    }();
    return schema;
}

Car read(const std::string& text, ReadNotes* notes = nullptr) {
    const Document document = parse_jsonc(text, "car.jsonc");
    Car car;
    car_schema().read(car, document, notes);
    car_schema().require(car, document);
    return car;
}

std::string refusal(const std::string& text) {
    try {
        (void)read(text);
    } catch (const ConfigError& error) {
        return error.what();
    }
    return {};
}

std::string override_refusal(std::string_view key, std::string_view text) {
    Car car;
    try {
        car_schema().set(car, key, text);
    } catch (const ConfigError& error) {
        return error.what();
    }
    return {};
}

TEST(SchemaRead, FillsEveryType) {
    const Car car =
        read(R"({"body": {"wheels": 4, "weight": 2, "open": true, "name": "x", "colour": "crimson",
        "price": null, "extras": [1, {"a": 2}], "serial_number": {"any": "thing"}}, "loose": {"doors_of_the_car": 5}})");
    EXPECT_EQ(car.body.wheels, 4);
    EXPECT_EQ(car.body.weight, 2);
    EXPECT_TRUE(car.body.open);
    EXPECT_EQ(car.body.name, "x");
    EXPECT_EQ(car.body.colour, Colour::red);
    EXPECT_FALSE(car.body.price);
    EXPECT_EQ(car.body.extras->to_text(), R"([1,{"a":2}])");
    EXPECT_EQ(car.loose.doors, 5);
}

TEST(SchemaRead, KeepsDefaultsOfKeysThatAreAbsent) {
    const Car car = read(R"({"body": {"wheels": 4}})");
    EXPECT_EQ(car.body.weight, 1.5);
    EXPECT_EQ(car.body.colour, Colour::green);
    EXPECT_EQ(car.loose.doors, 4);
}

TEST(SchemaRead, TakesWholeNumbersWrittenAsReals) {
    EXPECT_EQ(read(R"({"body": {"wheels": 4.0}})").body.wheels, 4);
    EXPECT_EQ(read(R"({"body": {"wheels": 1e1}})").body.wheels, 10);
}

TEST(SchemaRead, IgnoresTheSchemaKeyOfEditors) {
    EXPECT_EQ(read(R"({"$schema": "car.schema.json", "body": {"wheels": 4, "$schema": "x"}})")
                  .body.wheels,
              4);
}

TEST(SchemaRefusal, PointsAtTheValue) {
    EXPECT_EQ(
        refusal("{\n  \"body\": {\"wheels\": \"four\"}\n}"),
        "car.jsonc:2:22: error: body.wheels must be an integer >= 1 and <= 18; found \"four\"\n"
        "  2 |   \"body\": {\"wheels\": \"four\"}\n"
        "    |                      ^");
}

TEST(SchemaRefusal, WordsWhatEachTypeWants) {
    EXPECT_THAT(refusal(R"({"body": {"wheels": 4.5}})"),
                HasSubstr("an integer >= 1 and <= 18; found 4.5"));
    EXPECT_THAT(refusal(R"({"body": {"wheels": true}})"), HasSubstr("an integer"));
    EXPECT_THAT(refusal(R"({"body": {"weight": "1"}})"),
                HasSubstr("body.weight must be a number > 0; found \"1\""));
    EXPECT_THAT(refusal(R"({"body": {"open": 1}})"),
                HasSubstr("body.open must be true or false; found 1"));
    EXPECT_THAT(refusal(R"({"body": {"name": 1}})"),
                HasSubstr("body.name must be a string; found 1"));
    EXPECT_THAT(refusal(R"({"body": {"colour": 3}})"),
                HasSubstr("one of red, crimson, green; found 3"));
    EXPECT_THAT(refusal(R"({"body": {"weight": null}})"), HasSubstr("a number > 0; found null"));
    EXPECT_THAT(refusal(R"({"body": {"wheels": [4]}})"), HasSubstr("found [4]"));
}

TEST(SchemaRefusal, ChecksRanges) {
    EXPECT_THAT(refusal(R"({"body": {"wheels": 0}})"), HasSubstr(">= 1 and <= 18; found 0"));
    EXPECT_THAT(refusal(R"({"body": {"wheels": 19}})"), HasSubstr("found 19"));
    EXPECT_THAT(refusal(R"({"body": {"wheels": 1e300}})"), HasSubstr("found 1e+300"));
    EXPECT_THAT(refusal(R"({"body": {"weight": 0}})"), HasSubstr("> 0; found 0"));
    EXPECT_THAT(refusal(R"({"body": {"weight": -0.0}})"), HasSubstr("> 0; found"));
    EXPECT_THAT(refusal(R"({"body": {"wheels": 4, "price": 1000001}})"),
                HasSubstr("a number <= 1"));
    EXPECT_EQ(refusal(R"({"body": {"wheels": 18, "price": 1000000}})"), "");
}

TEST(SchemaRefusal, SuggestsTheNearestSpelling) {
    EXPECT_THAT(refusal(R"({"body": {"wheel": 4}})"),
                AllOf(StartsWith("car.jsonc:1:11: error: unknown key 'body.wheel'"),
                      HasSubstr("did you mean 'wheels'?"), EndsWith("^")));
    EXPECT_THAT(refusal(R"({"body": {"colour": "gren"}})"), HasSubstr("did you mean 'green'?"));
    EXPECT_THAT(refusal(R"({"bodi": {"wheels": 4}})"),
                AllOf(HasSubstr("unknown section 'bodi'"), HasSubstr("did you mean 'body'?"),
                      HasSubstr("body, loose")));
}

TEST(SchemaRefusal, ListsTheKeysWhenNoneIsClose) {
    EXPECT_THAT(refusal(R"({"body": {"zzzzzzzz": 4}})"),
                AllOf(HasSubstr("known keys: wheels"), HasSubstr("tyres")));
}

TEST(SchemaRefusal, RequiresObjects) {
    EXPECT_THAT(refusal("[]"),
                AllOf(StartsWith("car.jsonc:1:1: error:"), HasSubstr("found array")));
    EXPECT_THAT(refusal(R"({"body": 3})"),
                HasSubstr("section 'body' is an object { ... }; found integer"));
}

TEST(SchemaRefusal, NamesRequiredKeysThatAreMissing) {
    EXPECT_THAT(refusal(R"({"body": {}})"),
                AllOf(StartsWith("car.jsonc:1:10: error:"),
                      HasSubstr("missing key 'body.wheels': Number of wheels."),
                      HasSubstr("an integer >= 1")));
    EXPECT_THAT(refusal("{}"), HasSubstr("missing key 'body.wheels'"));
    EXPECT_THAT(refusal(R"({"body": {"wheels": null}})"), HasSubstr("missing key 'body.wheels'"));
}

TEST(SchemaAlias, MeansItsKey) {
    EXPECT_EQ(read(R"({"body": {"tyres": 6}})").body.wheels, 6);
}

TEST(SchemaAlias, MayRepeatItsKeyOnlyWithTheSameValue) {
    EXPECT_EQ(read(R"({"body": {"wheels": 6, "tyres": 6.0}})").body.wheels, 6);
    EXPECT_EQ(read(R"({"body": {"wheels": 6, "tyres": null}})").body.wheels, 6);
    EXPECT_EQ(read(R"({"body": {"wheels": null, "tyres": 6}})").body.wheels, 6);
    EXPECT_THAT(
        refusal(R"({"body": {"wheels": 6, "tyres": 4}})"),
        AllOf(StartsWith("car.jsonc:1:24: error:"),
              HasSubstr("'wheels' and 'tyres' are the same key with different values (6 and 4)")));
}

TEST(SchemaTolerance, CollectsForeignKeys) {
    ReadNotes notes;
    (void)read(R"({"body": {"wheels": 4}, "loose": {"foreign": 1, "doors_of_teh_car": 2}})",
               &notes);
    EXPECT_THAT(notes.unknown_keys, ElementsAre("loose.foreign", "loose.doors_of_teh_car"));
}

TEST(SchemaOverride, SetsByFullPathBareKeyOrAlias) {
    Car car;
    car_schema().set(car, "body.wheels", "6");
    EXPECT_EQ(car.body.wheels, 6);
    car_schema().set(car, "tyres", "8");
    EXPECT_EQ(car.body.wheels, 8);
    car_schema().set(car, "body.n_wheels", "10");
    EXPECT_EQ(car.body.wheels, 10);
    car_schema().set(car, "price", "12.5");
    car_schema().set(car, "price", "null");
    EXPECT_FALSE(car.body.price);
    car_schema().set(car, "colour", "red");
    EXPECT_EQ(car.body.colour, Colour::red);
    car_schema().set(car, "open", "true");
    EXPECT_TRUE(car.body.open);
    car_schema().set(car, "extras", R"({"a": [1]})");
    EXPECT_EQ(car.body.extras->to_text(), R"({"a":[1]})");
}

TEST(SchemaOverride, TakesTextAsItIs) {
    Car car;
    for (const char* text : {"17", "true", "a \"b\" c", "{", "", "//x"}) {
        car_schema().set(car, "name", text);
        EXPECT_EQ(car.body.name, text);
    }
}

TEST(SchemaOverride, MakesTheSameChecks) {
    EXPECT_THAT(
        override_refusal("wheels", "four"),
        HasSubstr("override: body.wheels must be an integer >= 1 and <= 18; found \"four\""));
    EXPECT_THAT(override_refusal("wheels", "19"), HasSubstr("found 19"));
    EXPECT_THAT(override_refusal("wheels", ""), HasSubstr("found \"\""));
    EXPECT_THAT(override_refusal("weight", "NaN"), HasSubstr("a number > 0; found \"NaN\""));
    EXPECT_THAT(override_refusal("weight", "1e999"), HasSubstr("a number > 0; found \"1e999\""));
    EXPECT_THAT(override_refusal("open", "yes"), HasSubstr("true or false; found \"yes\""));
    EXPECT_THAT(override_refusal("colour", "gren"), HasSubstr("did you mean 'green'?"));
    EXPECT_THAT(override_refusal("weight", "null"), HasSubstr("found null"));
    EXPECT_THAT(override_refusal("wheel", "4"),
                HasSubstr("unknown key 'wheel'; did you mean 'wheels'?"));
    EXPECT_THAT(override_refusal("body.wheel", "4"), HasSubstr("did you mean 'body.wheels'?"));
    EXPECT_THAT(override_refusal("loose.wheels", "4"), HasSubstr("unknown key 'loose.wheels'"));
    EXPECT_THAT(override_refusal("", "4"), HasSubstr("unknown key ''"));
    EXPECT_THAT(override_refusal("body.", "4"), HasSubstr("unknown key 'body.'"));
}

TEST(SchemaOverride, CheckedValuesSetManyConfigs) {
    const Assignment assignment = car_schema().parse_assignment("tyres", "12");
    Car one, two;
    car_schema().set(one, assignment);
    car_schema().set(two, assignment);
    EXPECT_EQ(one.body.wheels, 12);
    EXPECT_EQ(two.body.wheels, 12);
}

TEST(SchemaPaths, ListAndResolveKeys) {
    EXPECT_THAT(car_schema().paths(),
                ElementsAre("body.wheels", "body.weight", "body.open", "body.name", "body.colour",
                            "body.price", "body.extras", "body.seats", "body.serial_number",
                            "loose.doors_of_the_car"));
    EXPECT_EQ(car_schema().resolve_path("tyres"), "body.wheels");
    EXPECT_EQ(car_schema().resolve_path("body.tyres"), "body.wheels");
    EXPECT_EQ(car_schema().resolve_path("loose.doors_of_the_car"), "loose.doors_of_the_car");
    EXPECT_EQ(car_schema().resolve_path("bodyXwheels"), std::nullopt);
    EXPECT_EQ(car_schema().resolve_path("doors"), std::nullopt);
}

TEST(SchemaPaths, GetReadsBackWhatWasSet) {
    Car car;
    car_schema().set(car, "wheels", "6");
    EXPECT_EQ(to_text(car_schema().get(&car, "body.wheels")), "6");
    EXPECT_EQ(to_text(car_schema().get(&car, "colour")), "green");
    EXPECT_EQ(to_text(car_schema().get(&car, "price")), "");
}

TEST(SolvableField, IsANumberAskedForOrLeftOut) {
    Car car;
    EXPECT_EQ(to_text(car_schema().get(&car, "seats")), "");
    car_schema().set(car, "seats", "solve");
    EXPECT_TRUE(car.body.seats.is_asked());
    EXPECT_FALSE(car.body.seats.is_given());
    EXPECT_EQ(to_text(car_schema().get(&car, "seats")), "solve");
    car_schema().set(car, "seats", "4");
    EXPECT_EQ(car.body.seats, 4);
    EXPECT_FALSE(car.body.seats.is_asked());
    car_schema().set(car, "seats", "\"solve\"");
    EXPECT_TRUE(car.body.seats.is_asked());
    car_schema().set(car, "seats", "null");
    EXPECT_EQ(car.body.seats, Solvable<std::int64_t>());
    for (const char* bad : {"0", "10", "Solve", "many", "true", "4.5"})
        EXPECT_THROW(car_schema().set(car, "seats", bad), ConfigError) << bad;
    // Only keys that can be solved for take the word.
    EXPECT_THROW(car_schema().set(car, "wheels", "solve"), ConfigError);
}

TEST(SchemaTexts, HelpShowsEveryKeyThatHasAnEffect) {
    const Car defaults;
    const std::string help = help_text(car_schema(), &defaults);
    for (const char* part :
         {"wheels", "Number of wheels. [wheels]", "also: n_wheels, tyres", "default: required",
          "allowed: >= 1, <= 18", "default: green", "allowed: red, crimson, green", "default: ask",
          "default: 1.5", "allowed: >= 1, <= 9, or \"solve\""}) {
        EXPECT_THAT(help, HasSubstr(part));
    }
    EXPECT_THAT(help, Not(HasSubstr("serial_number")));
}

TEST(SchemaTexts, MarkdownKeepsItsTables) {
    const Car defaults;
    const std::string text = markdown(car_schema(), &defaults);
    EXPECT_THAT(text, HasSubstr("| `wheels` | integer | wheels | required | >= 1, <= 18 | Number "
                                "of wheels. Also: n_wheels, tyres. |"));
    EXPECT_THAT(text, HasSubstr(R"(No roof \| none at all.)"));
    EXPECT_THAT(
        text,
        HasSubstr(R"(| `seats` | integer or "solve" |  | solved | >= 1, <= 9, or "solve" |)"));
    EXPECT_THAT(text, HasSubstr("Accepted without effect: serial_number."));
}

TEST(SchemaTexts, JsonSchemaDescribesEveryField) {
    const Car defaults;
    const auto schema = nlohmann::json::parse(json_schema(car_schema(), &defaults));
    const auto& body = schema["properties"]["body"];
    EXPECT_EQ(schema["required"], nlohmann::json::array({"body"}));
    EXPECT_EQ(schema["additionalProperties"], false);
    EXPECT_EQ(body["additionalProperties"], false);
    EXPECT_EQ(schema["properties"]["loose"]["additionalProperties"], true);
    EXPECT_EQ(body["properties"]["wheels"]["type"], nlohmann::json::array({"integer", "null"}));
    EXPECT_EQ(body["properties"]["wheels"]["minimum"], 1);
    EXPECT_EQ(body["properties"]["wheels"]["maximum"], 18);
    EXPECT_EQ(body["properties"]["tyres"]["description"], "Alias of wheels.");
    EXPECT_EQ(body["properties"]["weight"]["exclusiveMinimum"], 0);
    EXPECT_EQ(body["properties"]["weight"]["default"], 1.5);
    EXPECT_EQ(body["properties"]["colour"]["enum"],
              nlohmann::json::array({"red", "crimson", "green"}));
    EXPECT_TRUE(schema["properties"].contains("$schema"));
    const auto asked = nlohmann::json::object({{"const", "solve"}});
    const auto number =
        nlohmann::json::parse(R"({"type": ["integer", "null"], "minimum": 1, "maximum": 9})");
    EXPECT_EQ(body["properties"]["seats"]["anyOf"], nlohmann::json::array({number, asked}));
    EXPECT_FALSE(body["properties"]["seats"].contains("type"));
    EXPECT_FALSE(body["properties"]["seats"].contains("default"));
    // `wheels` has aliases, which `required` cannot express.
    EXPECT_FALSE(body.contains("required"));
}

}  // namespace
}  // namespace isoflop::config

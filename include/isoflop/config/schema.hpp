// Each configuration struct is described once, in a table of fields. Parsing, validation,
// overrides, `--help`, docs/configuration.md and the JSON Schema are made from that table; a
// default, a range or a help text exists in one place only.
//
//   const Schema<Plan>& plan_schema() {
//       static const Schema<Plan> schema = [] {
//           Schema<Plan> s("plan", "A plan: hardware, hours, data and a model.");
//           auto& gear = s.section("training_gear", "The machines.", Required::yes);
//           gear.field(&Plan::training_gear, &TrainingGear::num_gpus,
//                      {.key = "num_gpus", .help = "Number of GPUs.", .minimum = 1,
//                       .required = true});
//           ...
#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "isoflop/base/enum_names.hpp"
#include "isoflop/config/jsonc.hpp"
#include "isoflop/config/solvable.hpp"

namespace isoflop::config {

enum class FieldType { boolean, integer, number, text, choice, any };

/// The value of a field between text and struct: monostate means not set. A choice is its text,
/// `any` the parsed Value, a solvable number that is asked for the text "solve".
using FieldValue = std::variant<std::monostate, bool, std::int64_t, double, std::string, Value>;

/// Description of a key for the user. Bounds apply to integers and numbers.
struct FieldInfo {
    std::string_view key = {};
    std::string_view help = {};
    std::string_view unit = {};
    double minimum = -std::numeric_limits<double>::infinity();
    double maximum = std::numeric_limits<double>::infinity();
    bool exclusive_minimum = false;
    bool required = false;
    bool ignored = false;  ///< accepted, has no effect here
    std::vector<std::string_view> aliases = {};
    std::string_view default_help =
        {};  ///< when the default is derived: "intermediate_size of the preset"
    /// Said with a number out of range: "a fraction: 45 % is 0.45".
    std::string_view range_help = {};
    /// Names of the enumeration that this key does not take.
    std::vector<std::string_view> excluded = {};
};

struct Field {
    FieldInfo info;
    FieldType type = FieldType::text;
    bool nullable = false;                  ///< std::optional member: null means not set
    bool solvable = false;                  ///< Solvable member: the text "solve" asks for it
    std::vector<std::string_view> allowed;  ///< of a choice, aliases included
    std::function<void(void*, const FieldValue&)> set;
    std::function<FieldValue(const void*)> get;
};

enum class Required { no, yes };

struct Section {
    std::string name = {};   ///< empty: keys at the top level of the file
    std::string title = {};  ///< title in help and docs; the name, unless that is empty
    std::string help = {};
    Required required = Required::no;
    /// Unknown keys are collected instead of refused: Hugging Face files carry many, and some
    /// resemble known ones. The caller decides by the file.
    bool tolerates_unknown_keys = false;
    /// Says which file a string in place of the object names; empty: only an object is taken. The
    /// caller reads that file.
    std::string file_help = {};
    std::vector<Field> fields = {};

    [[nodiscard]] const Field* find(std::string_view key) const;
};

/// A checked value for one key, which can be set on any number of configurations.
struct Assignment {
    const Field* field = nullptr;
    FieldValue value;
};

/// Results of reading a file besides values.
struct ReadNotes {
    std::vector<std::string> unknown_keys;  ///< tolerated unknown keys, as "section.key"
};

/// The table and everything derived from it; `Schema<T>` below adds the types.
class SchemaBase {
public:
    SchemaBase(std::string name, std::string help);

    [[nodiscard]] const std::string& name() const { return name_; }
    [[nodiscard]] const std::string& help() const { return help_; }
    [[nodiscard]] const std::vector<Section>& sections() const { return sections_; }

    /// Dotted path of every key, aliases excluded: "training_gear.num_gpus".
    [[nodiscard]] std::vector<std::string> paths() const;
    /// The full path that `key` means: itself, or the only path ending in it; nullopt when unknown
    /// or ambiguous.
    [[nodiscard]] std::optional<std::string> resolve_path(std::string_view key) const;

    void read_into(void* target, const Document& document, const Value& object,
                   ReadNotes* notes) const;
    /// Parses and checks command-line text for a key. Throws ConfigError for unknown or ambiguous
    /// keys and bad values.
    [[nodiscard]] Assignment parse_assignment(std::string_view key, std::string_view text) const;
    void require_complete(const void* target, const Document& document) const;
    [[nodiscard]] FieldValue get(const void* target, std::string_view path) const;

protected:
    Section& add_section(std::string name, std::string help, Required required);

private:
    struct Place {
        const Section* section = nullptr;
        const Field* field = nullptr;
    };
    /// All places that `key` may mean: one for a full path, else every section where such a key has
    /// an effect.
    [[nodiscard]] std::vector<Place> places(std::string_view key) const;
    /// The only such place; throws ConfigError for an unknown or ambiguous key.
    [[nodiscard]] Place locate(std::string_view key) const;
    /// Keys of one object, each looked up in `sections` (several only when they all lie at the top
    /// level).
    void read_keys(std::span<const Section* const> sections, void* target, const Document& document,
                   const Value& object, ReadNotes* notes) const;

    std::string name_;
    std::string help_;
    std::vector<Section> sections_;
};

/// Text of a value as it would be written in a config: 45, 0.45, "bfloat16", or "" when not set.
[[nodiscard]] std::string to_text(const FieldValue& value);

// Derived texts. `defaults` is a default-constructed config of the schema's type.
[[nodiscard]] std::string help_text(const SchemaBase& schema, const void* defaults);
[[nodiscard]] std::string markdown(const SchemaBase& schema, const void* defaults);
[[nodiscard]] std::string json_schema(const SchemaBase& schema, const void* defaults);

namespace detail {

template <class M>
struct is_optional : std::false_type {};
template <class M>
struct is_optional<std::optional<M>> : std::true_type {
    using value_type = M;
};

template <class M>
struct is_solvable : std::false_type {};
template <class M>
struct is_solvable<Solvable<M>> : std::true_type {
    using value_type = M;
};

template <class M>
constexpr FieldType field_type() {
    if constexpr (is_solvable<M>::value)
        return field_type<typename is_solvable<M>::value_type>();
    else if constexpr (is_optional<M>::value)
        return field_type<typename is_optional<M>::value_type>();
    else if constexpr (std::same_as<M, bool>)
        return FieldType::boolean;
    else if constexpr (std::same_as<M, std::int64_t>)
        return FieldType::integer;
    else if constexpr (std::same_as<M, double>)
        return FieldType::number;
    else if constexpr (std::same_as<M, std::string>)
        return FieldType::text;
    else if constexpr (std::is_enum_v<M>)
        return FieldType::choice;
    else
        return FieldType::any;
}

template <class M>
M from_field_value(const FieldValue& value) {
    if constexpr (std::is_enum_v<M>)
        return from_string<M>(std::get<std::string>(value)).value();
    else
        return std::get<M>(value);
}

template <class M>
FieldValue to_field_value(const M& member) {
    if constexpr (is_solvable<M>::value) {
        if (member.is_asked()) return std::string(kSolve);
        return member.is_given() ? FieldValue{member.value()} : FieldValue{};
    } else if constexpr (is_optional<M>::value) {
        return member ? to_field_value(*member) : FieldValue{};
    } else if constexpr (std::is_enum_v<M>) {
        return std::string(to_string(member));
    } else {
        return member;
    }
}

template <class M>
void assign(M& member, const FieldValue& value) {
    if constexpr (is_solvable<M>::value) {
        if (std::holds_alternative<std::monostate>(value))
            member = M();
        else if (std::holds_alternative<std::string>(value))
            member = M::solve();
        else
            member = from_field_value<typename is_solvable<M>::value_type>(value);
    } else if constexpr (is_optional<M>::value) {
        if (std::holds_alternative<std::monostate>(value))
            member.reset();
        else
            member = from_field_value<typename is_optional<M>::value_type>(value);
    } else {
        member = from_field_value<M>(value);
    }
}

template <class M>
std::vector<std::string_view> allowed_values() {
    if constexpr (is_optional<M>::value)
        return allowed_values<typename is_optional<M>::value_type>();
    else if constexpr (std::is_enum_v<M>)
        return all_names<M>();
    else
        return {};
}

template <class M>
Field make_field(FieldInfo info) {
    Field field;
    field.info = std::move(info);
    field.type = field_type<M>();
    field.nullable = is_optional<M>::value || is_solvable<M>::value;
    field.solvable = is_solvable<M>::value;
    field.allowed = allowed_values<M>();
    for (const std::string_view name : field.info.excluded) std::erase(field.allowed, name);
    return field;
}

}  // namespace detail

template <class T>
class Schema : public SchemaBase {
public:
    using SchemaBase::SchemaBase;

    /// Adds the fields of one section of T: a nested struct reached through `part`.
    template <class Part>
    class SectionBuilder {
    public:
        SectionBuilder(Section& section, Part T::*part) : section_(&section), part_(part) {}

        template <class M>
        SectionBuilder& field(M Part::*member, FieldInfo info) {
            Field field = detail::make_field<M>(std::move(info));
            field.set = [part = part_, member](void* target, const FieldValue& value) {
                detail::assign(static_cast<T*>(target)->*part.*member, value);
            };
            field.get = [part = part_, member](const void* target) {
                return detail::to_field_value(static_cast<const T*>(target)->*part.*member);
            };
            section_->fields.push_back(std::move(field));
            return *this;
        }
        /// A key that is accepted and has no effect.
        SectionBuilder& ignored(std::string_view key, std::string_view help) {
            Field field;
            field.info = {.key = key, .help = help, .ignored = true};
            field.type = FieldType::any;
            field.nullable = true;
            field.set = [](void*, const FieldValue&) {};
            field.get = [](const void*) { return FieldValue{}; };
            section_->fields.push_back(std::move(field));
            return *this;
        }
        SectionBuilder& may_be_a_file(std::string help) {
            section_->file_help = std::move(help);
            return *this;
        }
        SectionBuilder& tolerate_unknown_keys() {
            section_->tolerates_unknown_keys = true;
            return *this;
        }

    private:
        Section* section_;
        Part T::*part_;
    };

    /// Sections must be added one after another: the builder is valid until the next section is
    /// added.
    template <class Part>
    SectionBuilder<Part> section(std::string name, Part T::*part, std::string help,
                                 Required required) {
        return SectionBuilder<Part>(add_section(std::move(name), std::move(help), required), part);
    }
    /// Keys at the top level of the file, grouped under a title in help and docs. A schema has
    /// either named sections or such groups.
    template <class Part>
    SectionBuilder<Part> group(std::string title, Part T::*part, std::string help) {
        Section& section = add_section("", std::move(help), Required::no);
        section.title = std::move(title);
        return SectionBuilder<Part>(section, part);
    }

    /// Reads `object` (of `document`) over `target`. Throws ConfigError for unknown keys, wrong
    /// types, values out of range; missing required keys are reported by require_complete, after
    /// overrides.
    void read(T& target, const Document& document, const Value& object,
              ReadNotes* notes = nullptr) const {
        read_into(&target, document, object, notes);
    }
    void read(T& target, const Document& document, ReadNotes* notes = nullptr) const {
        read_into(&target, document, document.root, notes);
    }
    /// Sets one key from command-line text ("training_gear.num_gpus", "16"); the same checks apply.
    void set(T& target, std::string_view path, std::string_view text) const {
        set(target, parse_assignment(path, text));
    }
    void set(T& target, const Assignment& assignment) const {
        assignment.field->set(&target, assignment.value);
    }
    /// Throws ConfigError naming the first required key that neither the file nor an override set.
    void require(const T& target, const Document& document) const {
        require_complete(&target, document);
    }
};

/// Splits "key=value"; throws ConfigError when there is no '='.
[[nodiscard]] std::pair<std::string, std::string> split_assignment(std::string_view assignment);

}  // namespace isoflop::config

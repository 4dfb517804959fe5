// Parts that every plot shares: text that is safe in XML, axes that map values to pixels, and ticks
// at round values.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace isoflop::text::svg {

/// `text` with the characters &, <, > and " written as XML entities.
[[nodiscard]] std::string escaped(std::string_view text);

enum class Scale { linear, logarithmic };

/// Maps the values `low` to `high` to the pixels `from` to `to`.
class Axis {
public:
    struct Range {
        double low, high;
    };
    struct Pixels {
        double from, to;
    };
    Axis(Range values, Pixels pixels, Scale scale);
    [[nodiscard]] double at(double value) const;

private:
    [[nodiscard]] double scaled(double value) const;
    Scale scale_;
    double low_, high_;
    Pixels pixels_;
};

/// About six multiples of 1, 2 or 5 times a power of ten; the first is at most `low`, the last at
/// least `high`.
[[nodiscard]] std::vector<double> linear_ticks(double low, double high);

/// 1, 2 and 5 times powers of ten, or powers of ten alone over three decades and more; the first is
/// at most `low`, the last at least `high`. Both must be positive.
[[nodiscard]] std::vector<double> log_ticks(double low, double high);

}  // namespace isoflop::text::svg

#include "isoflop/text/svg.hpp"

#include <cmath>

#include "isoflop/base/printable.hpp"

namespace isoflop::text::svg {
namespace {

/// 1, 2 or 5 times a power of ten, at least `value`.
double round_step(double value) {
    const double power = std::pow(10.0, std::floor(std::log10(value)));
    for (const double factor : {1.0, 2.0, 5.0})
        if (factor * power >= value * (1 - 1e-9)) return factor * power;
    return 10 * power;
}

}  // namespace

std::string escaped(std::string_view text) {
    std::string safe;
    // XML may not contain control characters, or bytes that are no UTF-8.
    for (const char each : printable_lines(text)) {
        switch (each) {
            case '&': safe += "&amp;"; break;
            case '<': safe += "&lt;"; break;
            case '>': safe += "&gt;"; break;
            case '"': safe += "&quot;"; break;
            default: safe += each;
        }
    }
    return safe;
}

Axis::Axis(Range values, Pixels pixels, Scale scale)
    : scale_(scale), low_(scaled(values.low)), high_(scaled(values.high)), pixels_(pixels) {}

double Axis::at(double value) const {
    const double span = high_ - low_;
    const double part = span > 0 ? (scaled(value) - low_) / span : 0.5;
    return pixels_.from + part * (pixels_.to - pixels_.from);
}

double Axis::scaled(double value) const {
    return scale_ == Scale::logarithmic ? std::log2(value) : value;
}

std::vector<double> linear_ticks(double low, double high) {
    const double step = round_step((high - low) / 6);
    const double first = std::floor(low / step * (1 + 1e-12));
    std::vector<double> ticks;
    for (int i = 0; (first + i - 1) * step < high; ++i) ticks.push_back((first + i) * step);
    return ticks;
}

std::vector<double> log_ticks(double low, double high) {
    std::vector<double> ticks;
    const bool all = high / low < 1e3;
    for (double power = std::pow(10.0, std::floor(std::log10(low))); power <= 10 * high;
         power *= 10) {
        for (const double factor : {1.0, 2.0, 5.0}) {
            if (!all && factor != 1.0) continue;
            const double tick = factor * power;
            if (!ticks.empty() && ticks.back() >= high) return ticks;
            if (ticks.size() == 1 && tick <= low) ticks.clear();
            ticks.push_back(tick);
        }
    }
    return ticks;
}

}  // namespace isoflop::text::svg

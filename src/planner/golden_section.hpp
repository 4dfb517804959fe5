// The minimum of a function that has one, by golden-section search. Internal to the planner.
#pragma once

#include <cmath>

namespace isoflop::planner {

struct Interval {
    double low = 0, high = 0;
};

/// An interval around the minimum, at most `precision` wide. Of two equal values the upper one is
/// taken for the nearer, so that a function may be infinite below some point.
template <class Function>
Interval golden_section(const Function& value, Interval interval, double precision) {
    const double ratio = (std::sqrt(5.0) - 1.0) / 2.0;
    double& low = interval.low;
    double& high = interval.high;
    double left = high - ratio * (high - low);
    double right = low + ratio * (high - low);
    double value_left = value(left);
    double value_right = value(right);
    while (high - low > precision) {
        if (value_left < value_right) {
            high = right;
            right = left;
            value_right = value_left;
            left = high - ratio * (high - low);
            value_left = value(left);
        } else {
            low = left;
            left = right;
            value_left = value_right;
            right = low + ratio * (high - low);
            value_right = value(right);
        }
    }
    return interval;
}

}  // namespace isoflop::planner

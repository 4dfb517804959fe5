#include "isoflop/text/terminal.hpp"

#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>
#include <string_view>

namespace isoflop::text {

Colour colour_of(int descriptor) {
    const char* no_colour = std::getenv("NO_COLOR");
    const char* terminal = std::getenv("TERM");
    const bool refused = (no_colour != nullptr && *no_colour != '\0') ||
                         (terminal != nullptr && std::string_view(terminal) == "dumb");
    return isatty(descriptor) != 0 && !refused ? Colour::on : Colour::off;
}

std::optional<std::size_t> terminal_width(int descriptor) {
    winsize size{};
    if (isatty(descriptor) == 0) return std::nullopt;
    if (ioctl(descriptor, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return std::nullopt;
    return size.ws_col;
}

bool reader_has_left(int descriptor) {
    pollfd state{.fd = descriptor, .events = POLLOUT, .revents = 0};
    return poll(&state, 1, 0) > 0 && (state.revents & (POLLERR | POLLHUP)) != 0;
}

}  // namespace isoflop::text

#include "tokenizer/jinja/strftime.h"

#include <array>
#include <ctime>

#include "tokenizer/jinja/error.h"
#include "tokenizer/jinja/objects.h"
#include "tokenizer/jinja/unicode.h"

namespace quorum::tok::jinja {
namespace {

constexpr std::array<std::string_view, 7> kDays = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                                   "Thursday", "Friday", "Saturday"};
constexpr std::array<std::string_view, 12> kMonths = {"January",   "February", "March",    "April",
                                                      "May",       "June",     "July",     "August",
                                                      "September", "October",  "November", "December"};

// ISO 8601: weeks begin on Monday, and week 1 has the year's first Thursday.
struct IsoWeek {
  int year;
  int week;
};

bool IsLeap(int year) { return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0; }

IsoWeek IsoWeekOf(const std::tm& time) {
  const int weekday = (time.tm_wday + 6) % 7;  // Monday is 0
  int year = time.tm_year + 1900;
  int week = (time.tm_yday - weekday + 10) / 7;
  const auto weeks_in = [](int y) {  // 53 if the year begins on a Thursday, or on a Wednesday in a leap year
    const auto january_first = [](int of) {
      return (1 + 5 * ((of - 1) % 4) + 4 * ((of - 1) % 100) + 6 * ((of - 1) % 400)) % 7;
    };
    return january_first(y) == 4 || (IsLeap(y) && january_first(y) == 3) ? 53 : 52;
  };
  if (week < 1) {
    --year;
    week = weeks_in(year);
  } else if (week > weeks_in(year)) {
    ++year;
    week = 1;
  }
  return {year, week};
}

class TimeFormatter {
 public:
  TimeFormatter(Budget& budget, const std::tm& time, std::int64_t unix_seconds)
      : time_(time), unix_seconds_(unix_seconds), out_(budget) {}

  void Append(std::string_view format) {
    for (std::size_t i = 0; i < format.size(); ++i) {
      if (format[i] != '%') {
        out_.Append(format[i]);
        continue;
      }
      out_.budget().Step();
      const std::size_t begin = i++;
      flag_ = 0;
      upper_ = false;
      while (i < format.size() && std::string_view("-_0^#").find(format[i]) != std::string_view::npos) {
        if (format[i] == '^' || format[i] == '#') {
          upper_ = true;
        } else {
          flag_ = format[i];
        }
        ++i;
      }
      if (i >= format.size() || !AppendCode(format[i])) out_.Append(format.substr(begin, i + 1 - begin));
    }
  }

  std::string Take() { return out_.Take(); }

 private:
  // A number of at least `width` digits, filled up as the flag says or with `fill`.
  void Number(std::int64_t value, std::size_t width, char fill = '0') {
    const std::string digits = std::to_string(value);
    const char use = flag_ == '_' ? ' ' : flag_ == '0' ? '0' : fill;
    if (flag_ != '-' && digits.size() < width) out_.AppendRepeated(std::string_view(&use, 1), width - digits.size());
    out_.Append(digits);
  }

  void Name(std::string_view name) { out_.Append(upper_ ? ToUpper(name) : std::string(name)); }

  bool AppendCode(char code) {
    const int hour12 = time_.tm_hour % 12 == 0 ? 12 : time_.tm_hour % 12;
    const int year = time_.tm_year + 1900;
    switch (code) {
      case '%': out_.Append('%'); break;
      case 'n': out_.Append('\n'); break;
      case 't': out_.Append('\t'); break;
      case 'a': Name(kDays[static_cast<std::size_t>(time_.tm_wday)].substr(0, 3)); break;
      case 'A': Name(kDays[static_cast<std::size_t>(time_.tm_wday)]); break;
      case 'b':
      case 'h': Name(kMonths[static_cast<std::size_t>(time_.tm_mon)].substr(0, 3)); break;
      case 'B': Name(kMonths[static_cast<std::size_t>(time_.tm_mon)]); break;
      case 'C': Number(year / 100, 2); break;
      case 'd': Number(time_.tm_mday, 2); break;
      case 'e': Number(time_.tm_mday, 2, ' '); break;
      case 'f': out_.Append("000000"); break;  // Python's microseconds
      case 'g': Number(IsoWeekOf(time_).year % 100, 2); break;
      case 'G': Number(IsoWeekOf(time_).year, 4); break;
      case 'H': Number(time_.tm_hour, 2); break;
      case 'I': Number(hour12, 2); break;
      case 'j': Number(time_.tm_yday + 1, 3); break;
      case 'k': Number(time_.tm_hour, 2, ' '); break;
      case 'l': Number(hour12, 2, ' '); break;
      case 'm': Number(time_.tm_mon + 1, 2); break;
      case 'M': Number(time_.tm_min, 2); break;
      case 'p': Name(time_.tm_hour < 12 ? "AM" : "PM"); break;
      case 'P': out_.Append(time_.tm_hour < 12 ? "am" : "pm"); break;
      case 's': Number(unix_seconds_, 1); break;
      case 'S': Number(time_.tm_sec, 2); break;
      case 'u': Number(time_.tm_wday == 0 ? 7 : time_.tm_wday, 1); break;
      case 'U': Number((time_.tm_yday + 7 - time_.tm_wday) / 7, 2); break;
      case 'V': Number(IsoWeekOf(time_).week, 2); break;
      case 'w': Number(time_.tm_wday, 1); break;
      case 'W': Number((time_.tm_yday + 7 - (time_.tm_wday + 6) % 7) / 7, 2); break;
      case 'y': Number(year % 100, 2); break;
      case 'Y': Number(year, 1); break;
      case 'z':
      case 'Z': break;  // a time without zone, as Python's datetime.now() is
      case 'c': Append("%a %b %e %H:%M:%S %Y"); break;
      case 'D':
      case 'x': Append("%m/%d/%y"); break;
      case 'F': Append("%Y-%m-%d"); break;
      case 'r': Append("%I:%M:%S %p"); break;
      case 'R': Append("%H:%M"); break;
      case 'T':
      case 'X': Append("%H:%M:%S"); break;
      default: return false;
    }
    return true;
  }

  const std::tm& time_;
  const std::int64_t unix_seconds_;
  TextBuilder out_;
  char flag_ = 0;
  bool upper_ = false;
};

}  // namespace

std::string FormatTime(Budget& budget, std::string_view format, std::int64_t unix_seconds) {
  constexpr std::int64_t kYear1 = -62135596800;
  constexpr std::int64_t kYear10000 = 253402300800;
  if (unix_seconds < kYear1 || unix_seconds >= kYear10000) Fail("the time is out of range");
  const auto seconds = static_cast<std::time_t>(unix_seconds);
  std::tm time{};
  gmtime_r(&seconds, &time);
  TimeFormatter formatter(budget, time, unix_seconds);
  formatter.Append(format);
  return formatter.Take();
}

}  // namespace quorum::tok::jinja

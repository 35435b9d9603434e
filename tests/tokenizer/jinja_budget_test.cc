// Hostile templates end with an error that names the limit they met.
#include "tests/tokenizer/template_fixture.h"
#include "tokenizer/jinja/budget.h"
#include "tokenizer/jinja/error.h"
#include "tokenizer/jinja/objects.h"

namespace quorum::tok {
namespace {

/// Which limit ends the template: "steps", "size", "memory", "levels", "calls"; or the whole outcome.
std::string LimitOf(const std::string& source, const TemplateBudget& budget = {}) {
  const std::string outcome = Outcome(source, OrderedJson::object(), budget);
  const auto has = [&](const char* text) { return outcome.find(text) != std::string::npos; };
  if (has("needs more than")) return "steps";
  if (has("makes a text of more than")) return "size";
  if (has("holds more than")) return "memory";
  if (has("nests deeper than")) return "levels";
  if (has("nests more than")) return "calls";
  return outcome;
}

TemplateBudget Small() {
  TemplateBudget budget;
  budget.steps = 50'000;
  budget.output_bytes = 100'000;
  return budget;
}

TEST_CASE("No operation makes a text that is too long") {
  for (const char* source :
       {"{{ 'x' * 10**9 }}",
        "{{ 'x' * 9223372036854775807 }}",
        "{{ 'ab'.center(10**12) }}",
        "{{ '1'.zfill(10**15) }}",
        "{{ 'a'.ljust(2000000) }}",
        "{{ 'a\nb'|indent(10**12) }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '%*d' % (2147483647, 1) }}",
        "{{ '{:2000000000}'.format(1) }}",
        "{{ 'a\tb'.expandtabs(10**9) }}",
        "{{ [[1]]|tojson(indent=10**10) }}",
        "{{ ('x' * 90000) ~ ('x' * 90000) }}",
        "{{ ('x' * 400).replace('', 'y' * 400) }}",
        "{{ ('x' * 1000).join('y' * 1000) }}",
        "{% for i in range(1000) %}{{ 'x' * 1000 }}{% endfor %}",
        "{% set ns = namespace(a='x') %}{% for i in range(99) %}{% set ns.a = ns.a + ns.a %}{% endfor %}",
        "{% set x %}{% for i in range(1000) %}{{ 'x' * 1000 }}{% endfor %}{% endset %}",
        "{% macro m() %}{{ 'x' * 90000 }}{% endmacro %}{{ m() ~ m() }}",
        "{{ ('<' * 90000)|e }}",
        "{{ ['\x01' * 90000] }}"}) {
    INFO(source);
    CHECK(LimitOf(source, Small()) == "size");
  }
}

TEST_CASE("No operation takes steps without end") {
  for (const char* source :
       {"{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "{{ [0] * 10**9 }}",
        "{% macro f(x) %}{% if x %}{{ f(x - 1) }}{{ f(x - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
        "{% set s = 'ab' * 40000 %}{% for i in range(99999) %}{% set x = 'c' in s %}{% endfor %}",
        "{% set l = [1] * 9999 %}{% for i in range(99999) %}{% set x = 2 in l %}{% endfor %}",
        "{% set l = [1] * 9999 %}{% for i in range(99999) %}{% set x = l[:] %}{% endfor %}",
        "{% set l = [1] * 9999 %}{% for i in range(99999) %}{% set x = l|sort %}{% endfor %}",
        "{% set s = 'é' * 40000 %}{% for i in range(99999) %}{% set x = s|upper %}{% endfor %}",
        "{% set s = '1' * 90000 %}{% for i in range(99999) %}{% set x = s|float %}{% endfor %}",
        "{% set ns = namespace(a=[1], b=[1]) %}{% for i in range(99) %}{% set ns.a = [ns.a, ns.a] %}"
        "{% set ns.b = [ns.b, ns.b] %}{% endfor %}{{ ns.a == ns.b }}",
        "{% set ns = namespace(a=(1,)) %}{% for i in range(99) %}{% set ns.a = (ns.a, ns.a) %}{% endfor %}{{ {ns.a: 1} "
        "}}",
        "{{ (['a'] * 20000)|map(attribute='0.0.0.0')|list }}", "{{ [1]|slice(10**9)|list }}"}) {
    INFO(source);
    CHECK(LimitOf(source, Small()) == "steps");
  }
  CHECK(Outcome("{{ range(10**9) }}") == "error: chat template, line 1: range too big: more than 100000 items");
}

TEST_CASE("Searching takes linear time whatever the texts") {
  // A naive search would compare 10^11 characters here.
  CHECK(Outcome("{{ ('a' * 1000000).find('a' * 100000 ~ 'b') }}") == "-1");
  CHECK(Outcome("{{ ('a' * 1000000).rfind('b' ~ 'a' * 100000) }}") == "-1");
  CHECK(Outcome("{{ ('a' * 1000000).count('a' * 1000 ~ 'b') }}") == "0");
  CHECK(Outcome("{{ ('a' * 1000000).split('a' * 100000 ~ 'b')|length }}") == "1");
  CHECK(Outcome("{{ ('a' * 1000000).replace('a' * 1000 ~ 'b', '')|length }}") == "1000000");
}

TEST_CASE("Values never fill the memory") {
  CHECK(LimitOf("{% set ns = namespace(a=[1]) %}{% for i in range(99) %}{% set ns.a = ns.a + ns.a %}{% endfor %}") ==
        "memory");
  CHECK(LimitOf("{{ ('a,' * 10**7).split(',')|length }}") == "memory");
  CHECK(LimitOf("{{ ('a' * 10**7)|list|length }}") == "memory");
  CHECK(LimitOf("{{ [1]|batch(10**9, 0)|list }}") == "memory");
  CHECK(LimitOf("{% set ns = namespace(a=[]) %}{% for i in range(999) %}{% set ns.a = ns.a + ['x' * 10**6 ~ i] %}"
                "{% endfor %}") == "memory");
}

TEST_CASE("Recursion ends") {
  CHECK(LimitOf("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}") == "calls");
  CHECK(LimitOf("{% for x in [1] recursive %}{{ loop([x]) }}{% endfor %}") == "calls");
  CHECK(LimitOf("{% macro m() %}{{ caller() }}{% endmacro %}{% macro r() %}{% call m() %}{{ r() }}{% endcall %}"
                "{% endmacro %}{{ r() }}") == "calls");
  CHECK(LimitOf("{% macro f() %}{% if 1 %}{% for i in [1] %}{% if 1 %}{{ [[f()]]|first }}{% endif %}{% endfor %}"
                "{% endif %}{% endmacro %}{{ f() }}") == "levels");
  TemplateBudget shallow;
  shallow.depth = 3;
  const std::string down = "{% macro f(n) %}{{ n }}{{ f(n - 1) if n > 1 }}{% endmacro %}";
  CHECK(LimitOf(down + "{{ f(2) }}", shallow) == "21");
  CHECK(LimitOf(down + "{{ f(9) }}", shallow) == "calls");
  TemplateBudget absurd;
  absurd.depth = 2'000'000'000;
  CHECK(LimitOf("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", absurd) == "calls");
}

TEST_CASE("Deep values can be made and dropped, but not walked") {
  const std::string deep_list =
      "{% set ns = namespace(a=[], b=[]) %}{% for i in range(99999) %}{% set ns.a = [ns.a] %}{% set ns.b = [ns.b] %}{% "
      "endfor %}";
  CHECK(LimitOf(deep_list + "made") == "made");
  CHECK(LimitOf(deep_list + "{{ ns.a }}") == "levels");
  CHECK(LimitOf(deep_list + "{{ ns.a|tojson }}") == "levels");
  CHECK(LimitOf(deep_list + "{{ ns.a == ns.b }}") == "levels");
  CHECK(LimitOf(deep_list + "{{ ns.a < ns.b }}") == "levels");
  const std::string deep_tuple =
      "{% set ns = namespace(a=()) %}{% for i in range(99999) %}{% set ns.a = (ns.a,) %}{% endfor %}";
  CHECK(LimitOf(deep_tuple + "{{ {ns.a: 1} }}") == "levels");
  const std::string lazy =
      "{% set ns = namespace(a=[1]) %}{% for i in range(50000) %}{% set ns.a = ns.a|map('string') %}{% endfor %}";
  CHECK(LimitOf(lazy + "made") == "made");
  CHECK(LimitOf(lazy + "{{ ns.a|list }}") == "levels");
}

TEST_CASE("Values that hold themselves are freed and found out") {
  CHECK(Outcome("{% set ns = namespace() %}{% set ns.me = ns %}{{ ns.me.me.me is defined }}") == "True");
  CHECK(LimitOf("{% set ns = namespace() %}{% set ns.me = [ns] %}{{ ns }}") == "levels");
  CHECK(Outcome("{% for x in [1, 2] %}{{ loop.changed(loop) }}{% endfor %}") == "TrueFalse");
  CHECK(Outcome("{% macro m() %}{% macro i() %}{% endmacro %}{% set ns.x = i %}{% endmacro %}{% set ns = namespace() %}"
                "{% for i in range(20000) %}{{ m() }}{% endfor %}ok") == "ok");
  CHECK(Outcome("{% set ns = namespace(l=none) %}{% for x in [1, 2, 3] if ns.l.length or true %}{% set ns.l = loop %}"
                "{% endfor %}") == "error: chat template, line 1: generator already executing");
}

TEST_CASE("A budget counts what is held and gives it back") {
  TemplateBudget limits;
  limits.steps = 100'000'000;
  limits.output_bytes = 1000;
  jinja::Budget budget(limits);
  {
    jinja::Heap heap(budget);
    for (int i = 0; i < 1'000'000; ++i) {
      const jinja::Value text = jinja::MakeString(heap, std::string(500, 'x'));  // 500 MB in all, one at a time
    }
    std::vector<jinja::Value> kept;
    bool failed = false;
    try {
      for (int i = 0; i < 1'000'000; ++i) kept.push_back(jinja::MakeString(heap, std::string(500, 'x')));
    } catch (const jinja::Failure& failure) {
      failed = failure.message.find("holds more than 64 MiB") != std::string::npos;
    }
    CHECK(failed);
    CHECK(kept.size() > 90'000);
  }
  budget.Allocate(std::size_t{64} << 20);  // all of it is free again
}

}  // namespace
}  // namespace quorum::tok

// Small templates, each compared with what Jinja2 renders (tests/tools/make_template_fixtures.py).
#include "tests/tokenizer/template_fixture.h"

namespace quorum::tok {
namespace {

TEST_CASE("Snippets render as in Jinja2, or fail where it fails") {
  const OrderedJson fixture = TemplateJson("snippets.json");
  REQUIRE(fixture["cases"].size() > 500);
  int failing = 0;
  for (const OrderedJson& snippet : fixture["cases"]) {
    const auto& source = snippet["source"].get_ref<const std::string&>();
    const OrderedJson& variables = fixture["variables"][snippet["group"].get_ref<const std::string&>()];
    const Result<std::string> text = RenderText(source, variables);
    INFO(source);
    if (snippet["renders"].is_null()) {
      ++failing;
      CHECK(!text.ok());
      continue;
    }
    INFO((text.ok() ? "" : text.error().message));
    REQUIRE(text.ok());
    CHECK(*text == snippet["renders"].get_ref<const std::string&>());
  }
  CHECK(failing > 200);
}

}  // namespace
}  // namespace quorum::tok
